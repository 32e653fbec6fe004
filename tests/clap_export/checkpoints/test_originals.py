"""Every family's original code recorded what it gives; our loader and model must give the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import Checkpoint, load
from clap_export.export.pack import write_bundle
from clap_export.model.clap import normalise
from clap_export.model.mel import mel_filterbank
from runtime import Encoder
from runtime.audio_graph import graph_inputs
from runtime.backends import open_backend
from tests import originals
from tests.goldens import recipe
from tests.originals import families

KINDS = {"msclap-2022": "bert", "msclap-2023": "gpt2"}
CLOSE = 2e-5  # on unit embeddings; measured 3e-6


@dataclass(frozen=True)
class Case:
    """One family: what was recorded, and its checkpoint loaded by us."""

    name: str
    golden: dict[str, np.ndarray]
    checkpoint: Checkpoint


@pytest.fixture(scope="module", params=originals.NAMES)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp(request.param)
    found = originals.golden(request.param)
    path = folder / "original.pt"
    torch.save(originals.wrapped(request.param, originals.state_dict(found)), path)
    words = originals.tokenizer_folder(folder / "t", KINDS.get(request.param, "roberta"))
    yield Case(request.param, found, load(path, tokenizer=words))
    path.unlink()  # half a gigabyte each


def clips(case: Case) -> list[np.ndarray]:
    lengths = case.golden.get("lengths", np.full(3, case.golden["samples"]))
    return recipe.clips([int(n) for n in lengths], int(case.golden["sample_rate"]))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    return float((a * b).sum(1).min())


@pytest.mark.parametrize("dft", ["fft", "graph"])
def test_log_mel(case: Case, dft: str) -> None:
    model = case.checkpoint.model
    if dft == "graph":
        model.mel.use_graph()
    with torch.no_grad():
        heard = [model.hear(torch.from_numpy(clip)[None])[0] for clip in clips(case)]
    got = torch.cat(heard)[..., ::23, :].numpy()
    model.mel.two_stage = None
    want = case.golden["mel"]
    assert got.shape == want.shape
    loud = want > want.max(axis=(-2, -1), keepdims=True) - 60  # dB under the clip's peak
    assert np.abs(got - want)[loud].max() < 1e-2
    assert np.abs(got - want)[loud].mean() < 1e-4


def test_audio(case: Case) -> None:
    model = case.checkpoint.model
    waves = [torch.from_numpy(clip)[None] for clip in clips(case)]
    if model.config.audio.int16_round_trip:
        waves = [(wave * 32767).to(torch.int16).float() / 32767 for wave in waves]
    with torch.no_grad():
        heard = [model.hear(wave) for wave in waves]
        towers = [
            model.audio_encoder(mel) if longer is None else model.audio_encoder(mel, longer)
            for mel, longer in heard
        ]
        tower = torch.cat(towers)
        embedding = normalise(model.audio_projection(tower)).numpy()
    assert cosine(tower.numpy(), case.golden["audio_tower"]) > 0.99999
    assert cosine(embedding, case.golden["audio"]) > 0.99999
    want = case.golden["audio"] / np.linalg.norm(case.golden["audio"], axis=1, keepdims=True)
    assert np.abs(embedding - want).max() < CLOSE
    assert np.abs(want[0] - want[1]).max() > 50 * CLOSE  # the clips are told apart


def test_text(case: Case) -> None:
    model = case.checkpoint.model
    tokens = {k.removeprefix("tokens_"): torch.from_numpy(v) for k, v in case.golden.items()
              if k.startswith("tokens_")}  # fmt: skip
    with torch.no_grad():
        tower = model.text_encoder(**tokens)
        embedding = model.embed_text(**tokens).numpy()
    assert cosine(tower.numpy(), case.golden["text_tower"]) > 0.99999
    want = case.golden["text"] / np.linalg.norm(case.golden["text"], axis=1, keepdims=True)
    assert np.abs(embedding - want).max() < CLOSE
    assert np.abs(want[0] - want[1]).max() > 50 * CLOSE


def test_logits(case: Case) -> None:
    model = case.checkpoint.model
    audio, text = (normalise(torch.from_numpy(case.golden[k])) for k in ("audio", "text"))
    got = (model.scale() * audio @ text.T).detach().numpy()
    assert np.abs(got - case.golden["logits"]).max() < 1e-4


def test_what_the_manifest_will_say(case: Case) -> None:
    config = case.checkpoint.model.config
    assert config.audio.sample_rate == case.golden["sample_rate"]
    assert config.audio.window_samples == case.golden["samples"]
    assert config.text_encoder.max_tokens == case.golden["tokens_input_ids"].shape[1]
    assert config.text_encoder.token_type_ids == ("tokens_token_type_ids" in case.golden)
    assert case.name.startswith(case.checkpoint.source.family)
    # The filterbank that is used is what the manifest's numbers describe; torchaudio's positions
    # are float32.
    used = case.golden.get("filterbank", case.golden["melW"])
    assert np.abs(mel_filterbank(config.audio.mel) - used).max() < 1e-5 * used.max()
    families.note(case.name, **families.facts(case.checkpoint.model, case.checkpoint.source.family))


IN_CI = "laion-tiny"  # one full-size family; the others take as long


@pytest.mark.parametrize(
    "case",
    [pytest.param(n, marks=() if n == IN_CI else pytest.mark.slow) for n in originals.NAMES],
    indirect=True,
)
def test_the_bundle_through_the_runtime(case: Case, tmp_path: Path) -> None:
    write_bundle(case.checkpoint, tmp_path / "bundle")
    want = case.golden["audio"] / np.linalg.norm(case.golden["audio"], axis=1, keepdims=True)
    # A bundle is traced with two clips; these are three, as arrays like a user's.
    with Encoder(tmp_path / "bundle") as encoder:
        got = encoder.embed_audio(clips(case), sample_rate=int(case.golden["sample_rate"]))
        tokens = {
            name: case.golden[f"tokens_{name}"].astype(np.int64)
            for name in encoder.manifest.text.inputs
        }
        rows = [encoder.windows_of(clip, int(case.golden["sample_rate"])) for clip in clips(case)]
        heard = encoder.open_audio()
        norms = [heard.run(graph_inputs(row, encoder.manifest.audio))["norm"] for row in rows]
        graph = open_backend(tmp_path / "bundle" / encoder.manifest.text_graph.file)
        text = graph.run(tokens)["embedding"]
    raw = case.golden["audio"]
    if not case.name.startswith("msclap"):  # LAION's own vectors are scaled to unit norm already
        with torch.no_grad():
            tower = torch.from_numpy(case.golden["audio_tower"])
            raw = case.checkpoint.model.audio_projection(tower).numpy()
    assert np.abs(np.concatenate(norms) / np.linalg.norm(raw, axis=1) - 1).max() < CLOSE
    audio_error = np.abs(got - want).max()
    assert audio_error < CLOSE
    want = case.golden["text"] / np.linalg.norm(case.golden["text"], axis=1, keepdims=True)
    text_error = np.abs(text - want).max()
    assert text_error < CLOSE
    families.note(case.name, audio_error=float(audio_error), text_error=float(text_error))
