"""Rules of single labels, and labels that are exchanged."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.cli.listening import settings
from runtime import Classifier, Events, Rule
from tests.clap_export.cli.listening.started import (
    PATIENCE,
    bursts,
    environment,
    inside,
    lines_of,
    pcm,
)
from tests.tiny import bundle as tiny

# ------------------------------------------------------------------ rules


def test_labels_have_rules_of_their_own(tiny_bundle: Path, tmp_path: Path) -> None:
    """The rules of a file and of the command line are those of Events with the same rules."""
    rules = tmp_path / "rules.toml"
    rules.write_text("[dog]\non = 0.9\nmin-duration = 3\n\n[rain]\non = 0.05\noff = 0.01\n")
    given = ("--on", 0.3, "--rules", rules, "--rule", "dog:on=0.2", "--rule", "bell:min-gap=2")
    done = inside(tiny_bundle, bursts(), *given, "--json")
    assert done.exit_code == 0, done.stderr
    wanted = Events(
        Rule(0.3),
        rules={"dog": Rule(0.2, minimum=3.0), "rain": Rule(0.05, 0.01), "bell": Rule(0.3, gap=2)},
    )
    with Classifier(tiny_bundle, tiny.LABELS) as classifier:
        segments = classifier.timeline(np.frombuffer(bursts(), "<i2"), 16_000, hop=0.5)
    found = [event for s in segments for event in wanted.push(s)] + wanted.finish()
    got = [x for x in lines_of(done.stdout) if x["type"] == "event"]
    assert [(x["label"], x["phase"], x["start"], x["end"]) for x in got] == [
        (e.label, e.phase, e.start, e.end) for e in found
    ]
    plain = lines_of(inside(tiny_bundle, bursts(), "--on", 0.3, "--json").stdout)
    assert got != [x for x in plain if x["type"] == "event"]


def test_a_label_with_colons_and_commas_has_a_rule(tiny_bundle: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("alarm: fire, big=1\nrain\n")
    raw = tmp_path / "a.pcm"
    raw.write_bytes(pcm(1.0))
    result = CliRunner().invoke(
        main, ["listen", str(tiny_bundle), "--labels", str(labels), "--input", str(raw), "--pcm",
               "s16le", "--rate", "16000", "--json", "--rule", "alarm: fire, big=1:on=1e-9"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert any(x.get("label") == "alarm: fire, big=1" for x in lines_of(result.stdout))


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        (["dog"], ["'dog' is not of the form"]),
        (["dog:on"], ["not of the form"]),
        (["dog:on=x", ":on=1"], ["'dog:on=x' is not", "':on=1' names no label"]),
        (["dog:on=0.5", "dog:off=0.2"], ["'dog' has two rules"]),
        (["dog:on=0.5,on=0.6"], ["names something twice"]),
        (
            ["cat:on=1", "dog:loud=1", "rain:on=0.5,off=0.6", "bell:on=nan", "sea:min-gap=-1"],
            ["'cat' is not among", "'dog' has 'loud'", "not above `on`", "on=nan", "at least 0 s"],
        ),
    ],
)  # fmt: skip
def test_all_faults_of_rules_are_said_at_once(
    tiny_bundle: Path, rules: list[str], said: list[str]
) -> None:
    given = [word for rule in rules for word in ("--rule", rule)]
    done = inside(tiny_bundle, pcm(1.0), *given)
    assert (done.exit_code, done.stdout) == (2, "")
    assert not [words for words in said if words not in done.stderr], done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[dog\n", "cannot be read as TOML"),
        ("on = 0.5\n", "'on' stands outside"),
        ("[dog]\non = true\n[rain]\nof = 1\n", "on=True, which is no number; 'rain' has 'of'"),
        ("[dog]\non = '0.5'\n", "no number"),
        ("[cat]\n", "'cat' is not among the labels"),
        (b"\xff\xfe[", "cannot be read as TOML"),
        ("[dog]\non = 1" + "0" * 400, "inf"),
    ],
)
def test_files_of_rules_are_strict(
    tiny_bundle: Path, tmp_path: Path, text: str | bytes, said: str
) -> None:
    path = tmp_path / "rules.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = inside(tiny_bundle, pcm(1.0), "--rules", path)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    done = inside(tiny_bundle, pcm(1.0), "--rules", tmp_path / "no.toml")
    assert done.exit_code == 2
    assert "does not exist" in done.stderr


def replace(path: Path, text: str) -> None:
    """At once: it is read whenever it has rested for a while, half written too."""
    other = path.with_name("other")
    other.write_text(text)
    other.replace(path)


def test_labels_and_rules_are_exchanged_while_it_runs(tiny_bundle: Path, tmp_path: Path) -> None:
    labels, rules = tmp_path / "labels.txt", tmp_path / "rules.toml"
    labels.write_text("dog\nrain\n")
    rules.write_text("")
    words = [sys.executable, "-m", "clap_export", "listen", str(tiny_bundle)]
    words += ["--labels", str(labels), "--rules", str(rules), "--watch", "--json", "--segments"]
    process = subprocess.Popen(
        [*words, "--rate", "16000", "--on", "0.001", "-o", str(tmp_path / "e.csv")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    found: list[dict[str, Any]] = []

    def until(kind: str) -> dict[str, Any]:
        """Sound goes on until a line of a kind comes."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            process.stdin.write(pcm(0.5))  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            found.append(json.loads(process.stdout.readline()))  # type: ignore[union-attr]
            if found[-1]["type"] == kind:
                return found[-1]
            time.sleep(0.05)
        raise AssertionError(found)

    try:
        assert {p["label"] for p in until("segment")["predictions"]} == {"dog", "rain"}
        replace(labels, "bell\nbell\n")  # no labels
        assert b"'bell'" in process.stderr.readline()
        # A rule of a label that there is not yet would be refused too, if it were read first.
        replace(rules, "[sea]\non = 1.0\n")
        replace(labels, "bell\nwind\nsea\n")
        told = until("labels")
        assert told["labels"] == 3
        assert {p["label"] for p in until("segment")["predictions"]} == {"bell", "wind", "sea"}
        process.stdin.close()
        rest, errors = process.stdout.read(), process.stderr.read()
        assert process.wait(PATIENCE) == 0, errors
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdout, process.stderr):
            pipe.close()
    events = [x for x in [*found, *lines_of(rest.decode())] if x["type"] == "event"]
    ended = {x["label"]: x["end"] for x in events if x["phase"] == "ended"}
    assert ended.keys() == {"dog", "rain", "bell", "wind"}  # the sea is never as loud as 1
    assert ended["dog"] <= told["start"] + 0.5 < ended["bell"]


def test_a_change_while_the_model_is_loaded_is_seen(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("dog\nrain\n")
    real, seen = settings.Settings.load, []

    def load(self: settings.Settings, *given: Any, **more: Any) -> settings.Loaded:
        found = real(self, *given, **more)
        labels.write_text("dog\nrain\nbell\n")
        return found

    def start(self: settings.Watch) -> None:
        seen.append(self._stamps() != self._known)

    monkeypatch.setattr(settings.Settings, "load", load)
    monkeypatch.setattr(settings.Watch, "start", start)
    done = inside(tiny_bundle, pcm(1.0), "--labels", str(labels), "--watch")
    assert done.exit_code == 0, done.stderr
    assert seen == [True]


def test_watch_needs_a_file_to_look_at(tiny_bundle: Path) -> None:
    done = inside(tiny_bundle, pcm(1.0), "--watch")
    assert done.exit_code == 2
    assert "--labels @FILE" in done.stderr


# ------------------------------------------------------------------ policies


def test_what_counts_of_a_policy_is_said(tiny_bundle: Path, tmp_path: Path) -> None:
    plain = inside(tiny_bundle, bursts(), "--json", "--segments")
    spaced = inside(tiny_bundle, bursts(), "--json", "--segments", "--windows", "spaced:3")
    assert spaced.stdout == plain.stdout
    assert "'spaced:3' nothing counts here" in spaced.stderr
    bad = inside(tiny_bundle, bursts(), "--windows", "some")
    assert bad.exit_code == 2
    assert "windows='some'" in bad.stderr
