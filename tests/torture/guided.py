"""Coverage-guided fuzzing of one reader by atheris: `python -m tests.torture.guided NAME SECONDS`.

Inputs that reach new lines of ours are kept and changed further. The first exception that is no
ClapError ends the run, with the input in a file that atheris names: it belongs into
`tests/torture/corpus/READER/`, where every run of the tests reads it. Needs `pip install atheris`.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

import atheris

from tests.torture.readers import READERS, ClapError


def main(name: str, seconds: int) -> None:
    """Fuzz a reader, beginning with its good inputs."""
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
