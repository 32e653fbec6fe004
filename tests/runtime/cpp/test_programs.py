"""What the C++ programs say and how they end, by themselves and beside the Python runtime."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from runtime import Classifier, LabelBank
from tests.places import ROOT
from tests.runtime.cpp.build import SOURCE
from tests.tiny import bundle as tiny
from tests.tiny import heads


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sound") / "stereo.wav"
    left = tiny.clip(1, 5 * tiny.WINDOW + 77)
    samples = np.stack([left, 0.5 * left[::-1]], axis=1)
    soundfile.write(path, samples, 22_050, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def bank(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.npz"
    with Classifier(tiny_bundle, tiny.LABELS) as classifier:
        classifier.bank.save(path)
    return path


def run(*command: object) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, check=False, capture_output=True, text=True)


def test_checks_of_the_library_and_its_c_interface(
    programs: Path, tiny_bundle: Path, bank: Path, wav: Path
) -> None:
    done = run(programs / "clap-checks", tiny_bundle, bank, wav)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 failed\n", "")


def test_the_library_shows_nothing_but_its_interface(programs: Path) -> None:
    shown = run("nm", "-D", "--defined-only", programs / "libclap.so").stdout.split("\n")
    names = {line.split()[-1] for line in shown if line}
    assert names
    assert all(name.startswith("clap_") for name in names)


@pytest.mark.parametrize("labels", ["names", "bank"])
def test_predictions_are_those_of_python(
    programs: Path, tiny_bundle: Path, bank: Path, wav: Path, labels: str
) -> None:
    given = bank if labels == "bank" else ",".join(tiny.LABELS)
    done = run(programs / "clap-classify", tiny_bundle, given, wav, "--json", "--top-k", 3)
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    with Classifier(tiny_bundle, LabelBank.load(bank)) as classifier:
        wanted = classifier.predict(wav, top_k=3)
    assert found["file"] == str(wav)
    assert [p["label"] for p in found["predictions"]] == [p.label for p in wanted]
    for one, other in zip(found["predictions"], wanted, strict=True):
        assert one["similarity"] == pytest.approx(other.similarity, abs=2e-4)
        assert one["score"] == pytest.approx(other.score, abs=2e-3)


@pytest.mark.parametrize("scores", ["softmax", "multilabel"])
def test_a_head_brings_its_own_scores(
    programs: Path, tiny_bundle: Path, wav: Path, tmp_path: Path, scores: str
) -> None:
    heads.head(scores).save(tmp_path / "head.npz")
    command = [programs / "clap-classify", tiny_bundle, tmp_path / "head.npz", wav, "--json"]
    found = json.loads(run(*command).stdout)["predictions"]
    with Classifier(tiny_bundle, tmp_path / "head.npz") as classifier:
        wanted = classifier.predict(wav)
    assert [(p["label"], pytest.approx(p["score"], abs=2e-3)) for p in found] == [
        (p.label, p.score) for p in wanted
    ]
    other = run(*command, "--scores", "cosine")
    assert other.returncode == 2
    assert other.stderr == (
        "Error: scores='cosine' was asked for, but the labels are a head, whose scores are "
        f"'{scores}': leave the choice to it.\n"
    )


def test_a_file_that_cannot_be_used_leaves_the_others_alone(
    programs: Path, tiny_bundle: Path, bank: Path, wav: Path, tmp_path: Path
) -> None:
    text = tmp_path / "text.wav"
    text.write_text("no sound\n")
    done = run(programs / "clap-classify", tiny_bundle, bank, text, wav)
    assert done.returncode == 2
    assert done.stderr.startswith(f"Error: '{text}' cannot be decoded")
    assert done.stdout.count(str(wav)) == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing to classify"),
        (["--top-k", "0"], "--top-k 0: pass a whole number of at least 1."),
        (["--top-k"], "--top-k needs a value."),
        (["--wat"], "--wat is not known"),
        (["/nowhere", "dog", "a.wav"], "no bundle at /nowhere"),
    ],
)
def test_what_is_asked_wrongly_ends_with_2_and_a_sentence(
    programs: Path, words: list[str], said: str
) -> None:
    done = run(programs / "clap-classify", *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"Error: {said}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("language", "compiler"), [("cpp", ["c++", "-std=c++17"]), ("c", ["cc", "-std=c99"])]
)
def test_the_examples_of_the_documentation(
    programs: Path, tiny_bundle: Path, wav: Path, tmp_path: Path, language: str, compiler: list[str]
) -> None:
    if "__asan_init" in run("nm", "-D", programs / "libclap.so").stdout:
        pytest.skip("a library with sanitizers serves only programs that have them, too")
    page = (ROOT / "docs" / "cpp.md").read_text(encoding="utf-8")
    source = tmp_path / f"example.{language}"
    source.write_text(page.split(f"```{language}\n")[1].split("```")[0])
    flags = ["-Wall", "-Wextra", "-pedantic", "-Werror", f"-I{SOURCE / 'include'}"]
    linked = ["-o", tmp_path / "example", f"-L{programs}", "-lclap", f"-Wl,-rpath,{programs}"]
    done = run(*compiler, *flags, source, *linked, "-Wl,--allow-shlib-undefined")
    assert done.returncode == 0, done.stderr
    done = run(tmp_path / "example", tiny_bundle, wav)
    assert done.returncode == 0, done.stderr
    assert {line.split()[1] for line in done.stdout.splitlines()[:3]} == {"dog", "rain", "siren"}
    done = run(tmp_path / "example", "/nowhere", wav)
    assert done.returncode == 2
    assert done.stderr.startswith("bundle: no bundle at /nowhere")
