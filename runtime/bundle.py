"""The bundle: a folder that holds everything inference needs, described by its manifest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from runtime import files, onnx_file, signature, tokenizer_file
from runtime.content import Content
from runtime.errors import BundleError, ClapError
from runtime.manifest import MANIFEST, FileEntry, Graph, parse_manifest, read_manifest_file
from runtime.onnx_file import OnnxGraph


class Bundle:
    """A bundle on disk, opened and checked.

    Args:
        folder: the bundle's folder.
        check_hashes: read every file and compare its SHA-256 (about 0.8 s per GB), now and again
            whenever one is loaded; sizes and presence are checked always.
        public_key: PEM file of an Ed25519 key: only a bundle that was signed with it is opened
            (:mod:`runtime.signature`). Hashes are compared then, whatever ``check_hashes`` says.
        only: names of the files that are here, of a bundle that was divided: a model server that
            runs one encoder in each process, or a device with a saved bank, needs no more. Default
            all. What is not here cannot be used.

    Attributes:
        manifest_bytes: the manifest's file as it was read, which is what a signature is over.
        signed: it was opened with a key.
        listed: its files are those whose hashes the manifest lists.

    Raises:
        BundleError: no bundle there, another version, files missing or altered (all are listed), or
            not signed with the key.
        SchemaError: the manifest has unknown, missing or ill-typed keys (all are listed).
    """

    listed = True

    def __init__(
        self,
        folder: str | Path,
        *,
        check_hashes: bool = True,
        public_key: str | Path | None = None,
        only: Iterable[str] | None = None,
    ) -> None:
        self.folder = Path(folder)
        self._only = None if only is None else frozenset(only)
        self.signed = public_key is not None
        self.check_hashes = check_hashes or self.signed
        self.manifest_bytes = read_manifest_file(self.folder)
        if public_key is not None:
            signature.check(self.folder, self.manifest_bytes, public_key)
        self.manifest = parse_manifest(self.folder / MANIFEST, self.manifest_bytes)
        self._check_files()

    def path(self, name: str) -> Path:
        """Full path of a file that the manifest names."""
        return self.folder / name

    @property
    def has_text(self) -> bool:
        """Whether texts can be embedded: they cannot without the text encoder."""
        return self.manifest.text_graph is not None

    def read(self, name: str, *, check_hash: bool = False) -> Content:
        """A file that the manifest names. Give engines this, and not a path to open again.

        Args:
            name: of the file.
            check_hash: compare the SHA-256 of what was read; done anyway when the bundle was
                opened with ``check_hashes``.

        Raises:
            BundleError: it cannot be read, or was altered.
        """
        content = self._sized(name)
        if check_hash or self.check_hashes:
            self._check_hash(name, content)
        return content

    def graph(self, graph: Graph, *, check_hash: bool = False) -> tuple[Content, OnnxGraph]:
        """A graph's file as :meth:`read` gives it, and what it holds.

        Raises:
            BundleError: it cannot be read, was altered, or is nothing for an engine.
        """
        content = self.read(graph.file, check_hash=check_hash)
        return content, onnx_file.check(content.data, content.name)

    @contextmanager
    def graph_in_use(
        self, graph: Graph, *, check_hash: bool = False
    ) -> Generator[tuple[Content, OnnxGraph]]:
        """:meth:`graph` for a block that loads an engine: the hash is taken beside it, in a thread.

        An engine may see an altered graph so, which was looked through as every graph is; it is
        never run, for the end of the block raises. Of a bundle that is signed the hash comes first.

        Raises:
            BundleError: it cannot be read, was altered (whatever else went wrong), or is nothing
                for an engine.
        """
        if self.signed or not (check_hash or self.check_hashes):
            yield self.graph(graph, check_hash=check_hash)
            return
        content = self._sized(graph.file)
        with ThreadPoolExecutor(1, thread_name_prefix="clap-hash") as thread:
            hashed = thread.submit(self._check_hash, graph.file, content)
            try:
                yield content, onnx_file.check(content.data, content.name)
            finally:
                hashed.result()

    def check_contents(self) -> None:
        """Look into the graphs and the tokenizer, as loading does, without an engine.

        Raises:
            BundleError: one cannot be read, or would not be used.
        """
        manifest = self.manifest
        for graph in manifest.graphs:
            self.graph(graph)
        if manifest.text is not None:
            content = self.read(manifest.text.tokenizer)
            tokenizer_file.check(content.data, str(content.path))

    def _check_files(self) -> None:
        manifest = self.manifest
        used = [graph.file for graph in manifest.graphs]
        if manifest.text is not None:
            used.append(manifest.text.tokenizer)
        if manifest.engines is not None:
            used += [engine.file for engine in manifest.engines.each]
        problems = [
            f"'{name}' is used but not listed in 'files'"
            for name in used
            if name not in manifest.files
        ]
        here = manifest.files if self._only is None else self._only
        problems += [f"'{n}' is no file of it" for n in sorted(set(here) - manifest.files.keys())]
        for name, entry in manifest.files.items():
            if name not in here:
                continue
            if Path(name).is_absolute() or ".." in Path(name).parts:
                problems.append(f"'{name}' points outside the bundle")
            else:
                problems += self._file_problems(name, entry)
        if problems:
            raise self._damaged(problems)

    def _sized(self, name: str) -> Content:
        """A file of the size that the manifest says."""
        content = Content.read(self.path(name), BundleError)
        entry = self.manifest.files[name]
        if len(content.data) != entry.bytes:
            raise self._damaged([_other_size(name, len(content.data), entry)])
        return content

    def _check_hash(self, name: str, content: Content) -> None:
        if content.sha256() != self.manifest.files[name].sha256:
            raise self._damaged([_other_hash(name)])

    def _file_problems(self, name: str, entry: FileEntry) -> list[str]:
        try:
            # Of a pipe or a folder that is there nobody shall hear that it is missing.
            path = self.path(name)
            missing = "" if os.path.lexists(path) else f"'{name}' is missing"
            with files.reading(path, missing=missing) as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry.bytes:
                    return [_other_size(name, size, entry)]
                if self.check_hashes and _sha256(file) != entry.sha256:
                    return [_other_hash(name)]
        except ClapError as error:
            return [str(error).rstrip(".")]
        return []

    def _damaged(self, problems: list[str]) -> BundleError:
        return BundleError(
            f"bundle {self.folder} is damaged: {'; '.join(problems)}. Export it again."
        )


def entries(folder: Path, names: Iterable[str]) -> dict[str, FileEntry]:
    """What a manifest says of files that are in a folder.

    Raises:
        ClapError: one cannot be read.
    """
    paths = {name: folder / name for name in names}
    return {n: FileEntry(sha256_file(path), path.stat().st_size) for n, path in paths.items()}


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex.

    Raises:
        ClapError: it cannot be read.
    """
    with files.reading(path) as file:
        return _sha256(file)


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _other_size(name: str, size: int, entry: FileEntry) -> str:
    return f"'{name}' has {size} bytes, not {entry.bytes}"


def _other_hash(name: str) -> str:
    return f"'{name}' does not have the recorded SHA-256"
