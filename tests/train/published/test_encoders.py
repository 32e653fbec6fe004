"""A checkpoint and its bundle under test: the same embeddings, which are the runtime's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from clap_export.checkpoints import native
from runtime import Encoder
from runtime.errors import AudioError, ClapError
from tests import tiny
from train.published import encoders
from train.published.encoders import BundleEmbedder, CheckpointEmbedder, open_embedder
from train.zero_shot import embedding
from train.zero_shot.embedding import embed_labels

CPU = torch.device("cpu")
LENGTHS = [1, 1600, 7999, 8000, 8001, 20_500, 31_000]


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings shorter and longer than a window, one at another rate."""
    folder = tmp_path_factory.mktemp("clips")
    found = [
        tiny.write_wav(folder / f"{n}.wav", tiny.waveforms(1, n, seed=n)[0].numpy())
        for n in LENGTHS
    ]
    other = tiny.waveforms(1, 22_050, seed=5)[0].numpy()
    return [*found, tiny.write_wav(folder / "other.wav", other, 11_025)]


def test_a_checkpoint_and_its_bundle_give_the_runtimes_embeddings(
    paths: list[Path], exported_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches that begin and end inside recordings, and several rounds of decoding.
    monkeypatch.setattr(encoders, "BATCH", 3)
    monkeypatch.setattr(embedding, "WINDOWS", 3)
    monkeypatch.setattr(encoders, "AHEAD", 2)
    found = [
        embedder.embed_audio(paths)
        for embedder in (
            CheckpointEmbedder(tiny.checkpoint(), CPU),
            BundleEmbedder(exported_bundle),
        )
    ]
    want = Encoder(exported_bundle).embed_audio(paths)
    assert np.abs(want[0] - want[-1]).max() > 0.01
    for got in found:
        assert got.dtype == np.float32
        assert np.abs(got - want).max() < 1e-5


def test_texts_are_the_runtimes_whatever_the_batch(
    exported_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "TEXTS", 3)
    texts = [*tiny.SENTENCES, "rain " * 40, "sea"]
    want = Encoder(exported_bundle).embed_text(texts)
    for embedder in (CheckpointEmbedder(tiny.checkpoint(), CPU), BundleEmbedder(exported_bundle)):
        assert np.abs(embedder.embed_text(texts) - want).max() < 1e-5


def test_feature_fusion_hears_each_clip_alone(paths: list[Path]) -> None:
    from runtime import audio
    from runtime.clips import windows

    checkpoint = tiny.checkpoint(tiny.FUSION)
    spec = checkpoint.model.config.audio
    got = CheckpointEmbedder(checkpoint, CPU).embed_audio(paths)
    for path, row in zip(paths, got, strict=True):
        heard = torch.from_numpy(windows.rows(audio.prepare(path, spec), spec))
        with torch.inference_mode():
            assert np.abs(checkpoint.model.embed_audio(heard)[0].numpy() - row).max() < 1e-5


def test_an_ensemble_of_prompts_is_their_mean_at_unit_norm() -> None:
    embedder = CheckpointEmbedder(tiny.checkpoint(), CPU)
    got = embed_labels(embedder.embed_text, ["dog", "rain"], ["{}", "a loud {} at sea"])
    for label, row in zip(["dog", "rain"], got, strict=True):
        mean = embedder.embed_text([label, f"a loud {label} at sea"]).mean(axis=0)
        assert row == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    (alone,) = embed_labels(embedder.embed_text, ["dog"], ["{}"])
    assert np.abs(alone - got[0]).max() > 1e-3


def test_a_source_is_a_bundles_folder_or_any_checkpoint(
    exported_bundle: Path, tmp_path: Path
) -> None:
    made = tiny.checkpoint()
    native.save(tmp_path / "model.safetensors", made.model, made.tokenizer)
    assert isinstance(open_embedder(exported_bundle, CPU), BundleEmbedder)
    assert isinstance(open_embedder(tmp_path / "model.safetensors", CPU), CheckpointEmbedder)
    with pytest.raises(ClapError):
        open_embedder(tmp_path, CPU)


def test_a_recording_that_cannot_be_used_is_named(paths: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"nothing")
    embedder = CheckpointEmbedder(tiny.checkpoint(), CPU)
    with pytest.raises(AudioError, match=r"bad\.wav"):
        embedder.embed_audio([*paths, tmp_path / "bad.wav"])
