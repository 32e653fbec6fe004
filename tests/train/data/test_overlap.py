"""What an evaluation set has too is found by recording, sound or name, and left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import soundfile
from click.testing import CliRunner

from runtime.errors import ClapError, SchemaError
from tests.train.data.test_fingerprint import recording
from train.__main__ import main
from train.config.data import ListingConfig
from train.config.listings import listings_of
from train.data.blacklist import Overlap, read_blacklist, write_blacklist
from train.data.fingerprint import RATE
from train.data.listing import read_listing
from train.data.overlap import between


def write(path: Path, seed: int, seconds: float = 3.0, cut: int = 0, gain: float = 1.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, gain * recording(seed, seconds)[cut:], RATE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Training clips of which four are in the evaluation set, one way or another."""
    train, held_out = tmp_path / "train", tmp_path / "eval"
    write(held_out / "1.wav", 1)
    write(held_out / "2.wav", 2)
    write(held_out / "same.wav", 3, 0.5)  # too short for a fingerprint
    write(held_out / "numbered.wav", 4)
    (held_out / "list.csv").write_text(
        "file,class,source\n1.wav,a,r1\n2.wav,a,r2\nsame.wav,a,\nnumbered.wav,a,\n"
    )
    write(train / "part.wav", 11)  # another part of recording r1
    write(train / "copy.flac", 2, cut=3001, gain=0.3)
    write(train / "Same.ogg", 13)
    write(train / "numbered.wav", 14)  # called the same, heard to be different
    write(train / "free.wav", 15)
    (train / "cut.wav").write_bytes(b"RIFF")
    (train / "list.csv").write_text(
        "file,class,source\npart.wav,a,r1\ncopy.flac,a,r7\nSame.ogg,a,\nnumbered.wav,a,\n"
        "free.wav,a,r9\ncut.wav,a,\n"
    )
    for name in ("train", "eval"):
        (tmp_path / f"{name}.toml").write_text(
            f'[[listings]]\npath = "{tmp_path / name / "list.csv"}"\naudio = "file"\n'
            'labels = ["class"]\nrecording = "source"\n'
        )
    return tmp_path


def test_overlaps_are_found_and_left_out(folder: Path) -> None:
    out = folder / "blacklist.txt"
    arguments = ["overlap", str(folder / "train.toml"), str(folder / "eval.toml"), "-o", str(out)]
    done = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "3 of 6 clips overlap (1 by name, 1 by recording, 1 by sound)" in done.output
    listing = str(folder / "train" / "list.csv")
    lines = out.read_text().splitlines()
    assert f"[{listing}]" in lines
    assert set(lines[lines.index(f"[{listing}]") + 1 :]) == {
        "part.wav\trecording: 1.wav",
        "copy.flac\tsound: 2.wav",
        "Same.ogg\tname: same.wav",
    }
    config = ListingConfig(listing, "file", labels=("class",), blacklist=str(out))
    kept = [clip.path.name for clip in read_listing(config)]
    assert kept == ["numbered.wav", "free.wav", "cut.wav"]


def test_a_listing_that_was_not_looked_through_is_refused(folder: Path) -> None:
    out = folder / "blacklist.txt"
    between(folder / "train.toml", folder / "eval.toml").write(out)
    other = str(folder / "eval" / "list.csv")
    with pytest.raises(ClapError, match=r"has no section for listing .*eval.list\.csv; it has "):
        read_listing(ListingConfig(other, "file", labels=("class",), blacklist=str(out)))
    with pytest.raises(ClapError, match="cannot be read"):
        read_blacklist(folder / "none.txt", other)


def test_a_listing_without_overlaps_has_its_empty_section(tmp_path: Path) -> None:
    overlaps = {"a.csv": [Overlap("x y.wav", "sound: z"), Overlap("b.wav", "name: b")], "b.csv": []}
    write_blacklist(tmp_path / "list.txt", overlaps)
    assert read_blacklist(tmp_path / "list.txt", "a.csv") == {"x y.wav", "b.wav"}
    assert read_blacklist(tmp_path / "list.txt", "b.csv") == set()


def test_everything_on_the_blacklist_leaves_nothing(folder: Path) -> None:
    out = folder / "blacklist.txt"
    between(folder / "train.toml", folder / "train.toml").write(out)
    listing = str(folder / "train" / "list.csv")
    with pytest.raises(ClapError, match=r"no row is left .* and 6 on the blacklist"):
        read_listing(ListingConfig(listing, "file", labels=("class",), blacklist=str(out)))


def test_tasks_of_a_recipe_are_what_is_held_out(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        '[[listings]]\npath = "a.csv"\naudio = "f"\n[[tasks]]\nname = "t"\ncandidates = "c"\n'
        'listing = { path = "b.csv", audio = "f" }\n'
    )
    assert [one.path for one in listings_of(path, tasks=False)] == ["a.csv"]
    assert [one.path for one in listings_of(path, tasks=True)] == ["b.csv"]


def test_files_that_name_no_listings(tmp_path: Path) -> None:
    path = tmp_path / "x.toml"
    for text, message in (("a = 1", r"no \[\[listings\]\]"), ("a = ", "is not TOML")):
        path.write_text(text)
        with pytest.raises(ClapError, match=message):
            listings_of(path, tasks=False)
    path.write_text('[[listings]]\npth = "a"\nweight = "b"\n')
    with pytest.raises(SchemaError) as caught:
        listings_of(path, tasks=False)
    for problem in ("unknown key 'listings[0].pth'", "missing key 'listings[0].path'"):
        assert problem in str(caught.value)
    with pytest.raises(ClapError, match="cannot be read"):
        listings_of(tmp_path / "none.toml", tasks=False)
