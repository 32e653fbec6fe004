"""From a tagger's and a text encoder's files to predictions, through the bundle."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.generated.weights import torchlibrosa
from clap_export.checkpoints import load
from clap_export.export.pack import write_bundle
from clap_export.model.clap import ClapModel
from clap_export.model.mel import mel_filterbank
from clap_export.parity.checkpoint import verify
from clap_export.sounds.catalogue import SOUNDS
from runtime import Classifier, schema
from runtime.audio_spec import Mel
from runtime.errors import ClapError, SchemaError
from tests import tiny
from tests.tiny import bridge as tinybridge
from tests.tiny import run as tinyrun
from tests.tiny import tensor_bundle
from train.bridge import lesson, tagger
from train.bridge.checks import check_figures
from train.bridge.lesson import Heard
from train.bridge.run import run
from train.config.bridge import BridgeRecipe, TaggerSource
from train.tagger import convert

pytestmark = pytest.mark.usefixtures("one_thread")
TAGS = [f"sound {i}" for i in range(521)]


def saved_model(folder: Path) -> Path:
    """A SavedModel's folder of YAMNet, of the goldens' weights."""
    (folder / "assets").mkdir(parents=True)
    with (folder / convert.CLASS_MAP).open("w", newline="") as file:
        csv.writer(file).writerows([["display_name"], *([tag] for tag in TAGS)])
    held = {
        f"model/layer_with_weights-{layer}/{name}/.ATTRIBUTES/VARIABLE_VALUE": value
        for (layer, name), value in tinybridge.yamnet_variables().items()
    }
    tensor_bundle.save(folder / "variables" / "variables", held)
    return folder


def recipe(folder: Path, **changes: Any) -> BridgeRecipe:
    plain = {
        "out": str(folder / "out"), "name": "tiny-bridge", "default_template": "a sound of {}",
        "templates": ["{}", "a sound of {}"],
        "tagger": {
            "kind": "yamnet", "weights": str(folder / "yamnet"), "licence": "Apache-2.0",
            "seconds": 1.2,
        },
        "text": {"checkpoint": str(folder / "text.safetensors"), "licence": "MIT"},
        "learned": {"clips_least": 3},
    }  # fmt: skip
    return schema.read(BridgeRecipe, {**plain, **changes}, "recipe")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tagger, a text encoder, and clips of three kinds in a listing."""
    folder = tmp_path_factory.mktemp("bridge")
    saved_model(folder / "yamnet")
    tiny.save(folder / "text.safetensors")
    tinyrun.listing(folder, range(6))
    return folder


@pytest.fixture(scope="module")
def built(files: Path) -> Path:
    listing = {"path": str(files / "clips0.csv"), "audio": "file", "labels": ["class"]}
    return run(recipe(files, listings=[listing]))


@pytest.mark.slow
def test_a_bridge_exports_and_tells_what_it_has_learned(
    files: Path, built: Path, tmp_path: Path
) -> None:
    checkpoint = load(built)
    assert checkpoint.model.config.licence == "Apache-2.0, MIT"
    assert checkpoint.model.config.bridge is not None
    assert checkpoint.model.config.bridge.labels == 3
    write_bundle(checkpoint, tmp_path / "bundle")
    parity = verify(tmp_path / "bundle", checkpoint)
    assert parity.passed, [check for check in parity.checks if not check.passed]
    right = []
    with Classifier(tmp_path / "bundle", labels=tinyrun.LABELS) as classifier:
        for label in tinyrun.LABELS:
            for seed in (20, 21, 22):  # not those of the lesson
                clip = tinyrun.sound(label, seed)
                best = classifier.predict(clip, sample_rate=tiny.RATE, top_k=1)[0]
                right.append(best.label == label)
    assert np.mean(right) >= 8 / 9


def test_a_lesson_takes_the_place_of_the_clips(files: Path, built: Path) -> None:
    kept = built.with_name("lesson.safetensors")
    out = files / "again"
    again = run(recipe(files, out=str(out), lesson=str(kept)))
    want = load(built).model.state_dict()
    for name, value in load(again).model.state_dict().items():
        assert torch.equal(value, want[name]), name
    assert [path.name for path in out.iterdir()] == ["model.safetensors"]


def test_a_text_encoder_of_transformers(files: Path, built: Path, tmp_path: Path) -> None:
    """Its vectors are the means of its states, as its own library has them."""
    from transformers import BertConfig, BertModel

    made = BertModel(BertConfig(**tiny.config().text_encoder.options), add_pooling_layer=False)
    made.save_pretrained(tmp_path / "bert")
    (tmp_path / "bert" / "tokenizer.json").write_text(tiny.tokenizer().to_str())
    text = {"encoder": str(tmp_path / "bert"), "licence": "MIT", "max_tokens": 12}
    kept = str(built.with_name("lesson.safetensors"))
    found = load(run(recipe(files, out=str(tmp_path / "out"), text=text, lesson=kept))).model
    ids = torch.tensor([[2, 9, 8, 7, 3]])
    with torch.no_grad():
        state = made.eval()(input_ids=ids).last_hidden_state[0].mean(dim=0)
        got = found.text_projection(found.text_encoder(ids, torch.ones_like(ids)))[0]
    assert torch.allclose(got, state, atol=1e-5)


def pann(path: Path) -> tuple[dict[str, Tensor], ClapModel]:
    """A CNN14 with its classifier as PANNs saves one, and a model of the same tower."""
    model = tiny.model(tiny.config())
    mel = Mel(32_000, 256, 320, 32, 50.0, 14_000.0, "slaney", "slaney", 1e-10)
    dft = torchlibrosa(256)
    state = {
        f"spectrogram_extractor.stft.{name}.weight": torch.from_numpy(value)
        for name, value in dft.items()
    }
    state["logmel_extractor.melW"] = torch.from_numpy(mel_filterbank(mel))
    for name, value in model.audio_encoder.state_dict().items():
        block, _, rest = name.removeprefix("blocks.").partition(".")
        theirs = f"conv_block{int(block) + 1}.{rest}" if name.startswith("blocks.") else name
        state[theirs] = value
    state["fc_audioset.weight"], state["fc_audioset.bias"] = torch.randn(5, 20), torch.randn(5)
    torch.save({"iteration": 1, "model": state}, path)
    return state, model


def test_a_cnn14_of_panns(tmp_path: Path) -> None:
    state, model = pann(tmp_path / "cnn14.pth")
    (tmp_path / "names.txt").write_text("a\nb\nc\nd\ne\n")
    source = TaggerSource(
        "cnn14", str(tmp_path / "cnn14.pth"), "MIT", str(tmp_path / "names.txt"), seconds=2.0
    )
    found = tagger.read(source)
    assert found.tags == ("a", "b", "c", "d", "e")
    assert found.audio.sample_rate == 32_000
    assert found.audio.window_samples == 64_000
    assert found.encoder == model.config.audio_encoder
    assert torch.equal(found.tensors["bridge.head.weight"], state["fc_audioset.weight"])
    for name, value in model.audio_encoder.state_dict().items():
        assert torch.equal(found.tensors[f"audio_encoder.{name}"], value)
    (tmp_path / "names.txt").write_text("a\nb\n")
    with pytest.raises(ClapError, match=r"tells 5 tags, but .*names.txt names 2"):
        tagger.read(source)
    torch.save({k: v for k, v in state.items() if "audioset" not in k}, tmp_path / "cnn14.pth")
    with pytest.raises(ClapError, match=r"no cnn14 with its classifier \(fc_audioset\)"):
        tagger.read(source)
    with pytest.raises(ClapError, match="does not exist"):
        tagger.read(replace(source, weights=str(tmp_path / "none.pth")))


def test_the_fit_is_the_solution_of_its_normal_equations(tmp_path: Path) -> None:
    """Each label's clips weigh the same together; against numpy's least squares, rows added."""
    rng = np.random.default_rng(3)
    x, labels = rng.standard_normal((30, 4)), ["a"] * 20 + ["b"] * 6 + ["c"] * 4
    heard = Heard(torch.rand(30, 2), torch.from_numpy(x).float(), tuple(labels))
    found = lesson.fit(heard, "t", 0.5, 1)
    weight = np.array([1 / (3 * labels.count(label)) for label in labels])
    centre = weight @ x
    y = np.array([[label == name for name in "abc"] for label in labels], float) - 1 / 3
    root = np.sqrt(weight)[:, None]
    square = (weight[:, None] * (x - centre) ** 2).sum(0).mean()
    rows = np.concatenate([root * (x - centre), np.sqrt(0.5 * square) * np.eye(4)])
    wanted = np.linalg.lstsq(rows, np.concatenate([root * y, np.zeros((4, 3))]), rcond=None)[0].T
    assert np.allclose(found.answers, 3**0.5 * wanted, atol=1e-5)
    assert np.allclose(found.offset, -(3**0.5) * wanted @ centre, atol=1e-5)
    lesson.write(found, tmp_path / "lesson.safetensors")
    again = lesson.read(tmp_path / "lesson.safetensors")
    assert torch.equal(again.answers, found.answers)
    assert torch.equal(again.offset, found.offset)
    assert lesson.fit(heard, "t", 0.5, 6).labels == ("a", "b")
    assert lesson.fit(heard, "t", 0.5, 99).labels == ()


def test_lessons_that_are_none_are_one_sentence(built: Path, files: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "lesson.safetensors"
    with pytest.raises(ClapError, match="cannot be read"):
        lesson.read(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ClapError, match="cannot be read"):
        lesson.read(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ClapError, match="is none: python -m train bridge writes one"):
        lesson.read(path)
    for header in ("{}", "[]", '{"tagger": "x", "labels": [1], "clips": 2}'):
        save_file({"usual": torch.zeros(1)}, path, {"kind": lesson.KIND, "lesson": header})
        with pytest.raises(ClapError, match="damaged: its parts do not fit together"):
            lesson.read(path)
    kept = lesson.read(built.with_name("lesson.safetensors"))
    lesson.write(replace(kept, tagger="another"), path)
    with pytest.raises(ClapError, match="the lesson is of the tagger another, this one is"):
        run(recipe(files, out=str(tmp_path / "out"), lesson=str(path)))
    assert not (tmp_path / "out").exists()


def test_files_other_than_the_recipes_are_refused(files: Path, built: Path, tmp_path: Path) -> None:
    kept = str(built.with_name("lesson.safetensors"))
    hashes = {str(files / "text.safetensors"): "0" * 64, str(tmp_path / "none"): "1" * 64}
    with pytest.raises(ClapError, match=r"has sha256 \w{64}, not 0+; .*none does not exist"):
        run(recipe(files, lesson=kept, sha256=hashes))


def test_a_model_with_other_figures_is_refused(files: Path, built: Path, tmp_path: Path) -> None:
    """Of a made sound of one window, and its name in the default prompt."""
    checkpoint = load(built)
    model, spec = checkpoint.model.eval(), checkpoint.model.config.audio
    sound = SOUNDS["siren"](spec.sample_rate, spec.window_samples / spec.sample_rate)
    ids = torch.tensor([tiny.tokenizer().encode("a sound of siren").ids])
    with torch.no_grad():
        audio = model.embed_audio(torch.from_numpy(sound)[None])
        cosine = float(audio @ model.embed_text(ids, torch.ones_like(ids)).T)
    lacking = {"lesson": str(built.with_name("lesson.safetensors")), "out": str(tmp_path / "out")}
    right = recipe(files, **lacking, figures={"siren": cosine})
    check_figures(right, model, checkpoint.tokenizer)
    with pytest.raises(ClapError, match="no made sound is called a siren"):
        check_figures(replace(right, figures={"a siren": 0.0}), model, checkpoint.tokenizer)
    with pytest.raises(ClapError, match=r"siren -?0\.\d+, not .*Leave 'figures' out"):
        run(replace(right, figures={"siren": cosine + 0.01}))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({}, "give 'listings', or the 'lesson'"),
        ({"lesson": "a", "text": {"licence": "MIT"}}, "one of 'checkpoint' and 'encoder'"),
        ({"lesson": "a", "templates": ["no slot"]}, "must hold exactly one {}"),
        ({"lesson": "a", "templates": ["{}"], "default_template": "a"}, "default_template: templ"),
        (
            {"lesson": "a", "learned": {"ridge": 0.0, "clips_least": 0}},
            r"ridge is 0.0, must be above 0.*clips_least is 0",
        ),
        (
            {"lesson": "a", "tagger": {"kind": "cnn14", "weights": "a", "licence": "b"}},
            "does not name its tags: give 'names'",
        ),
    ],
)
def test_recipes_that_do_not_fit(changes: dict[str, Any], problem: str, tmp_path: Path) -> None:
    with pytest.raises((SchemaError, ClapError), match=problem):
        recipe(tmp_path, **changes)
