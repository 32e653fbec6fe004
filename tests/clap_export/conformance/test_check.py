"""Readers that are right pass, and each that is wrong fails where it is wrong, and only there."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from clap_export.conformance import kit, program
from clap_export.conformance.check import Check, Verdict
from runtime.conformance.tasks import TASKS
from tests.docs.pages import BLOCKS
from tests.places import ROOT

# What is changed in a right answer: `answer` and `request` are there, and may be changed.
WRONG = """
import base64, json, os, sys, time
sys.path.insert(0, {root!r})
import numpy as np
from runtime.conformance.__main__ import answered
count = 0
for line in sys.stdin.buffer:
    request = json.loads(line)
    answer = answered(line, "cpu")
    outputs = answer.get("outputs", {{}})
    count += 1
{change}
    print(json.dumps(answer), flush=True)
"""
# One of each task, and the errors of two.
SOME = (
    "space/bundle", "space/damaged/unknown-key", "decode/kind-16-bit", "decode/length-too-large",
    "resample/44100-to-16000/sound", "windows/default/long", "embed/default/long",
    "tokens/plain", "embed_text/batch", "bank/plain", "classify/softmax/long",
    "classify/softmax/some", "timeline/long/third", "listen/plain", "tagger/softmax/long",
    "embed/refused/no-samples",
)  # fmt: skip


def wrong(folder: Path, change: str) -> tuple[str, ...]:
    """The command of a reader that does what is right, but for ``change``."""
    lines = "".join(f"    {line}\n" for line in change.splitlines())
    path = folder / "reader.py"
    path.write_text(WRONG.format(root=str(ROOT), change=lines), encoding="utf-8")
    return (sys.executable, str(path))


@pytest.fixture(scope="module")
def some(kit_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small kit: the same files, and a case of each task."""
    folder = tmp_path_factory.mktemp("some")
    for path in kit_folder.iterdir():
        (folder / path.name).symlink_to(path)
    table = json.loads((kit_folder / kit.DOCUMENT).read_text(encoding="utf-8"))
    table["cases"] = [case for case in table["cases"] if case["id"] in SOME]
    assert len(table["cases"]) == len(SOME)
    (folder / kit.DOCUMENT).unlink()
    (folder / kit.DOCUMENT).write_text(json.dumps(table), encoding="utf-8")
    return folder


def hurried(monkeypatch: pytest.MonkeyPatch, task: str) -> None:
    """Wait a second for the answer of one task, and very long for all others."""
    exchanged = program.Program._exchanged

    def exchange(self: program.Program, process: Any, question: bytes) -> bytes:
        self._seconds = 1.0 if json.loads(question)["task"] == task else 300.0
        return exchanged(self, process, question)

    monkeypatch.setattr(program.Program, "_exchanged", exchange)


def failed(folder: Path, command: tuple[str, ...], **options: object) -> dict[str, str]:
    """Why cases failed, by their id; all others passed."""
    verdicts = list(Check(folder, command, **options).run())  # type: ignore[arg-type]
    assert {v.state for v in verdicts} <= {"passed", "failed"}
    assert all((v.why is None) == (v.state == "passed") for v in verdicts)
    return {v.id: str(v.why) for v in verdicts if v.state == "failed"}


def with_task(*tasks: str) -> set[str]:
    return {name for name in SOME if name.split("/")[0] in tasks}


def test_our_own_reader_passes_everything(kit_folder: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m runtime.conformance"
    done = run(str(kit_folder), "--check", command, "--json")
    found = json.loads(done.output)
    bad = [case for case in found["cases"] if case["state"] != "passed"]
    assert (bad, done.exit_code) == ([], 0)
    assert found["passed"] == len(kit.read(kit_folder).cases) > 300
    assert {case["task"] for case in found["cases"]} == {
        "space", "decode", "resample", "windows", "embed", "tokens", "embed_text", "bank",
        "classify", "timeline", "listen", "tagger",
    }  # fmt: skip


def test_what_was_asked_before_is_left_out(some: Path, tmp_path: Path) -> None:
    command = wrong(tmp_path, "pass")
    asked = list(Check(some, command, only="embed*", without=("embed/default/long",)).run())
    assert [verdict.id for verdict in asked] == ["embed/refused/no-samples", "embed_text/batch"]


ARRAYS = with_task("decode", "resample", "windows", "tokens", "bank", "timeline") | {
    "embed/default/long", "embed_text/batch",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "expected", "said"),
    [
        ("outputs.pop(next(iter(outputs), None), None)", None, "is missing"),
        ("answer.get('outputs', {})['more'] = 1", None, "'more' is no output of it"),
        (
            "if 'embedding' in outputs:\n"
            "    x = np.frombuffer(base64.b64decode(outputs['embedding']['base64']), '<f4') * 1\n"
            "    x[0] = np.nan\n"
            "    outputs['embedding']['base64'] = base64.b64encode(x.tobytes()).decode()",
            {"embed/default/long"}, "holds NaN",
        ),
        (
            "for value in outputs.values():\n"
            "    if isinstance(value, dict): value['shape'] = [1, *value['shape']]",
            ARRAYS, "has the shape",
        ),
        (
            "for value in outputs.values():\n"
            "    if isinstance(value, dict): value['base64'] = value['base64'][8:]",
            ARRAYS, "is no array",
        ),
        (
            "if 'similarities' in outputs:\n"
            "    outputs['similarities'] = [x + 0.01 for x in outputs['similarities']]",
            with_task("classify", "tagger"), "'similarities' is off by 0.01",
        ),
        (
            "if len(outputs.get('scores', {})) > 1 and 'similarities' in outputs:\n"
            "    for value in outputs.values(): value.reverse()",
            with_task("classify", "tagger") - {"classify/softmax/some"}, "'labels' at 0",
        ),
        (
            "for event in outputs.get('events', []): event['end'] += 0.25",
            {"listen/plain"}, "have 'end'",
        ),
        ("outputs.get('events', []).clear()", {"listen/plain"}, "'events' are of []"),
        (
            "if 'sample_rate' in outputs: outputs['sample_rate'] = 44100",
            {"space/bundle"}, "'sample_rate' is 44100, not 16000",
        ),
        (
            "if outputs.get('warning'): outputs['warning'] = None",
            {"decode/length-too-large"}, "'warning' is None, and should be set",
        ),
        (
            "if 'error' in answer: answer['error']['message'] += ' Sorry.'",
            {"space/damaged/unknown-key", "embed/refused/no-samples"}, "It should say:",
        ),
        (
            "if 'error' in answer: answer['error']['code'] = 'argument'",
            {"space/damaged/unknown-key", "embed/refused/no-samples"}, "should be",
        ),
        (
            "if 'error' in answer: answer = {'id': answer['id'], 'outputs': {}}",
            {"space/damaged/unknown-key", "embed/refused/no-samples"}, "no error, where",
        ),
        (
            "no = {'code': 'audio', 'message': 'no'}\n"
            "if outputs: answer = {'id': answer['id'], 'error': no}",
            {n for n in SOME if "damaged" not in n and "refused" not in n}, "an error, where",
        ),
    ],
)  # fmt: skip
def test_a_wrong_answer_fails_where_it_is_wrong(
    some: Path, tmp_path: Path, change: str, expected: set[str] | None, said: str
) -> None:
    found = failed(some, wrong(tmp_path, change))
    if expected is None:
        expected = {n for n in SOME if "damaged" not in n and "refused" not in n}
    assert set(found) == expected
    assert all(said in why for why in found.values()), found


LISTEN = "if request['task'] == 'listen':\n    "


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("os._exit(3)", "ended without an answer (exit code 3)"),
        ("os.abort()", "ended by SIGABRT"),
        ("time.sleep(60)", "was silent for 1 s"),
        ("print('listening ...', flush=True)", "which is no JSON"),
        ("print('[1, 2]', flush=True)", "it must be a JSON object"),
        ("print('[' * 100_000, flush=True)", "which is no JSON"),
        ("outputs['segments'] = float('nan')", "NaN is no number"),
        ("answer['id'] = 'another'", "answered to 'another', which was not asked"),
        ("answer['skipped'] = 'too'", "it must have 'id' and one of"),
        ("answer['outputs'] = [1]", "it must be an object"),
        ("sys.stdout.write('x' * (3 << 20)); sys.stdout.flush()", "of more than 2 MiB"),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()", "which is no JSON"),
        (
            "import subprocess; subprocess.Popen(['sleep', '60']); os._exit(0)",
            "was silent for 1 s",  # its child holds the pipe open
        ),
    ],
)
def test_a_reader_that_breaks_fails_one_case_and_goes_on(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, said: str
) -> None:
    monkeypatch.setattr(program, "MOST_LINE", 2 << 20)
    if "silent" in said:
        hurried(monkeypatch, "listen")
    found = failed(some, wrong(tmp_path, LISTEN + change), seconds=300.0)
    assert set(found) == {"listen/plain"}
    assert said in found["listen/plain"]
    assert found["listen/plain"].startswith("the reader ")


def test_a_reader_may_answer_one_question_and_end(some: Path, tmp_path: Path) -> None:
    change = "print(json.dumps(answer), flush=True)\nbreak"
    assert failed(some, wrong(tmp_path, change), only="[sd]*") == {}
    # But one that ends without any answer is not asked for ever.
    found = failed(some, (sys.executable, "-c", "pass"))
    assert set(found) == set(SOME)
    assert "ended without an answer" in found["space/bundle"]


def test_what_is_skipped_must_be_allowed(some: Path, tmp_path: Path) -> None:
    command = wrong(tmp_path, LISTEN + "answer = {'id': answer['id'], 'skipped': 'no ears'}")
    found = failed(some, command)
    assert list(found) == ["listen/plain"]
    assert "'no ears'" in found["listen/plain"]
    assert "--allow-skipped listen" in found["listen/plain"]
    allowed = list(Check(some, command, allowed=frozenset({"listen"})).run())
    assert Verdict("listen/plain", "listen", "skipped", "no ears") in allowed
    assert {v.state for v in allowed if v.id != "listen/plain"} == {"passed"}


def test_the_pages_reader_does_what_it_says(kit_folder: Path, tmp_path: Path) -> None:
    (block,) = [b for b in BLOCKS if (b.page, b.language) == ("conformance.md", "python")]
    (tmp_path / "reader.py").write_text(block.text, encoding="utf-8")
    command = (sys.executable, str(tmp_path / "reader.py"))
    whole = list(Check(kit_folder, command, allowed=frozenset(TASKS)).run())
    passed = {v.id for v in whole if v.state == "passed"}
    assert passed == {"space/bundle", "space/without-text"}
    assert {v.task for v in whole if v.state == "failed"} == {"space"}
    assert {v.task for v in whole if v.state == "skipped"} == TASKS.keys() - {"space"}


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["conformance", *arguments])


def test_the_command_ends_with_1_and_says_what_failed(some: Path, tmp_path: Path) -> None:
    command = shlex.join(wrong(tmp_path, LISTEN + "os._exit(3)"))
    done = run(str(some), "--check", command)
    assert done.exit_code == 1
    assert "failed: listen/plain: the reader ended without an answer (exit code 3)." in done.output
    assert f"{len(SOME) - 1} passed, 1 failed, 0 skipped" in done.output
    assert run(str(some), "--check", command, "--only", "decode/*").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give -o DIR"),
        (["--check", "x", "-o", "out"], "give -o DIR"),
        (["--check", "no-such-program"], "cannot be started"),
        (["--check", ""], "cannot be started"),
        (["--check", "'open"], "cannot be split"),
        (["--check", "true", "--allow-skipped", "dance"], "the tasks are"),
        (["--check", "true", "--only", "dance/*"], "no case"),
        (["--check", "true", "--labels", "a,b"], "--labels"),
        (["-o", "out", "--json"], "go with --check"),
    ],
)
def test_bad_input_is_one_sentence(
    some: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(str(some), *arguments)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert not list(tmp_path.iterdir())


def test_what_is_no_kit_is_refused(tmp_path: Path, some: Path) -> None:
    assert "no conformance kit" in run(str(tmp_path), "--check", "true").output
    table = json.loads((some / kit.DOCUMENT).read_text(encoding="utf-8"))
    first = table["cases"][0]
    for changed, said in (
        ({"colour": 1}, "unknown key 'colour'"),
        ({"format_version": 2}, "format_version"),
        ({"cases": [first, first]}, "is there twice"),
        ({"cases": [{**first, "error": {"code": "audio", "message": "x"}}]}, "either"),
        ({"cases": [{**first, "tolerance": {}}]}, "must name what"),
    ):
        (tmp_path / kit.DOCUMENT).write_text(json.dumps({**table, **changed}), encoding="utf-8")
        done = run(str(tmp_path), "--check", "true")
        assert (done.exit_code, said in done.output) == (2, True), done.output
