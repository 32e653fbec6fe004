"""From a library and labels to a head, its use, and labels for all of the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from runtime import LabelBank
from tests.clap_export.library import made
from tests.tiny import bundle as tinybundle

DIM = tinybundle.DIM


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty recordings near three axes, in a folder for each."""
    folder = tmp_path_factory.mktemp("labelled")
    rng = np.random.default_rng(0)
    vectors = {
        f"{folder}/sounds/{name}/{i}.wav": np.eye(DIM)[at] + 0.1 * rng.standard_normal(DIM)
        for at, name in enumerate(("hum", "knock", "whirr"))
        for i in range(10)
    }
    return made.of_vectors(folder / "lib", vectors)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def fitted(library: Path, out: Path, *more: object) -> dict[str, Any]:
    done = run("head", library, library.parent / "sounds", "-o", out, "--json", *more)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("more", [(), ("--multilabel",)])
def test_from_folders_to_scores(
    more: tuple[str, ...], library: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    # The picture of folders needs the sources to be a folder; what is in it was embedded before.
    (library.parent / "sounds").mkdir(exist_ok=True)
    said = fitted(library, tmp_path / "head.npz", *more)
    assert said["labels"] == ["hum", "knock", "whirr"]
    assert said["scores"] == ("multilabel" if more else "softmax")
    assert said["of_labels"] == [10, 10, 10]
    assert said["figures"]["accuracy"] == 1
    assert (said["figures"]["folds"], said["figures"]["grouped_by"]) == (5, "sha256")
    assert LabelBank.load(tmp_path / "head.npz").head is not None
    name = "multi" if more else "one"
    done = run(
        "tag", library, tmp_path / "head.npz", "--name", name, "--truth",
        library.parent / "sounds", "--audit", tmp_path / "audit.csv", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["recordings"] == 30
    assert found["best"] == {"hum": 10, "knock": 10, "whirr": 10}
    assert found["agreement"]["accuracy"] == 1
    assert found["suspects"] == 0
    (tmp_path / "clip.wav").write_bytes(tinybundle.wav(tinybundle.clip(3), tinybundle.RATE))
    classify = ["classify", tiny_bundle, tmp_path / "clip.wav", "--labels", tmp_path / "head.npz"]
    done = run(*classify, "--json", "--top-k", 3)
    assert done.exit_code == 0, done.output
    scores = [p["score"] for p in json.loads(done.stdout)["predictions"]]
    assert len(scores) == 3
    if not more:
        assert sum(scores) == pytest.approx(1)
    done = run(*classify, "--scores", "cosine")
    assert done.exit_code == 2
    assert "a head, whose scores are" in done.stderr
    for line in ("tag", "classify"):  # the tables for people
        given = [library, tmp_path / "head.npz", "--name", name, "--overwrite"]
        done = run("tag", *given) if line == "tag" else run(*classify)
        assert done.exit_code == 0, done.output
    done = run("tag", library, "--json")
    assert name in [json.loads(line)["name"] for line in done.stdout.splitlines()]


def test_groups_of_a_listing(library: Path, tmp_path: Path) -> None:
    sounds = library.parent / "sounds"
    rows = [
        f"{sounds}/{name}/{i}.wav,{name},{i // 5}-{name}"
        for name in ("hum", "knock", "whirr")
        for i in range(10)
    ]
    rows.append("gone.wav,hum,x")
    listing = tmp_path / "labels.csv"
    listing.write_text("path,kind,recording\n" + "\n".join(rows), encoding="utf-8")
    done = run(
        "head", library, listing, "-o", tmp_path / "head.npz", "--label", "kind", "--group",
        "recording", "--json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["figures"]["folds"] == 2  # each label has two recordings that it was cut from
    assert said["missing"] == [str(tmp_path / "gone.wav")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n/nowhere.wav,dog\n", "none of which has a vector"),
        ("path,label\n{sounds}/hum/0.wav,dog\n", "one label alone, 'dog'"),
        ("path,name\n{sounds}/hum/0.wav,dog\n", "has no 'label'"),
    ],
)
def test_labels_that_teach_nothing(text: str, message: str, library: Path, tmp_path: Path) -> None:
    listing = tmp_path / "labels.csv"
    listing.write_text(text.format(sounds=library.parent / "sounds"), encoding="utf-8")
    done = run("head", library, listing, "-o", tmp_path / "head.npz")
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "head.npz").exists()


def test_a_head_grouped_by_a_long_name_can_be_read_again(library: Path, tmp_path: Path) -> None:
    sounds, column = library.parent / "sounds", "cut from\u202e" + 300 * "x"
    rows = [f"{sounds}/{n}/{i}.wav,{n},{i // 5}-{n}" for n in ("hum", "knock") for i in range(10)]
    listing = tmp_path / "labels.csv"
    listing.write_text("\n".join([f"path,label,{column}", *rows]), encoding="utf-8")
    done = run("head", library, listing, "-o", tmp_path / "head.npz", "--group", column)
    assert done.exit_code == 0, done.output
    head = LabelBank.load(tmp_path / "head.npz").head
    assert head is not None
    assert head.about.figures is not None
    assert head.about.figures.grouped_by.startswith("cut from\\u202exxx")


def test_one_example_each_is_said(library: Path, tmp_path: Path) -> None:
    listing = tmp_path / "labels.csv"
    sounds = library.parent / "sounds"
    rows = [f"{sounds}/{name}/0.wav,{name}" for name in ("hum", "knock")]
    listing.write_text("\n".join(["path,label", *rows]), encoding="utf-8")
    done = run("head", library, listing, "-o", tmp_path / "head.npz")
    assert done.exit_code == 0, done.output
    assert "nothing is measured, and the scores are not calibrated" in done.stderr
    done = run("head", library, listing, "-o", tmp_path / "head.npz")
    assert (done.exit_code, "exists" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["head", "head.onnx"])
def test_a_head_has_the_name_of_a_bank(name: str, library: Path, tmp_path: Path) -> None:
    """Else ``--labels head`` would be a label of that name, without a word."""
    (library.parent / "sounds").mkdir(exist_ok=True)
    done = run("head", library, library.parent / "sounds", "-o", tmp_path / name)
    assert done.exit_code == 2
    assert "must end in .npz" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_head_of_another_length_is_refused(library: Path, tmp_path: Path) -> None:
    rows = np.eye(2, DIM + 3, dtype=np.float32)
    LabelBank(("hum", "knock"), (), rows, "tiny-space").save(tmp_path / "bank.npz")
    done = run("tag", library, tmp_path / "bank.npz", "--name", "long")
    assert done.exit_code == 2
    assert f"has {DIM + 3} dimensions, the library {DIM}." in done.stderr
    assert not (library / "tags" / "long.parquet").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("--threshold", 0.5), "--threshold needs LABELS"),
        (("--truth", "labels.csv", "--json"), "--truth needs LABELS"),
        (("hum,knock", "--label", "kind"), "--label needs --truth"),
        (("hum,knock", "--projection", "pca"), "--projection needs --plot"),
    ],
)
def test_options_of_tag_that_would_do_nothing(
    given: tuple[object, ...], message: str, library: Path
) -> None:
    done = run("tag", library, *given)
    assert done.exit_code == 2
    assert message in done.stderr


def test_words_need_the_bundle(library: Path, tiny_bundle: Path) -> None:
    done = run("tag", library, "dog,rain", "--name", "words")
    assert done.exit_code == 2
    assert "name it with --bundle" in done.stderr
    done = run("tag", library, "dog,rain", "--name", "words", "--bundle", tiny_bundle)
    assert done.exit_code == 0, done.output


def test_a_frozen_head(library: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    (library.parent / "sounds").mkdir(exist_ok=True)
    fitted(library, tmp_path / "head.npz")
    out = tmp_path / "tagger.onnx"
    done = run("freeze", tiny_bundle, tmp_path / "head.npz", "-o", out)
    assert done.exit_code == 0, done.output
    done = run("freeze", "--relabel", out, tmp_path / "head.npz", "-o", tmp_path / "other.onnx")
    assert done.exit_code == 2
    assert "freeze it with the bundle" in done.stderr
    done = run("triton", tiny_bundle, "--labels", tmp_path / "head.npz", "--out", tmp_path / "repo")
    assert done.exit_code == 2
    assert "freeze it into a tagger" in done.stderr
