"""The exported graphs, run by ONNX Runtime, against the model they were exported from."""

from __future__ import annotations

import sys
from copy import deepcopy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from clap_export.export import graph
from clap_export.export.pack import text_spec
from clap_export.model.clap import ClapModel
from tests import tiny
from tests.places import ROOT

FLOAT, INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
TOLERANCE = 1e-5  # on embeddings of unit norm; measured 4.7e-6 (compact), 2e-7 (the others)

# Operations that CUDA lacks in ONNX Runtime, control flow, data-dependent shapes, randomness.
NEVER = {
    *("STFT", "DFT", "If", "Loop", "Scan", "NonZero", "Unique", "Compress", "ScatterND"),
    *("ScatterElements", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"),
    *("Dropout", "Bernoulli", "Multinomial", "Resize", "SequenceAt"),
}


@pytest.fixture(scope="module", params=tiny.AUDIO)
def audio(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, exported_bundle: Path
) -> tuple[ClapModel, Path]:
    """A model and its exported audio graph."""
    model = tiny.model(tiny.config(request.param))
    if request.param == "cnn14":
        return model, exported_bundle / "audio.onnx"
    if request.param == "htsat":
        model.audio_encoder._stretches.clear()  # as after loading: the model has never been run
    path = tmp_path_factory.mktemp("audio") / "audio.onnx"
    graph.export_audio(model, path)
    return model, path


@pytest.fixture(scope="module", params=tiny.TEXT)
def text(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, exported_bundle: Path
) -> tuple[ClapModel, Path]:
    """A model and its exported text graph."""
    model = tiny.model(tiny.config(text=request.param))
    if request.param == "bert-mean":
        return model, exported_bundle / "text.onnx"
    path = tmp_path_factory.mktemp("text") / "text.onnx"
    graph.export_text(model, text_spec(model.config), path)
    return model, path


def run(path: Path, inputs: dict[str, torch.Tensor], output: str = "embedding") -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (found,) = session.run([output], {name: value.numpy() for name, value in inputs.items()})
    assert found.dtype == np.float32
    return found


def raw_vectors(model: ClapModel, waveform: torch.Tensor) -> np.ndarray:
    """What the audio side gives before it is scaled to unit norm, float64, by its parts."""
    with torch.no_grad():
        raw = model.audio_projection(model.audio_encoder(model.mel(waveform)))
    return raw.double().numpy()


def assert_same_embeddings(got: np.ndarray, want: np.ndarray) -> None:
    assert got.shape == want.shape
    assert np.abs(got - want).max() < TOLERANCE
    assert (got.astype(np.float64) * want).sum(axis=1).min() > 1 - 1e-6
    assert np.abs(np.linalg.norm(got, axis=1) - 1).max() < 1e-6


def signature(values) -> dict[str, tuple[int, list[int | str]]]:
    """Type and dimensions of each input or output; a dynamic dimension by its name."""
    return {
        v.name: (
            v.type.tensor_type.elem_type,
            [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim],
        )
        for v in values
    }


def assert_clean(path: Path) -> None:
    """Standard operations only, none that never may be there, and no note of where it was made."""
    model = onnx.load(path)
    operations = {node.op_type for node in model.graph.node}
    assert len(operations) > 5
    assert not operations & NEVER
    assert not model.functions
    assert {node.domain for node in model.graph.node} == {""}
    # What TensorRT 8.6 reads; of Einsum it does not know the ellipsis.
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    assert model.ir_version == 8
    equations = [a.s for node in model.graph.node for a in node.attribute if a.name == "equation"]
    assert not any(b"..." in equation for equation in equations)
    raw = path.read_bytes()
    for piece in (ROOT, Path.home(), Path(torch.__file__).parent, sys.prefix, sys.base_prefix):
        assert f"{piece}".rstrip("/").encode() + b"/" not in raw
    for piece in (
        b"site-packages",
        b"dist-packages",
        b".py",
        b"Traceback",
        b"torch",
        b"transformers",
    ):
        assert piece not in raw


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_audio_graph_gives_torchs_numbers(audio: tuple[ClapModel, Path], batch: int) -> None:
    model, path = audio
    waveform = tiny.waveforms(batch, seed=batch)
    with torch.no_grad():
        want = model.embed_audio(waveform).numpy()
    assert_same_embeddings(run(path, {"waveform": waveform}), want)


def test_audio_graph_on_silent_loud_and_quiet_clips(audio: tuple[ClapModel, Path]) -> None:
    model, path = audio
    noise = torch.rand(tiny.WINDOW, generator=torch.Generator().manual_seed(0)) * 2 - 1
    waveform = torch.stack([torch.zeros(tiny.WINDOW), noise.sign(), 1e-4 * noise])
    with torch.no_grad():
        want = model.embed_audio(waveform).numpy()
    assert_same_embeddings(run(path, {"waveform": waveform}), want)


@pytest.mark.parametrize("batch", [1, 3])
def test_norm_times_embedding_is_the_raw_vector(audio: tuple[ClapModel, Path], batch: int) -> None:
    model, path = audio
    waveform = tiny.waveforms(batch, seed=batch)
    raw = raw_vectors(model, waveform)
    norm = run(path, {"waveform": waveform}, "norm")
    assert norm.shape == (batch,)
    assert np.abs(norm / np.sqrt((raw**2).sum(axis=1)) - 1).max() < TOLERANCE
    found = norm[:, None] * run(path, {"waveform": waveform})
    assert np.abs(found - raw).max() < TOLERANCE * norm.max()


def test_audio_signature(audio: tuple[ClapModel, Path]) -> None:
    model = onnx.load(audio[1])
    assert signature(model.graph.input) == {"waveform": (FLOAT, ["batch", tiny.WINDOW])}
    found = signature(model.graph.output)
    assert list(found) == ["embedding", "norm"]
    assert found == {"embedding": (FLOAT, ["batch", tiny.DIM]), "norm": (FLOAT, ["batch"])}


def test_audio_graph_is_clean(audio: tuple[ClapModel, Path]) -> None:
    assert_clean(audio[1])


def test_log_mel_has_its_name_inside_the_graph(
    audio: tuple[ClapModel, Path], tmp_path: Path
) -> None:
    model, path = audio
    opened = onnx.load(path)
    assert "log_mel" in {name for node in opened.graph.node for name in node.output}
    opened.graph.output.append(onnx.helper.make_empty_tensor_value_info("log_mel"))
    onnx.save(opened, tmp_path / "open.onnx")
    session = onnxruntime.InferenceSession(
        tmp_path / "open.onnx", providers=["CPUExecutionProvider"]
    )
    waveform = tiny.waveforms(2)
    (got,) = session.run(["log_mel"], {"waveform": waveform.numpy()})
    want = model.mel(waveform).numpy()  # by the FFT
    assert got.shape == want.shape == (2, tiny.FRAMES, tiny.MEL.n_mels)
    loud = want > want.max() - 60
    assert np.abs(got - want)[loud].max() < 1e-3


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_text_graph_gives_torchs_numbers(text: tuple[ClapModel, Path], batch: int) -> None:
    model, path = text
    tokens = tiny.tokens(batch, model.config.text_encoder, seed=batch)
    with torch.no_grad():
        want = model.embed_text(**tokens).numpy()
    assert_same_embeddings(run(path, tokens), want)


def test_text_signature(text: tuple[ClapModel, Path]) -> None:
    model, path = text
    names = ["input_ids", "attention_mask"]
    if model.config.text_encoder.token_type_ids:
        names.append("token_type_ids")
    opened = onnx.load(path)
    assert list(signature(opened.graph.input)) == names
    assert signature(opened.graph.input) == {n: (INT64, ["batch", "tokens"]) for n in names}
    assert signature(opened.graph.output) == {"embedding": (FLOAT, ["batch", tiny.DIM])}


def test_text_graph_is_clean(text: tuple[ClapModel, Path]) -> None:
    assert_clean(text[1])


@pytest.mark.slow
def test_exporting_again_gives_the_same_bytes_and_touches_nothing_else(
    exported_bundle: Path, tmp_path: Path
) -> None:
    model = tiny.checkpoint().model
    before, random = deepcopy(model.state_dict()), torch.random.get_rng_state()
    graph.export_text(model, text_spec(model.config), tmp_path / "text.onnx")
    graph.export_audio(model, tmp_path / "audio.onnx")
    for name in ("audio.onnx", "text.onnx"):
        assert (tmp_path / name).read_bytes() == (exported_bundle / name).read_bytes(), name
    assert torch.equal(torch.random.get_rng_state(), random)
    assert model.mel.two_stage is None
    after = model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_a_forbidden_operation_stops_the_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny.model(tiny.config())
    monkeypatch.setattr(graph, "FORBIDDEN", frozenset({"Erf", "MatMul", "Gemm"}))
    with pytest.raises(RuntimeError, match=r"text\.onnx holds .*MatMul"):
        graph.export_text(model, text_spec(model.config), tmp_path / "text.onnx")
    assert not (tmp_path / "text.onnx").exists()
