"""YAMNet: TensorFlow's own numbers for generated weights, and files that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from clap_export.model.config import YAMNET_PATCH
from runtime.errors import ClapError
from tests.goldens import recipe
from tests.places import GOLDENS
from tests.tiny import tensor_bundle
from train.tagger import convert, yamnet

GOLDEN = GOLDENS / "taggers" / "yamnet.npz"
LABELS = [f"sound {i}" for i in range(521)]


def variables() -> dict[tuple[int, str], np.ndarray]:
    """The recipe's weights, in the shapes that TensorFlow's graph has them."""
    with np.load(GOLDEN) as golden:
        shapes = json.loads(str(golden["shapes"]))
    places = {key: key.split("/") for key in shapes}
    return {
        (int(layer), name): recipe.yamnet(int(layer), name, tuple(shapes[key]))
        for key, (layer, name) in places.items()
    }


@pytest.fixture(scope="module")
def network() -> yamnet.Yamnet:
    made = yamnet.Yamnet(LABELS)
    made.load_state_dict(convert.fold(variables()))
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize("clip", range(3))
def test_every_stage_gives_tensorflows_numbers(network: yamnet.Yamnet, clip: int) -> None:
    waveform = torch.from_numpy(recipe.sound(48_000, 16_000))[clip : clip + 1]
    log_mel = network.log_mel(waveform)
    patches = log_mel.unfold(1, YAMNET_PATCH, YAMNET_PATCH // 2).transpose(2, 3)[0]
    embeddings = network.embed(patches)
    scores = network.classifier(embeddings).sigmoid()
    with np.load(GOLDEN) as golden:
        # TensorFlow's graph pads the clip's end, so the last frames and patch are its alone.
        want = golden[f"log_mel{clip}"]
        count = min(len(want), -(-log_mel.shape[1] // 23))
        assert count >= 12
        # As magnitudes: what lies 100 dB below a loud tone is float32's rounding there and here.
        found, want = np.exp(log_mel[0, ::23][:count].numpy()), np.exp(want[:count])
        assert np.abs(found - want).max() < 3e-6 * want.max()
        want = golden[f"embeddings{clip}"][: len(patches)]
        assert np.abs(embeddings.numpy() - want).max() < 2e-4 * np.abs(want).max()
        want = golden[f"scores{clip}"][: len(patches)]
        assert np.abs(scores.numpy() - want).max() < 2e-4


def test_a_clip_is_the_mean_of_its_whole_patches(network: yamnet.Yamnet) -> None:
    """Two of 0.96 s in 2 s of sound, whatever lies behind them."""
    waveforms = torch.from_numpy(recipe.sound(32_000, 16_000))
    vector, scores = network(waveforms)
    log_mel = network.log_mel(waveforms)
    alone = [network.embed(log_mel[:, start : start + 96]) for start in (0, 96)]
    assert torch.allclose(vector, (alone[0] + alone[1]) / 2, atol=1e-5)
    each = [network.classifier(e).sigmoid() for e in alone]
    assert torch.allclose(scores, (each[0] + each[1]) / 2, atol=1e-6)
    longer = torch.cat([waveforms, torch.rand(3, 4000)], dim=1)
    assert torch.allclose(network(longer)[0], vector, atol=1e-5)


def saved_model(folder: Path) -> Path:
    """A folder with class names and the recipe's variables."""
    (folder / "assets").mkdir(parents=True)
    rows = [f'{i},/m/{i},"{label}"' for i, label in enumerate(LABELS)]
    (folder / convert.CLASS_MAP).write_text("index,mid,display_name\n" + "\n".join(rows) + "\n")
    held = {
        f"model/layer_with_weights-{layer}/{name}/.ATTRIBUTES/VARIABLE_VALUE": value
        for (layer, name), value in variables().items()
    }
    held["save_counter/.ATTRIBUTES/VARIABLE_VALUE"] = np.array(1)
    tensor_bundle.save(folder / "variables" / "variables", held)
    return folder


def test_convert_writes_what_load_reads(tmp_path: Path, network: yamnet.Yamnet) -> None:
    convert.convert(saved_model(tmp_path / "model"), tmp_path / "yamnet.safetensors")
    found = yamnet.load(tmp_path / "yamnet.safetensors")
    assert found.labels == tuple(LABELS)
    waveform = torch.from_numpy(recipe.sound(16_000, 16_000))
    assert torch.equal(found(waveform)[0], network(waveform)[0])
    assert [p.name for p in tmp_path.iterdir() if p.is_file()] == ["yamnet.safetensors"]


def test_another_network_is_refused_with_all_that_differs() -> None:
    strange = variables()
    del strange[3, "beta"], strange[54, "bias"]
    strange[60, "kernel"] = np.zeros((1, 1, 2, 2), np.float32)
    with pytest.raises(ClapError, match=r"missing 3/beta, 54/bias; unexpected 60/kernel"):
        convert.fold(strange)


def test_files_that_are_no_yamnet_are_refused(tmp_path: Path, network: yamnet.Yamnet) -> None:
    path = tmp_path / "file.safetensors"
    with pytest.raises(ClapError, match="does not exist: make it with python -m train yamnet"):
        yamnet.load(path)
    path.write_bytes(b"no tensors")
    with pytest.raises(ClapError, match="damaged or no safetensors"):
        yamnet.load(path)
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(ClapError, match=r"not of kind yamnet \(found: none\)"):
        yamnet.load(path)
    save_file({"a": torch.zeros(1)}, path, {"kind": "yamnet", "labels": json.dumps(LABELS)})
    with pytest.raises(ClapError, match=r"Missing key.*classifier.bias.*Unexpected key.*\"a\""):
        yamnet.load(path)


@pytest.mark.parametrize(
    "labels",
    ["", "[", "3", "{}", "[]", "[1]", "[" * 100_000, json.dumps(["x"] * 20_000)],
)
def test_names_of_classes_that_are_none(tmp_path: Path, labels: str) -> None:
    path = tmp_path / "file.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"kind": "yamnet", "labels": labels})
    with pytest.raises(ClapError, match="does not name 1 to 10000 classes"):
        yamnet.load(path)


def test_weights_that_are_not_finite_floats_are_refused(
    tmp_path: Path, network: yamnet.Yamnet
) -> None:
    path, metadata = tmp_path / "file.safetensors", {"kind": "yamnet", "labels": json.dumps(LABELS)}
    state = network.state_dict()
    name = "classifier.bias"
    for odd in (state[name].int(), torch.full_like(state[name], float("nan"))):
        save_file({**state, name: odd}, path, metadata)
        with pytest.raises(ClapError, match="not all its weights are finite float32"):
            yamnet.load(path)
    save_file({**state, name: state[name][:5].clone()}, path, metadata)
    with pytest.raises(ClapError, match="size mismatch"):
        yamnet.load(path)


def test_what_is_no_file_of_a_tagger(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / ("x" * 300), Path("a\0b")):
        with pytest.raises(ClapError, match="tagger "):
            yamnet.load(path)


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"", b"index,mid\n0,/m/0\n", b"index,display_name\n0,\n"]
)
def test_damaged_names_of_classes_are_one_sentence(tmp_path: Path, content: bytes) -> None:
    source, out = saved_model(tmp_path / "model"), tmp_path / "out.safetensors"
    out.write_bytes(b"what was there")
    (source / convert.CLASS_MAP).write_bytes(content)
    with pytest.raises(ClapError, match="yamnet"):
        convert.convert(source, out)
    assert out.read_bytes() == b"what was there"
    assert {p.name for p in tmp_path.iterdir()} == {"model", "out.safetensors"}
