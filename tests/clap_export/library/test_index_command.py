"""``clap-export index``, and what ``search`` says of what it made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from tests.clap_export.library import made

pytest.importorskip("usearch", reason="usearch is not installed")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_library_is_indexed_searched_and_its_index_taken_away(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    paths = made.recordings(tmp_path / "a", 8)
    out = tmp_path / "lib"
    made.library(tiny_bundle, paths, out)
    done = run("index", out, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["engine"], said["built"][0]["vectors"]) == ("usearch", 8)
    assert (out / "index" / "parts" / "index.json").exists()
    found = run("search", out, "dog", "--json")
    assert (found.exit_code, found.stderr) == (0, "")
    assert len(found.stdout.splitlines()) == 8
    # Stale: said beside the hits, which are right.
    more = made.recordings(tmp_path / "b", 2, seed=70)
    made.library(tiny_bundle, [*paths, *more], out)
    found = run("search", out, "dog", "--json")
    assert found.exit_code == 0
    assert len(found.stdout.splitlines()) == 10
    assert found.stderr.startswith("Note: the index ")
    assert "1 of the 2 parts" in found.stderr
    assert run("search", out, "dog", "--json", "--exact").stderr == ""
    again = run("index", out)
    assert again.exit_code == 0
    assert "10 recordings indexed" in again.output
    assert run("search", out, "dog", "--json").stderr == ""
    assert "gone" in run("index", out, "--remove").output
    assert "no index" in run("index", out, "--remove").output
    assert sorted(path.name for path in out.iterdir()) == ["journal.jsonl", "library.json", "parts"]


def test_what_cannot_be_indexed_is_one_sentence(tiny_bundle: Path, tmp_path: Path) -> None:
    for arguments, sentence in (
        (("index", tmp_path / "none"), "no library at"),
        (("index", tmp_path / "none", "--remove"), "no library at"),
    ):
        done = run(*arguments)
        assert done.exit_code == 2
        assert sentence in done.stderr
    out = tmp_path / "lib"
    made.library(tiny_bundle, made.recordings(tmp_path / "a", 2), out)
    part = out / "parts" / "part-00000001.parquet"
    part.write_bytes(part.read_bytes()[:-30])
    done = run("index", out)
    assert done.exit_code == 2
    assert "part-00000001.parquet' is damaged" in done.stderr
    assert not (out / "index").exists()
