"""What labels mean by their text, recordings on standard input, and text that is shown as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from tests.clap_export.cli.test_cli import refused
from tests.places import ROOT
from tests.tiny import bundle as tiny_


@pytest.fixture
def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recording in an empty folder, which is where the command works."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.wav"
    path.write_bytes(tiny_.wav(tiny_.clip(9000), 16000))
    return path


def call(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], input=stdin)


def labels_of(bundle: Path, clip: Path, text: str) -> list[str]:
    """The labels that a text stands for, as the command scored them."""
    result = call("classify", bundle, clip, "--labels", text, "--top-k", 100, "--json")
    assert result.exit_code == 0, result.output
    return sorted(p["label"] for p in json.loads(result.stdout)["predictions"])


def test_names_are_names_whatever_lies_on_the_disk(tiny_bundle: Path, clip: Path) -> None:
    Path("dog").mkdir()
    Path("rain").write_text("not me\n")
    for text, wanted in (
        ("cafe/restaurant,park", ["cafe/restaurant", "park"]),
        ("dog,rain", ["dog", "rain"]),
        ("./dog, ../x ,a.wav", ["../x", "./dog", "a.wav"]),
        ("dog,@home", ["@home", "dog"]),
        ("a\\b,C:\\x", ["C:\\x", "a\\b"]),
    ):
        assert labels_of(tiny_bundle, clip, text) == wanted


def test_many_names_may_be_longer_than_a_file_name(tiny_bundle: Path, clip: Path) -> None:
    names = [f"label number {i:04d}" for i in range(400)]
    assert len(",".join(names)) > 4096
    assert labels_of(tiny_bundle, clip, ",".join(names))[:1] == names[:1]
    assert labels_of(tiny_bundle, clip, f"{'y' * 300},z") == ["y" * 300, "z"]


def test_files_of_labels_are_told_by_the_text(tiny_bundle: Path, clip: Path) -> None:
    Path("names.txt").write_text("dog\nrain, hard\n")
    Path("names").write_text("dog\nsiren\n")
    Path("row.csv").write_text('dog,"rain, hard",siren\n')
    Path("column.CSV").write_text('dog\n"rain, hard"\n')
    assert labels_of(tiny_bundle, clip, "names.txt") == ["dog", "rain, hard"]
    assert labels_of(tiny_bundle, clip, "@names") == ["dog", "siren"]
    assert labels_of(tiny_bundle, clip, "@names.txt") == ["dog", "rain, hard"]
    assert labels_of(tiny_bundle, clip, "row.csv") == ["dog", "rain, hard", "siren"]
    assert labels_of(tiny_bundle, clip, "column.CSV") == ["dog", "rain, hard"]
    assert call("labels", tiny_bundle, "names", "-o", "bank.npz").exit_code == 0
    assert labels_of(tiny_bundle, clip, "@bank.npz") == ["dog", "siren"]


def test_what_is_no_file_of_labels_is_said(tiny_bundle: Path, clip: Path) -> None:
    Path("one.txt").write_text("dog,rain,siren\n")
    Path("table.csv").write_text("dog,1\nrain,2\n")
    Path("twice.csv").write_text("dog,dog\n")
    Path("open.csv").write_text('"dog\n')
    Path("folder.txt").mkdir()
    for text, said in (
        ("missing.csv", "missing.csv"), ("missing.txt", "missing.txt"),
        ("missing.npz", "missing.npz"), ("@missing", "missing"), ("@", "no label file"),
        ("one.txt", "one label a line"), ("table.csv", "several rows and columns"),
        ("twice.csv", "'dog' listed twice"), ("open.csv", "open.csv"),
        ("folder.txt", "folder.txt"), (f"@{'x' * 300}", "too long"),
        (f"{'x' * 300}.txt", "too long"), (f"{'x' * 300}.npz", "too long"),
        ("", "no labels"), (" , ", "no labels"),
    ):  # fmt: skip
        assert said in refused("classify", tiny_bundle, clip, "--labels", text)


def test_one_label_is_warned_of(tiny_bundle: Path, clip: Path) -> None:
    result = call("classify", tiny_bundle, clip, "--labels", "labels", "--json")
    assert "always 1.000" in result.stderr
    assert "@FILE" in result.stderr
    quiet = call("classify", tiny_bundle, clip, "--labels", "labels", "--scores", "cosine")
    assert "always" not in quiet.stderr


@pytest.mark.parametrize("extra", [[], ["--timeline"]], ids=["whole", "timeline"])
def test_a_recording_on_standard_input(tiny_bundle: Path, clip: Path, extra: list[str]) -> None:
    given = ("--labels", "dog,rain", "--json", *extra)
    result = call("classify", tiny_bundle, clip, "-", *given, stdin=clip.read_bytes())
    assert result.exit_code == 0, result.output
    file, piped = (json.loads(line) for line in result.stdout.splitlines())
    assert piped == {**file, "file": "-"}
    for nonsense in (b"", b"no audio"):
        result = call("classify", tiny_bundle, "-", clip, *given, stdin=nonsense)
        assert result.exit_code == 2
        broken, whole = (json.loads(line) for line in result.stdout.splitlines())
        assert broken.keys() == {"file", "error"}
        assert whole == file
    assert "once" in refused("classify", tiny_bundle, "-", "-", "--labels", "a,b")


def test_standard_input_that_is_closed(tiny_bundle: Path) -> None:
    words = [sys.executable, "-m", "clap_export", "classify", str(tiny_bundle), "-"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *words, "--labels", "dog,rain", "--json"],
        capture_output=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"].startswith("standard input is closed")


@pytest.mark.parametrize("extra", [[], ["--timeline"]], ids=["whole", "timeline"])
def test_no_file_disturbs_the_others(tiny_bundle: Path, clip: Path, extra: list[str]) -> None:
    Path("folder.wav").mkdir()
    Path("empty.wav").touch()
    Path("loop.wav").symlink_to("loop.wav")
    odd = ["folder.wav", "empty.wav", "missing.wav", "loop.wav", "x" * 300, "a/" * 3000]
    files = [x for name in odd for x in (name, str(clip))]
    result = call("classify", tiny_bundle, *files, "--labels", "dog,rain", "--json", *extra)
    assert result.exit_code == 2
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["file"] for line in lines] == files
    assert ["error" in line for line in lines] == [True, False] * len(odd)


@pytest.mark.parametrize("extra", [[], ["--timeline"]], ids=["whole", "timeline"])
def test_a_recording_that_ends_early_is_used_and_said(
    tiny_bundle: Path, clip: Path, extra: list[str]
) -> None:
    Path("\x1b[2Jcut.wav").write_bytes(clip.read_bytes()[:9000])  # its header states 18,000 bytes
    given = ("classify", tiny_bundle, "\x1b[2Jcut.wav", "--labels", "dog,rain", *extra)
    result = call(*given, "--json")
    assert result.exit_code == 0, result.output
    line = json.loads(result.stdout)
    assert "cut.wav" in line["warning"]
    assert result.stderr == ""
    table = call(*given)
    assert table.exit_code == 0
    assert table.stderr.startswith("Warning: ")
    assert "\x1b" not in table.output


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_a_name_that_is_not_utf8_is_a_name(tiny_bundle: Path, clip: Path) -> None:
    name = os.fsdecode(b"caf\xe9.wav")
    clip.rename(name)
    given = ("classify", tiny_bundle, name, "--labels", "dog,rain")
    line = json.loads(call(*given, "--json").stdout)
    assert os.fsencode(line["file"]) == b"caf\xe9.wav"
    assert "predictions" in line
    assert "caf\\udce9.wav" in call(*given).stdout


def test_a_file_that_may_not_be_read_is_reported_in_its_place(
    tiny_bundle: Path, clip: Path
) -> None:
    Path("b.wav").write_bytes(clip.read_bytes())
    Path("b.wav").chmod(0)
    if os.access("b.wav", os.R_OK):
        # Root may read everything, unless it gives that up.
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        try:
            subprocess.run([*drop, "true"], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("nothing here that its user may not read")
    else:
        drop = []
    arguments = ["classify", str(tiny_bundle), str(clip), "b.wav", "--labels", "dog,rain", "--json"]
    done = subprocess.run(
        [*drop, sys.executable, "-m", "clap_export", *arguments], capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert "predictions" in first
    assert "b.wav" in second["error"]


ODD = [
    "dog [barking]", "end [/b]", "[red]x[/red]", ":smile: face", "雨", "\\", "{0}", "%s", "[",
]  # fmt: skip
OBEYED = ["\x1b]0;title\x07", "a\x1b[2Jb", "siren\x9b31m", "\u202ereversed", "a\tb", "\u2028x"]


def test_text_is_shown_as_it_is(tiny_bundle: Path, clip: Path) -> None:
    Path("labels.txt").write_text("\n".join(ODD), "utf-8")
    name = "track [live] [b] :smile:.wav"
    clip.rename(name)
    given = ("classify", tiny_bundle, name, "--labels", "labels.txt", "--top-k", len(ODD))
    table = call(*given)
    assert table.exit_code == 0, table.output
    for text in (name, *ODD):
        assert text in table.stdout
    plain = call(*given, "--json").stdout
    assert plain.isascii()
    assert {p["label"] for p in json.loads(plain)["predictions"]} == set(ODD)


@pytest.mark.parametrize("label", OBEYED, ids=ascii)
def test_what_a_terminal_would_obey_is_escaped_or_refused(
    tiny_bundle: Path, clip: Path, label: str
) -> None:
    Path("labels.txt").write_text(f"dog\n{label}\n", "utf-8")
    name = f"{label}.wav"
    clip.rename(name)
    for extra in ([], ["--json"]):
        for labels in ("labels.txt", "a,b"):
            result = call("classify", tiny_bundle, name, "--labels", labels, *extra)
            assert result.exit_code in ((0, 2) if labels == "labels.txt" else (0,))
            assert not {"\x1b", "\x07", "\x9b", "\u202e", "\t", "\u2028"} & set(result.output)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_no_terminal_loses_the_results(tiny_bundle: Path, clip: Path, encoding: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding}
    for extra in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "clap_export", "classify", str(tiny_bundle), str(clip),
             "--labels", "dog,雨 é", *extra],
            capture_output=True, env=environment, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        text = done.stdout.decode(encoding)
        shown = "雨" in text if encoding == "utf-8" and not extra else "\\u96e8" in text
        assert shown, text


def test_labels_and_templates_must_be_text(tiny_bundle: Path, clip: Path) -> None:
    assert "not text" in refused("classify", tiny_bundle, clip, "--labels", "caf\udce9,dog")
    line = refused("classify", tiny_bundle, clip, "--labels", "a,b", "--template", "\udce9 {}")
    assert "not text" in line


def test_inspect_shows_what_a_manifest_says_and_obeys_none_of_it(tmp_path: Path) -> None:
    folder = tiny_.build(tmp_path / "bundle")
    path = folder / "manifest.json"
    plain = json.loads(path.read_text("utf-8"))
    plain["name"] = "[/b] \x1b[2J :smile:"
    plain["source"] |= {"licence": "[red]MIT\x1b[8m hidden", "checkpoint": "x\r\n[/]"}
    plain["default_template"] = "[b] {} \u202e"
    path.write_text(json.dumps(plain), "utf-8")
    result = call("inspect", folder)
    if result.exit_code == 2:  # refused for its control characters, and named without them
        assert not {"\x1b", "\u202e"} & set(result.stderr)
        return
    assert result.exit_code == 0, result.output
    assert "[red]MIT\\x1b[8m hidden" in result.stdout
    assert ":smile:" in result.stdout
    assert not {"\x1b", "\u202e", "\r"} & set(result.stdout)
    assert call("inspect", folder, "--json").stdout.isascii()


def test_errors_hold_no_escape_sequences(tiny_bundle: Path, clip: Path) -> None:
    for arguments in (
        ["inspect", "no\x1b[2Jthing"], ["classify", tiny_bundle, clip, "--labels", "\x1b[2J.txt"],
        ["classify", tiny_bundle, "\x1b[2J.wav", "--labels", "a,b"], ["\x1b[2J"],
    ):  # fmt: skip
        result = call(*arguments)
        assert result.exit_code == 2
        assert "\x1b" not in result.stdout + result.stderr
        assert "\\x1b" in result.stdout + result.stderr
