"""Coverage-guided fuzzing of one reader by atheris: `python -m tests.torture.guided NAME SECONDS`.

Inputs that reach new lines of ours are kept and changed further. The first exception that is no
ClapError ends the run, with the input in a file that atheris names: it belongs into
`tests/torture/corpus/READER/`, where every run of the tests reads it. Needs `pip install atheris`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from runtime.errors import ClapError
from tests.places import ROOT
from tests.torture.readers import READERS


@dataclass(frozen=True)
class Guided:
    """What became of a reader.

    Attributes:
        runs: inputs that were read.
        reached: branches of our code, as libFuzzer counts them.
        found: inputs that must not be, at most one: the first ends the run.
        said: of it.
    """

    name: str
    seconds: int
    runs: int
    reached: int
    found: int
    said: str

    @classmethod
    def of(cls, name: str, log: str, code: int) -> Guided:
        """From what libFuzzer says of itself.

        Raises:
            RuntimeError: it did not begin.
        """
        numbers = [int(n) for n in re.findall(r"^#(\d+)", log, re.MULTILINE)]
        reached = re.findall(r" cov: (\d+)", log)
        if not reached:
            raise RuntimeError(f"{name} was not fuzzed: {log[-500:]}")
        done = re.search(r"^Done (\d+) runs in (\d+) second", log, re.MULTILINE)
        runs, seconds = (int(done[1]), int(done[2])) if done else (max(numbers), 0)
        said = "" if done and not code else log[-2000:]
        return cls(name, seconds, runs, int(reached[-1]), int(bool(said)), said)


def run(name: str, seconds: int, work: Path) -> Guided:
    """Fuzz a reader in a process of its own."""
    log = work / "guided.log"
    with log.open("w") as file:
        command = [sys.executable, "-m", "tests.torture.guided", name, str(seconds)]
        done = subprocess.run(command, cwd=ROOT, stdout=file, stderr=file, check=False)
    return Guided.of(name, log.read_text(errors="replace"), done.returncode)


def main(name: str, seconds: int) -> None:
    """Fuzz a reader, beginning with its good inputs."""
    import atheris

    reader = READERS[name]
    work = Path(tempfile.mkdtemp(prefix="guided-"))
    for folder in ("good", "corpus"):
        (work / folder).mkdir()
    with atheris.instrument_imports(include=["runtime", "clap_export", "train"]):
        seeds = reader.seeds(work / "good")  # imports are lazy: they happen here and in read
        for seed in seeds:
            reader.read(seed)
    for i, seed in enumerate(seeds):
        good = seed.joinpath(reader.changed or "")
        shutil.copy(good, work / "corpus" / str(i))

    def one(data: bytes) -> None:
        shutil.rmtree(work / "case", ignore_errors=True)
        (work / "case").mkdir()
        path = reader.place(seeds[0], work / "case", reader.changed, data)
        with contextlib.suppress(ClapError):
            reader.read(path)

    options = [f"-max_total_time={seconds}", "-rss_limit_mb=6144", "-timeout=30"]
    options += ["-len_control=0", "-max_len=65536", f"-artifact_prefix={work}/"]
    atheris.Setup([sys.argv[0], *options, str(work / "corpus")], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
