"""A bundle without its text encoder hears as the whole one does, and says what it cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from clap_export.cli import main
from clap_export.precision.lower import to_fp16, to_int8
from clap_export.slim import slim
from runtime import Bundle, ClapError, Classifier, Encoder, LabelBank, Tagger
from runtime.errors import BundleError, SchemaError
from runtime.manifest import MANIFEST, read_manifest, write_manifest
from tests import tiny as tiny_models
from tests.runtime.test_signature import keys  # noqa: F401 - a fixture
from tests.tiny import bundle as tiny
from tests.tiny import engines


@pytest.fixture
def slimmed(tiny_bundle: Path, tmp_path: Path) -> Path:
    slim(Bundle(tiny_bundle), tmp_path / "slim")
    return tmp_path / "slim"


@pytest.fixture(scope="module")
def bank(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bank") / "bank.npz"
    with Encoder(tiny_bundle) as encoder:
        LabelBank.build(encoder, tiny.LABELS).save(path)
    return path


def run(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert "Traceback" not in done.output
    return done.exit_code, done.output


def test_it_hears_what_the_whole_bundle_hears(slimmed: Path, tiny_bundle: Path, bank: Path) -> None:
    assert sorted(path.name for path in slimmed.iterdir()) == ["audio.onnx", MANIFEST]
    clip = tiny.clip(1, 3 * tiny.WINDOW + 100)
    with Classifier(slimmed, bank) as ours, Classifier(tiny_bundle, bank) as whole:
        assert ours.predict(clip, tiny.RATE) == whole.predict(clip, tiny.RATE)
        assert ours.encoder.clip_space_id == whole.encoder.clip_space_id
    Bundle(slimmed).check_contents()


@pytest.mark.parametrize(
    "asked",
    [
        lambda b: Classifier(b, tiny.LABELS),
        lambda b: Encoder(b).embed_text("rain"),
        lambda b: Encoder(b).tokenizer,
        lambda b: LabelBank.build(Encoder(b), ["rain"]),
        lambda b: slim(Bundle(b), b.with_name("again")),
    ],
)
def test_what_needs_texts_says_so(slimmed: Path, asked: Callable[[Path], object]) -> None:
    with pytest.raises(BundleError, match=r"no text encoder here.*clap-export labels BUNDLE FILE"):
        asked(slimmed)


def test_commands_hold(slimmed: Path, bank: Path, tmp_path: Path) -> None:
    clip = tmp_path / "clip.wav"
    clip.write_bytes(tiny.wav(tiny.clip(3)))
    code, said = run("classify", slimmed, clip, "--labels", bank, "--json")
    assert code == 0
    assert len(json.loads(said)["predictions"]) == 3
    for refused in (
        ("classify", slimmed, clip, "--labels", "dog,rain"),
        ("freeze", slimmed, "dog,rain", "-o", tmp_path / "t.onnx"),
    ):
        code, said = run(*refused)
        assert (code, "no text encoder here" in said) == (2, True), said
    assert not (tmp_path / "t.onnx").exists()
    code, said = run("inspect", slimmed)
    assert (code, "none: for use with label banks" in said) == (0, True)
    code, said = run("bench", slimmed, "--clip", clip, "--runs", 3, "--batch", 1)
    assert code == 0, said
    assert "load text" not in said
    assert run("freeze", slimmed, bank, "-o", tmp_path / "t.onnx")[0] == 0
    sound = tiny.clip(5, 2 * tiny.WINDOW)
    with Tagger(tmp_path / "t.onnx") as tagger, Classifier(slimmed, bank) as classifier:
        assert tagger.predict(sound, tiny.RATE) == classifier.predict(sound, tiny.RATE)


def test_the_command_refuses_what_is_there(tiny_bundle: Path, tmp_path: Path) -> None:
    assert run("slim", tiny_bundle, "-o", tmp_path / "slim")[0] == 0
    before = sorted((p.name, p.read_bytes()) for p in (tmp_path / "slim").iterdir())
    code, said = run("slim", tiny_bundle, "-o", tmp_path / "slim")
    assert (code, "exists already" in said) == (2, True)
    assert sorted((p.name, p.read_bytes()) for p in (tmp_path / "slim").iterdir()) == before
    code, said = run("slim", tmp_path / "slim", "-o", tmp_path / "again")
    assert (code, "no text encoder here" in said) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["slim"]


def test_an_altered_bundle_is_not_copied(tmp_path: Path) -> None:
    source = tiny.build(tmp_path / "b")
    bundle = Bundle(source)
    data = (source / "audio.onnx").read_bytes()
    (source / "audio.onnx").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ClapError, match="recorded SHA-256"):
        slim(bundle, tmp_path / "slim")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_engines_of_texts_are_left_out_too(tmp_path: Path) -> None:
    source = engines.build(tmp_path / "b")
    whole = read_manifest(source)
    made = slim(Bundle(source), tmp_path / "slim")
    assert made.engines is not None
    assert whole.engines is not None
    assert made.engines.audio == whole.engines.audio
    assert made.engines.text is None
    assert set(made.files) == {"audio.onnx", whole.engines.audio.file}
    assert Bundle(tmp_path / "slim").manifest == made


def test_a_half_is_no_bundle(slimmed: Path, tiny_bundle: Path) -> None:
    """Texts can be embedded, or not: nothing in between."""
    whole, part = read_manifest(tiny_bundle), read_manifest(slimmed)
    for changes in ({"text": whole.text}, {"text_graph": whole.text_graph}):
        with pytest.raises(ValueError, match="all be null or none"):
            replace(part, **changes)
    table = json.loads((slimmed / MANIFEST).read_text(encoding="utf-8"))
    table["text"] = json.loads((tiny_bundle / MANIFEST).read_text(encoding="utf-8"))["text"]
    (slimmed / MANIFEST).write_text(json.dumps(table), encoding="utf-8")
    with pytest.raises(SchemaError, match="all be null or none"):
        Bundle(slimmed)
    write_manifest(slimmed, part)
    assert Bundle(slimmed).manifest == part


def test_a_signature_is_not_taken_along(
    tiny_bundle: Path,
    tmp_path: Path,
    keys: tuple[Path, Path],  # noqa: F811
) -> None:
    """It is over the whole manifest; the slim one gets its own."""
    secret, public = keys
    whole = shutil.copytree(tiny_bundle, tmp_path / "whole")
    assert run("sign", whole, "--key", secret)[0] == 0
    made = tmp_path / "slim"
    assert run("slim", whole, "-o", made, "--public-key", public)[0] == 0
    assert sorted(path.name for path in made.iterdir()) == ["audio.onnx", MANIFEST]
    code, said = run("inspect", made, "--public-key", public)
    assert (code, "no signature" in said or "not signed" in said) == (2, True), said
    assert run("sign", made, "--key", secret)[0] == 0
    assert run("inspect", made, "--public-key", public)[0] == 0
    Bundle(made, public_key=public)


@pytest.fixture(scope="module")
def exported_slim(exported_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported-slim") / "slim"
    slim(Bundle(exported_bundle), folder)
    return folder


def test_it_is_compared_with_its_checkpoint(
    exported_slim: Path, exported_bundle: Path, tmp_path: Path
) -> None:
    """What it has is measured, and nothing is said of texts."""
    checkpoint = tiny_models.save(tmp_path / "tiny.safetensors")
    copy = shutil.copytree(exported_slim, tmp_path / "slim")
    code, said = run("verify", copy, "--ckpt", checkpoint)
    assert code == 0, said
    parity = Bundle(copy).manifest.parity
    assert parity is not None
    assert parity.passed
    names = {check.name for check in parity.checks}
    assert "audio embedding, max abs" in names
    assert not [name for name in names if "text" in name or "labels" in name]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_it_is_lowered(exported_slim: Path, tmp_path: Path, precision: str) -> None:
    clips = [
        tiny_models.write_wav(tmp_path / f"{i}.wav", tiny_models.waveforms(1, seed=i)[0].numpy())
        for i in range(12)
    ]
    lower = to_fp16 if precision == "fp16" else to_int8
    made = lower(exported_slim, tmp_path / "lower", clips)
    manifest = Bundle(tmp_path / "lower").manifest
    assert (manifest.audio_graph.precision, manifest.text, manifest.text_graph) == (
        precision, None, None,
    )  # fmt: skip
    # Random weights, and a bound from six recordings, need not pass every gate.
    assert made.parity.checks[0].name == "audio embedding, 1 - cosine to FP32"
    assert made.parity.checks[0].value < 0.01
    assert not [check.name for check in made.parity.checks if "text" in check.name]


def test_labels_of_a_listing_need_the_text_encoder(slimmed: Path, tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(tiny.wav(tiny.clip(3)))
    (tmp_path / "l.csv").write_text("path,label\na.wav,dog\n")
    code, said = run("eval", slimmed, "--listing", tmp_path / "l.csv")
    assert (code, "no text encoder here" in said) == (2, True), said
