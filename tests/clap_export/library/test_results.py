"""What is written of hits; whatever a name looks like, it is a name."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.library import results
from runtime import Hit
from runtime.errors import ClapError
from tests.clap_export.library import made

EVIL = [
    '/music/<script>alert(1)</script>.wav', "/music/\"onerror='x'.wav", "/music/a\nb.wav",
    "/music/=cmd|calc.wav", "/music/50%#t=1?.wav", "#EXTINF.wav", "/music/\x1b[31mred.wav",
]  # fmt: skip


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "audio":
            self.attributes |= {name for name, _ in attrs}
            self.sources.append(dict(attrs)["src"] or "")


def hits() -> list[Hit]:
    paths = [path if path.startswith("/") else f"/music/{path}" for path in EVIL]
    return [Hit(path, None, 0.5, 0.0, 2.0) for path in paths]


def test_a_page_holds_players_and_no_markup_of_others() -> None:
    page = Page()
    page.feed(results.html(hits(), "<b>rain</b>"))
    assert page.tags.count("audio") == len(EVIL)
    assert set(page.tags) <= {
        "html",
        "meta",
        "title",
        "style",
        "h1",
        "ol",
        "li",
        "small",
        "br",
        "audio",
    }
    assert page.attributes == {"controls", "preload", "src"}
    for hit, source in zip(hits(), page.sources, strict=True):
        assert unquote(urlparse(source).path) == hit.path
        assert urlparse(source).fragment == "t=0.000,2.000"


def test_a_playlist_has_one_line_for_each_path() -> None:
    found = [
        *hits(),
        Hit("/music/part.wav", None, 0.4, 3.0, 4.5),
        Hit("/s.tar", "in.wav", 0.3, 0, 1),
    ]
    lines = results.m3u8(found, "rain").splitlines()
    played = [line for line in lines if not line.startswith("#")]
    names = [unquote(urlparse(p).path) if p.startswith("file:") else p for p in played]
    assert names == [hit.path for hit in found[:-1]]
    assert "#EXTVLCOPT:start-time=3.000" in lines
    assert "#EXTVLCOPT:stop-time=4.500" in lines


def test_paths_of_another_system_and_of_none() -> None:
    """What is no path from a root here may be an address on the net, which nobody shall ask."""
    said = {
        "C:\\sounds\\a b#.wav": "file:///C:/sounds/a%20b%23.wav",
        "sounds/a.wav": "sounds/a.wav",
        "http://example.org/a.wav": "http%3A//example.org/a.wav",
        "//example.org\n/a.wav": "file:////example.org%0A/a.wav",
    }
    found = [Hit(path, None, 0.5, 0.0, None) for path in said]
    page = Page()
    page.feed(results.html(found, "rain"))
    assert page.sources == list(said.values())
    played = [line for line in results.m3u8(found, "").splitlines() if not line.startswith("#")]
    assert played == ["C:\\sounds\\a b#.wav", *list(said.values())[1:]]


def test_a_table_for_spreadsheets_has_no_formulas() -> None:
    rows = list(csv.reader(results.csv([Hit("=cmd", "-x", 0.5, 0.0, None)], "").splitlines()))
    assert rows[1] == ["1", "0.500000", "'=cmd", "'-x", "0.000000", ""]


def test_lines_for_machines() -> None:
    lines = results.json(hits(), "").splitlines()
    assert [json.loads(line)["path"] for line in lines] == [hit.path for hit in hits()]


def test_the_ending_says_what_is_written(tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=r"must end in .json, .csv, .m3u8, .html"):
        results.write(hits(), "", tmp_path / "hits.xlsx", overwrite=False)


def test_the_command_searches_and_writes(tiny_bundle: Path, tmp_path: Path) -> None:
    paths = made.recordings(tmp_path / "sounds", 4)
    out = tmp_path / "lib"
    made.library(tiny_bundle, paths, out, rows=2)
    begin = ["search", str(out)]
    written = [tmp_path / f"hits{suffix}" for suffix in results.FORMATS]
    outputs = [each for path in written for each in ("-o", str(path))]
    result = CliRunner().invoke(main, [*begin, "dog", "rain^0.5", "--minus", "wind", *outputs])
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    order = [json.loads(line)["path"] for line in written[0].read_text().splitlines()]
    assert sorted(order) == sorted(map(str, paths))
    assert [row["path"] for row in csv.DictReader(written[1].open())] == order
    assert "<title>dog + rain^0.5 - wind</title>" in written[3].read_text()
    again = CliRunner().invoke(main, [*begin, "dog", "-o", str(written[0])])
    assert again.exit_code == 2
    assert "exists" in again.stderr
    new = str(tmp_path / "new.csv")
    for others, message in (
        ((str(written[3]),), "exists"), ((new,), "is to be written twice"), (("x.mp3",), "must end")
    ):  # fmt: skip
        more = [each for path in (new, *others) for each in ("-o", path)]
        again = CliRunner().invoke(main, [*begin, "dog", *more])
        assert again.exit_code == 2
        assert message in again.stderr
        assert not Path(new).exists()
    # What is given twice counts twice, however its weight is written.
    twice, weighted, once = (
        [json.loads(line)["similarity"] for line in CliRunner().invoke(
            main, [*begin, *words, "--json"]).stdout.splitlines()]
        for words in (("dog", "dog", "rain"), ("dog^1.5", "rain", "dog^0.5"), ("dog", "rain"))
    )  # fmt: skip
    assert twice == pytest.approx(weighted, abs=1e-6)
    assert twice != pytest.approx(once, abs=1e-3)
    like = CliRunner().invoke(main, [*begin, "--like", str(paths[2]), "--json", "--top-k", "1"])
    assert json.loads(like.stdout)["path"] == str(paths[2])
    table = CliRunner().invoke(main, [*begin, "dog"])
    assert "similarity" in table.stdout
    # A long path is folded within its column.
    assert "0002.wav" in re.sub(r"[│\s]", "", table.stdout)
    nothing = CliRunner().invoke(main, begin)
    assert nothing.exit_code == 2
    assert "give words" in nothing.stderr
    # A damaged part is named when the others were searched.
    part = out / "parts" / "part-00000001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    damaged = CliRunner().invoke(main, [*begin, "dog", "--json"])
    assert damaged.exit_code == 2
    assert len(damaged.stdout.splitlines()) == 2
    assert "part-00000001.parquet' is damaged" in damaged.stderr
