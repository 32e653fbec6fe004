"""Label banks: names to text embeddings, made once, saved, and used without a text encoder."""

from __future__ import annotations

import json
import logging
import struct
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from runtime import schema
from runtime.errors import BundleError, LabelError, SchemaError
from runtime.prompts import check_templates, fill_all

if TYPE_CHECKING:
    from runtime.encoder import Encoder

FORMAT: Literal["clap-export-labels"] = "clap-export-labels"
FORMAT_VERSION: Literal[1] = 1
ARRAYS = ("embeddings", "meta")
NORM_TOLERANCE = 1e-3  # float32 rounding is 1e-7; half precision of other writers 5e-4
LOCAL_HEADER = struct.Struct("<26xHH")  # of a zip entry: lengths of its name and extra field

# As Any: numpy 2.2, the last one for Python 3.10, has no types here.
_npy: Any = np.lib.format
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Meta:
    format: Literal["clap-export-labels"]
    format_version: Literal[1]
    space_id: str
    names: tuple[str, ...]
    templates: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class LabelBank:
    """Labels and their embeddings.

    Attributes:
        names: of the labels, without duplicates.
        templates: the prompts they were put through; empty when every label had its own texts.
        embeddings: float32 ``[len(names), dim]`` of unit norm, read-only.
        space_id: of the bundle whose text encoder made them.

    Raises:
        LabelError: the parts do not fit together (all problems are listed).
    """

    names: tuple[str, ...]
    templates: tuple[str, ...]
    embeddings: NDArray[np.float32]
    space_id: str

    def __post_init__(self) -> None:
        problems = _name_problems(self.names) + _embedding_problems(self.names, self.embeddings)
        if problems:
            raise LabelError(f"ill-formed label bank: {'; '.join(problems)}.")
        if self.embeddings.flags.writeable:  # threads share it
            frozen: NDArray[np.float32] = np.array(self.embeddings)
            frozen.setflags(write=False)
            object.__setattr__(self, "embeddings", frozen)

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self) -> tuple[object, ...]:
        # Made anew, so that it is checked, and read-only, where it is unpickled.
        return type(self), (self.names, self.templates, np.array(self.embeddings), self.space_id)

    @classmethod
    def build(
        cls,
        encoder: Encoder,
        labels: Sequence[str] | Mapping[str, str | Sequence[str]],
        templates: str | Sequence[str] | None = None,
    ) -> LabelBank:
        """Embed labels: the mean over all prompts of a label, scaled to unit norm.

        Args:
            encoder: whose text encoder is used.
            labels: names, each put through every template; or a mapping of names to one or more
                texts, which are used as they are.
            templates: one or more prompts with one ``{}`` each; default the manifest's.

        Raises:
            LabelError: no labels, blank or duplicate names, an ill-formed template, or templates
                given with a mapping.
            BackendError: the text encoder cannot be run.
        """
        from runtime.encoder import mean_embedding

        if isinstance(labels, str):
            raise LabelError(f"labels is one text, {labels!r}: pass a list of names.")
        names = tuple(labels)
        problems = _name_problems(names)
        if problems:
            raise LabelError(f"these labels cannot be used: {'; '.join(problems)}.")
        if isinstance(labels, Mapping):
            if templates is not None:
                raise LabelError("templates do not apply to labels that bring their own texts.")
            used: tuple[str, ...] = ()
            prompts = [
                [texts] if isinstance(texts, str) else list(texts) for texts in labels.values()
            ]
            for name, texts in zip(names, prompts, strict=True):
                if not texts:
                    raise LabelError(f"label {name!r} has no text: give it at least one.")
        else:
            used = check_templates(
                encoder.manifest.default_template if templates is None else templates
            )
            prompts = [fill_all(used, name) for name in names]
        flat = encoder.embed_text([text for texts in prompts for text in texts])
        groups = np.split(flat, np.cumsum([len(texts) for texts in prompts])[:-1])
        embeddings = np.stack([mean_embedding(group) for group in groups])
        return cls(names, used, embeddings, encoder.manifest.space_id)

    def check_space(self, space_id: str) -> None:
        """Make sure that the bank belongs to a bundle's embedding space.

        Raises:
            BundleError: it does not.
        """
        if self.space_id != space_id:
            raise BundleError(
                f"the label bank belongs to embedding space {self.space_id}, the bundle to "
                f"{space_id}: their cosines would mean nothing. Build the bank again with this "
                "bundle: clap-export labels BUNDLE FILE -o bank.npz"
            )

    def save(self, path: str | Path, *, overwrite: bool = False) -> None:
        """Write the bank as an uncompressed ``.npz`` of two arrays, without pickle.

        ``embeddings`` is float32 ``[n, dim]``; ``meta`` is the UTF-8 of a JSON object as uint8.
        Readers see the whole file or none.

        Args:
            path: of the file to write.
            overwrite: replace a file that is there.

        Raises:
            LabelError: the file exists, or cannot be written.
        """
        path = Path(path)
        if path.exists() and not overwrite:
            raise LabelError(f"'{path}' exists: choose another name, or pass overwrite=True.")
        meta = _Meta(FORMAT, FORMAT_VERSION, self.space_id, self.names, self.templates)
        text = json.dumps(schema.to_plain(meta), ensure_ascii=False)
        part = path.with_name(path.name + ".part")
        try:
            with part.open("wb") as file:
                # Embeddings first: behind the fixed headers their data starts at byte 192, a
                # multiple of 64, so that a mapped bank is aligned for vector loads.
                np.savez(
                    file,
                    embeddings=np.ascontiguousarray(self.embeddings),
                    meta=np.frombuffer(text.encode("utf-8"), np.uint8),
                )
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise LabelError(f"'{path}' cannot be written ({error}).") from error

    @classmethod
    def load(cls, path: str | Path, *, mmap: bool = False) -> LabelBank:
        """Read a saved bank.

        Args:
            path: of the ``.npz``.
            mmap: map the embeddings instead of reading them: processes then share the memory.

        Raises:
            LabelError: missing, truncated, not a label bank, or with unknown, missing or ill-typed
                parts (all are listed).
        """
        path = Path(path)
        if not path.is_file():
            raise LabelError(
                f"no label bank at '{path}'. Make one: clap-export labels BUNDLE FILE -o bank.npz"
            )
        try:
            arrays, problems = _read_arrays(path, mmap)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, struct.error) as error:
            raise LabelError(
                f"'{path}' is truncated or no label bank ({error}). Build it again."
            ) from error
        meta = _read_meta(arrays.get("meta"), problems)
        embeddings = arrays.get("embeddings")
        if embeddings is not None:
            problems += _embedding_problems(None if meta is None else meta.names, embeddings)
        if meta is not None:
            problems += _name_problems(meta.names)
        if problems or meta is None or embeddings is None:
            raise LabelError(
                f"'{path}' is no usable label bank: {'; '.join(problems)}. Build it again."
            )
        embeddings.setflags(write=False)
        return cls(meta.names, meta.templates, embeddings, meta.space_id)


def read_labels(path: str | Path) -> tuple[str, ...]:
    """Read names from a text file: UTF-8, one a line; blank lines and lines with ``#`` are skipped.

    Raises:
        LabelError: missing, not text, without labels, or with duplicates.
    """
    path = Path(path)
    if not path.is_file():
        raise LabelError(
            f"no label file at '{path}'. Pass a text file with one label a line, a saved bank "
            "(.npz), or a list of names."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelError(f"'{path}' is not UTF-8 text ({error}).") from error
    except OSError as error:
        raise LabelError(f"'{path}' cannot be read ({error}).") from error
    if "\0" in text:
        raise LabelError(f"'{path}' is a binary file, not a list of labels.")
    lines = (line.strip() for line in text.splitlines())
    names = tuple(line for line in lines if line and not line.startswith("#"))
    problems = _name_problems(names)
    if problems:
        raise LabelError(f"'{path}': {'; '.join(problems)}.")
    return names


def _name_problems(names: Sequence[object]) -> list[str]:
    if not names:
        return ["no labels"]
    problems = [
        f"label {i} is {name!r}, not a name"
        for i, name in enumerate(names)
        if not isinstance(name, str) or not name.strip()
    ]
    seen: set[object] = set()
    for name in names:
        if isinstance(name, str) and name in seen:
            problems.append(f"{name!r} is listed twice")
        if isinstance(name, str):
            seen.add(name)
    return list(dict.fromkeys(problems))


def _embedding_problems(names: Sequence[str] | None, embeddings: NDArray[Any]) -> list[str]:
    if embeddings.dtype != np.float32:
        return [f"embeddings are {embeddings.dtype}, not float32"]
    if embeddings.ndim != 2 or (names is not None and len(embeddings) != len(names)):
        wanted = "n" if names is None else len(names)
        return [f"embeddings have shape {embeddings.shape}, not ({wanted}, dim)"]
    norms = np.linalg.norm(embeddings, axis=1)
    if not np.isfinite(norms).all():
        return ["embeddings hold NaN or infinite values"]
    worst = float(np.abs(norms - 1).max(initial=0))
    if worst > NORM_TOLERANCE:
        return [f"embeddings are not of unit norm (off by {worst:.2g})"]
    return []


def _read_arrays(path: Path, mmap: bool) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The arrays that belong in a bank, and what is missing or does not."""
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        problems = [f"unknown array '{name}'" for name in sorted(set(entries) - set(ARRAYS))]
        problems += [f"missing array '{name}'" for name in ARRAYS if name not in entries]
        arrays: dict[str, NDArray[Any]] = {}
        for name in ARRAYS:
            if name not in entries:
                continue
            if mmap and name == "embeddings":
                arrays[name] = _map_entry(path, entries[name])
            else:
                with archive.open(entries[name]) as file:
                    # The generic reader checks the entry's CRC on the way.
                    arrays[name] = _npy.read_array(file, allow_pickle=False)
    return arrays, problems


def _map_entry(path: Path, info: zipfile.ZipInfo) -> NDArray[Any]:
    """Map an array inside an npz: numpy maps plain npy files only."""
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a compressed bank cannot be mapped")
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name_length, extra_length = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        file.seek(name_length + extra_length, 1)
        version = _npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"array format {version} is not known")
        shape, fortran, dtype = _npy.read_array_header_1_0(file)
        if dtype.hasobject:
            raise ValueError("arrays of objects are not read")
        offset = file.tell()
    order: Literal["C", "F"] = "F" if fortran else "C"
    return np.memmap(path, dtype, "r", offset, shape, order)


def _read_meta(array: NDArray[Any] | None, problems: list[str]) -> _Meta | None:
    if array is None:
        return None
    if array.dtype != np.uint8 or array.ndim != 1:
        problems.append(f"meta is {array.dtype} {array.shape}, not the bytes of a text")
        return None
    try:
        return schema.read(_Meta, json.loads(array.tobytes().decode("utf-8")), "meta")
    except SchemaError as error:
        problems.append(str(error))
    except ValueError as error:
        problems.append(f"meta is not JSON ({error})")
    return None
