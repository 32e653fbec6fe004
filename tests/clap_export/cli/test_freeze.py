"""The verb ``freeze``: files that plain engines run, and one sentence for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from runtime import Classifier, LabelBank, Tagger
from runtime.tagger_file import KEY, MANIFEST_KEY
from tests.clap_export.cli.test_cli import refused
from tests.tiny import bundle as tiny

LABELS = ["dog", "rain", "bell, loud", "=wind"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with a file of labels, which is where the command works."""
    monkeypatch.chdir(tmp_path)
    Path("labels.txt").write_text("\n".join(LABELS), "utf-8")
    return tmp_path


def test_five_lines_of_plain_onnxruntime(tiny_bundle: Path, here: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    result = call("freeze", tiny_bundle, "labels.txt", "-o", "tagger.onnx")
    assert result.exit_code == 0, result.output
    assert {p.name for p in here.iterdir()} == {"labels.txt", "tagger.onnx", "tagger.labels.txt"}
    waveform = tiny.clip(5)

    session = onnxruntime.InferenceSession("tagger.onnx")
    labels = Path("tagger.labels.txt").read_text("utf-8").splitlines()
    (scores,) = session.run(["scores"], {"waveform": waveform[None]})
    best = labels[scores[0].argmax()]

    assert labels == LABELS
    with Classifier(tiny_bundle, LABELS) as classifier:
        found = classifier.predict(waveform, tiny.RATE)
        assert best == found[0].label
        for p in found:
            assert scores[0][labels.index(p.label)] == pytest.approx(p.score, abs=1e-6)
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata[KEY])["labels"] == LABELS
    assert metadata[MANIFEST_KEY] == (tiny_bundle / "manifest.json").read_text("utf-8")


def test_a_bank_templates_and_the_best_labels(tiny_bundle: Path, here: Path) -> None:
    assert (
        call("labels", tiny_bundle, "labels.txt", "-o", "b.npz", "--template", "{}").exit_code == 0
    )
    given = ("--scores", "cosine", "--top-k", 2)
    assert call("freeze", tiny_bundle, "b.npz", "-o", "a.onnx", *given).exit_code == 0
    result = call("freeze", tiny_bundle, "labels.txt", "-o", "b.onnx", *given, "--template", "{}")
    assert result.exit_code == 0, result.output
    assert "values, indices" in result.stdout
    assert Path("a.onnx").read_bytes() == Path("b.onnx").read_bytes()
    with Tagger("a.onnx") as tagger:
        assert tagger.bank.templates == ("{}",)
        assert len(tagger.predict(tiny.clip(0), tiny.RATE)) == 2


def test_relabel_needs_no_bundle(tiny_bundle: Path, here: Path) -> None:
    assert call("freeze", tiny_bundle, "dog,rain", "-o", "a.onnx").exit_code == 0
    assert call("labels", tiny_bundle, "labels.txt", "-o", "b.npz").exit_code == 0
    given = ("freeze", "--relabel", "a.onnx", "b.npz", "-o")
    assert call(*given, "b.onnx").exit_code == 0
    assert call("freeze", tiny_bundle, "b.npz", "-o", "c.onnx").exit_code == 0
    with Tagger("b.onnx") as one, Tagger("c.onnx") as other:
        assert one.labels == tuple(LABELS)
        clip = tiny.clip(1, 20_000)
        assert one.predict(clip, tiny.RATE) == other.predict(clip, tiny.RATE)
    assert call(*given, "a.onnx", "--overwrite").exit_code == 0  # in its own place
    with Tagger("a.onnx") as tagger:
        assert tagger.labels == tuple(LABELS)


def test_relabel_takes_a_bank_however_it_is_named(tiny_bundle: Path, here: Path) -> None:
    assert call("freeze", tiny_bundle, "dog,rain", "-o", "a.onnx").exit_code == 0
    assert call("labels", tiny_bundle, "labels.txt", "-o", "B.NPZ").exit_code == 0
    for number, bank in enumerate(("B.NPZ", "@B.NPZ")):
        result = call("freeze", "--relabel", "a.onnx", bank, "-o", f"{number}.onnx")
        assert result.exit_code == 0, result.output
        with Tagger(f"{number}.onnx") as tagger:
            assert tagger.labels == tuple(LABELS)


def test_the_other_format_keeps_the_names_of_its_labels(tiny_bundle: Path, here: Path) -> None:
    """Both have one file of names, which plain engines are told by."""
    pytest.importorskip("openvino")
    assert call("freeze", tiny_bundle, "dog,rain", "-o", "a.onnx").exit_code == 0
    other = ("-o", "a.xml", "--format", "openvino", "--overwrite")
    said = refused("freeze", tiny_bundle, "rain,dog", *other)
    assert "names the labels of 'a.onnx' too" in said
    assert Path("a.labels.txt").read_text() == "dog\nrain\n"
    assert call("freeze", tiny_bundle, "dog,rain", *other).exit_code == 0
    assert "names the labels of 'a.xml' too" in refused(
        "freeze", tiny_bundle, "rain,dog", "-o", "a.onnx", "--overwrite"
    )
    for left in ("a.xml", "a.bin"):
        Path(left).unlink()
    again = call("freeze", tiny_bundle, "rain,dog", "-o", "a.onnx", "--overwrite")
    assert again.exit_code == 0, again.output
    assert Path("a.labels.txt").read_text() == "rain\ndog\n"


def test_what_is_in_the_way_is_said_before_the_work(
    tiny_bundle: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another precision takes minutes."""

    def never(*_: object) -> None:
        raise AssertionError("work was begun")

    monkeypatch.setattr("clap_export.cli.freeze._lowered", never)
    monkeypatch.setattr(LabelBank, "build", never)
    Path("old.onnx").touch()
    given = ("freeze", tiny_bundle, "dog,rain", "--precision", "fp16", "-o")
    assert "exists" in refused(*given, "old.onnx")
    assert "must end in .onnx" in refused(*given, "new.xml")
    given = ("freeze", tiny_bundle, "missing.txt", "--precision", "fp16", "-o")
    assert "missing.txt" in refused(*given, "new.onnx")


def test_openvino_runs_its_own_format(tiny_bundle: Path, here: Path) -> None:
    openvino = pytest.importorskip("openvino")
    given = ("freeze", tiny_bundle, "labels.txt", "--top-k", 2)
    result = call(*given, "-o", "t.xml", "--format", "openvino")
    assert result.exit_code == 0, result.output
    assert {p.name for p in here.iterdir()} == {"labels.txt", "t.xml", "t.bin", "t.labels.txt"}
    assert call(*given, "-o", "t.onnx").exit_code == 0  # beside the same names
    core = openvino.Core()
    model = core.read_model("t.xml")
    assert json.loads(model.get_rt_info([KEY]).astype(str))["labels"] == LABELS
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    windows = np.stack([tiny.clip(i) for i in range(2)])
    found = compiled({"waveform": windows})
    with Tagger("t.onnx", top_k=4) as tagger:
        for i, window in enumerate(windows):
            for p in tagger.predict(window, tiny.RATE):
                score = found["scores"][i][LABELS.index(p.label)]
                assert score == pytest.approx(p.score, abs=1e-6)


def test_what_cannot_be_is_one_sentence_and_leaves_nothing(tiny_bundle: Path, here: Path) -> None:
    assert call("labels", tiny_bundle, "labels.txt", "-o", "b.npz").exit_code == 0
    assert call("freeze", tiny_bundle, "dog,rain", "-o", "a.onnx").exit_code == 0
    # Its space has the right name and the wrong number of dimensions.
    rows = np.eye(2, 5, dtype=np.float32)
    LabelBank(("dog", "rain"), (), rows, "tiny-space").save("flat.npz")
    before = {p.name for p in here.iterdir()}
    new = ("-o", "new.onnx")
    for arguments, said in (
        ((tiny_bundle, "dog,rain", "-o", "a.onnx"), "exists"),
        ((tiny_bundle, "cat", "-o", "a.xml", "--format", "openvino"), "a.labels.txt' exists"),
        ((tiny_bundle, "dog,rain", "-o", "a.bin"), "must end in .onnx"),
        ((tiny_bundle, "dog,rain", "--format", "openvino", *new), "must end in .xml"),
        ((tiny_bundle, "dog,rain", "-o", "no/a.onnx"), "does not exist"),
        ((tiny_bundle, "missing.txt", *new), "missing.txt"),
        ((tiny_bundle, "", *new), "no labels"),
        ((tiny_bundle, "dog,rain", "--top-k", 3, *new), "best 3 of 2"),
        ((tiny_bundle, "dog,rain", "--scores", "multilabel", *new), "no calibration"),
        ((tiny_bundle, "b.npz", "--template", "{}", *new), "saved bank"),
        ((tiny_bundle, "dog", "--precision", "fp16", *new), "not verified"),
        ((tiny_bundle, "dog,rain", "--calibrate", here, *new), "--calibrate"),
        ((tiny_bundle, "flat.npz", *new), "5 dimensions, the bundle 8"),
        (("--relabel", "a.onnx", "flat.npz", *new), "5 dimensions, the bundle 8"),
        (("--relabel", "a.onnx", "b.npz", "--calibrate", here, *new), "--calibrate"),
        (("nothing", "dog", *new), "no bundle"),
        (("--relabel", "a.onnx", "dog,rain", *new), ".npz"),
        (("--relabel", "a.onnx", "b.npz", "--top-k", 1, *new), "--top-k"),
        (("--relabel", tiny_bundle / "audio.onnx", "b.npz", *new), "no tagger"),
        (("a.onnx", "dog", *new), "is a file"),
    ):  # fmt: skip
        assert said in refused("freeze", *arguments), arguments
        assert {p.name for p in here.iterdir()} == before
