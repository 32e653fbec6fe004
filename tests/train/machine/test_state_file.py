"""A state is whole or not there, and a file that is none is said to be none."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from runtime.errors import ClapError
from train.machine.state_file import read, write

CPU = torch.device("cpu")


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Files of this process end at 100 kB, as those of a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    assert read(tmp_path / "last.pt", CPU) is None
    write(tmp_path / "last.pt", {"epoch": 3, "weights": torch.arange(4.0)})
    found = read(tmp_path / "last.pt", CPU)
    assert found is not None
    assert found["epoch"] == 3
    assert torch.equal(found["weights"], torch.arange(4.0))


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_is_a_sentence_and_the_state_before_stays(tmp_path: Path) -> None:
    path = tmp_path / "last.pt"
    write(path, {"epoch": 1})
    good = path.read_bytes()
    with pytest.raises(ClapError, match=r"last\.pt' cannot be written: File too large"):
        write(path, {"epoch": 2, "weights": torch.zeros(100_000)})
    assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


class Code:
    def __reduce__(self) -> tuple[object, ...]:
        return print, ("code of a stranger was run",)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"x" * 5000, pickle.dumps(Code())])
def test_a_file_that_is_no_state(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes(content)
    with pytest.raises(ClapError, match=r"last\.pt cannot be read, so the run cannot go on"):
        read(path, CPU)
    path.unlink()
    path.mkdir()
    with pytest.raises(ClapError, match="cannot be read"):
        read(path, CPU)
    assert "stranger" not in capsys.readouterr().out
