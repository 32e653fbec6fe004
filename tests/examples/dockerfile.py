"""A Dockerfile, read; and its steps, run in folders instead of images where there is no Docker.

Every stage is a copy of one root file system, which its steps are run in by ``chroot``. What a
Docker engine would do beside that (layers, namespaces, limits) is not done.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

KNOWN = set(
    "FROM RUN WORKDIR COPY ARG ENV USER EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split()
)
# How the machine reaches its registries: a container would be given that by its engine.
NETWORK = ("etc/resolv.conf", "etc/hosts", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt",
           "etc/apt/apt.conf.d", "etc/apt/sources.list.d")  # fmt: skip


@dataclass
class Stage:
    """One image.

    Attributes:
        base: what it is made of.
        name: of it, or nothing.
        steps: instructions with their arguments, in order.
    """

    base: str
    name: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def all(self, instruction: str) -> list[str]:
        """Arguments of every such step."""
        return [text for name, text in self.steps if name == instruction]

    def command(self, instruction: str) -> list[str]:
        """A command in its form of a JSON list, which no shell reads."""
        (text,) = self.all(instruction)
        return json.loads(text[text.index("[") :])


def stages(path: Path) -> list[Stage]:
    """A Dockerfile's stages; an instruction that is not known is an error."""
    text = re.sub(r"^\s*#.*\n", "", path.read_text("utf-8"), flags=re.MULTILINE)
    found: list[Stage] = []
    for line in text.replace("\\\n", " ").splitlines():
        if not line.strip():
            continue
        instruction, _, rest = line.strip().partition(" ")
        assert instruction in KNOWN, f"{path}: {line}"
        if instruction == "FROM":
            base, *name = rest.split(" AS ")
            found.append(Stage(base, name[0] if name else ""))
        else:
            found[-1].steps.append((instruction, rest.strip()))
    return found


class Built:
    """The last stage of a Dockerfile, run in folders.

    Args:
        path: of the Dockerfile.
        context: folder that it copies from.
        base: root file system that every stage starts as.
        work: folder for the stages.
    """

    def __init__(self, path: Path, context: Path, base: Path, work: Path) -> None:
        self._roots: dict[str, Path] = {}
        self._context = context
        for i, stage in enumerate(stages(path)):
            self.stage, self.root = stage, work / f"{i}"
            subprocess.run(["cp", "-a", "--reflink=auto", base, self.root], check=True)
            self._roots[stage.name or str(i)] = self.root
            self.variables: dict[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
            self._folder = "/"
            for instruction, text in stage.steps:
                step = getattr(self, f"_{instruction.lower()}", None)
                if step is not None:
                    step(text)

    def start(self, command: list[str], folders: dict[str, Path]) -> subprocess.Popen[bytes]:
        """Start a program as the image's user, with a root that cannot be written and a /tmp of its
        own.

        Args:
            command: in it.
            folders: of the machine that it sees, by the paths in it; it cannot write to them.
        """
        root, user = shlex.quote(str(self.root)), self.stage.all("USER")[0]
        inside = f"env -i {self._variables()} {shlex.join(command)}"
        lines = [f"mount --bind {root} {root}"]
        for place, folder in folders.items():
            (self.root / place.lstrip("/")).mkdir(exist_ok=True)
            lines.append(f"mount --bind -o ro {shlex.quote(str(folder))} {root}{place}")
        lines += [
            f"mount -o remount,ro,bind {root}", f"mount -t tmpfs tmpfs {root}/tmp",
            f"mount -t proc proc {root}/proc",
            f"exec chroot --userspec={user} {root} {inside}",
        ]  # fmt: skip
        return subprocess.Popen(["unshare", "--mount", "sh", "-ec", "\n".join(lines)])

    def _variables(self) -> str:
        return shlex.join(f"{name}={value}" for name, value in self.variables.items())

    def bytes(self) -> int:
        """Of all files in it."""
        return self.size(self.root)

    @staticmethod
    def size(root: Path) -> int:
        """Bytes of the files of a root file system, without what leads to the registries."""
        left_out = [f"--exclude={root / name}" for name in NETWORK]
        done = subprocess.run(
            ["du", "-sb", *left_out, root], check=True, capture_output=True, text=True
        )
        return int(done.stdout.split()[0])

    def _run(self, text: str) -> None:
        _reach(self.root)
        # A build sees the machine's own variables for its registries; the image does not keep them.
        own = {n: v for n, v in os.environ.items() if n.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        own.pop("PIP_FIND_LINKS", None)
        line = f"cd {shlex.quote(self._folder)} && {text}"
        subprocess.run(
            ["chroot", self.root, "/bin/sh", "-c", line], check=True, env={**own, **self.variables}
        )

    def _workdir(self, text: str) -> None:
        self._folder = text
        (self.root / text.lstrip("/")).mkdir(parents=True, exist_ok=True)

    def _copy(self, text: str) -> None:
        *given, target = text.split()
        origin = self._context
        if given[0].startswith("--from="):
            origin = self._roots[given.pop(0).removeprefix("--from=")]
        place = self.root / os.path.join(self._folder, target).lstrip("/")
        for name in given:
            path = origin / name.lstrip("/")
            if path.is_dir():
                shutil.copytree(path, place, symlinks=True, dirs_exist_ok=True)
            else:
                shutil.copy(path, place / path.name if target.endswith("/") else place)

    def _arg(self, text: str) -> None:
        self._env(text)

    def _env(self, text: str) -> None:
        self.variables.update(pair.split("=", 1) for pair in shlex.split(text))


def _reach(root: Path) -> None:
    """Lead to the registries; again before each step, as packages bring files of these names."""
    for name in NETWORK:
        here = Path("/") / name
        for path in here.iterdir() if here.is_dir() else [here]:
            place = root / path.relative_to("/")
            if path.is_file():
                place.parent.mkdir(parents=True, exist_ok=True)
                place.unlink(missing_ok=True)  # a link would lead out of the root
                shutil.copy(path, place)
