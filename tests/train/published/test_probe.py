"""Trained heads: what can be learned is learned, what cannot is not, the same at every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from clap_export.metrics import mean_average_precision
from runtime import audio
from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.data.recording import Recording
from train.published import finetune, metrics, probe
from train.published.dataset import LabelledFile
from train.published.finetune import finetune_predict
from train.published.probe import Head, fit_predict


def toy(seed: int, count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors around three directions, and whose they are."""
    rng = np.random.default_rng(seed)
    of = np.arange(count) % 3
    x = np.eye(3, 16)[of] + 0.05 * rng.standard_normal((count, 16))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x.astype(np.float32), of[:, None] == np.arange(3)


@pytest.mark.parametrize("deep", [False, True])
def test_a_separable_problem_is_solved_and_a_random_one_is_not(deep: bool) -> None:
    (train, right), (test, truth) = toy(0), toy(1)
    logits = fit_predict(train, right, test, Head(deep))
    assert metrics.accuracy(logits, truth) == 1.0
    drawn = np.random.default_rng(2).permutation(len(right))
    logits = fit_predict(train, right[drawn], test, Head(deep))
    assert metrics.accuracy(logits, truth) < 0.6  # chance is 1 / 3


def test_layers_between_solve_what_one_layer_cannot() -> None:
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (400, 2)).astype(np.float32)
    same = (x[:, 0] > 0) == (x[:, 1] > 0)
    right = np.stack([same, ~same], axis=1)
    found = [
        metrics.accuracy(
            fit_predict(x[:300], right[:300], x[300:], Head(deep)),
            right[300:],
        )
        for deep in (False, True)
    ]
    assert found[0] < 0.7
    assert found[1] > 0.93


def test_several_labels_of_a_clip_are_learned_independently() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 8)).astype(np.float32)
    right = x[:, :3] > 0.3
    logits = fit_predict(x[:300], right[:300], x[300:], Head(several=True))
    assert mean_average_precision(logits, right[300:]) > 0.95
    said = metrics.more_likely_than_not(logits)
    assert metrics.micro_f1(said, right[300:]) > 0.8
    # A softmax would say as much of a clip without a label as of one with all.
    of_none, of_all = (said[right[300:].sum(axis=1) == count].sum(axis=1) for count in (0, 3))
    assert of_none.mean() < 0.5
    assert of_all.mean() > 1.5


def test_the_seed_decides_and_leaves_other_random_numbers_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(probe, "LEAST_STEPS", 100)
    (train, right), (test, _) = toy(0), toy(1)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    runs = [fit_predict(train, right, test, Head(deep=True, seed=seed)) for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_constant_features_do_no_harm() -> None:
    (train, right), (test, truth) = toy(0), toy(1)
    train[:, 5] = test[:, 5] = 0.25
    logits = fit_predict(train, right, test, Head())
    assert metrics.accuracy(logits, truth) == 1.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledFile]:
    """Three classes of generated sounds, ten of each, some shorter or longer than a window."""
    folder = tmp_path_factory.mktemp("clips")
    found = []
    for seed in range(10):
        for label in tinyrun.LABELS:
            samples = tiny.WINDOW + 1500 * (seed % 3 - 1)
            path = folder / f"{label}{seed}.wav"
            tiny.write_wav(path, tinyrun.sound(label, seed, samples))
            found.append(LabelledFile(path, (label,), "1" if seed < 6 else "2"))
    return found


def paths(items: list[LabelledFile]) -> list[Path]:
    return [item.path for item in items]


def right_of(items: list[LabelledFile]) -> np.ndarray:
    return np.array([[label in item.labels for label in tinyrun.LABELS] for item in items])


def test_fine_tuning_learns_the_sounds_and_leaves_the_model_as_it_was(
    clips: list[LabelledFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetune, "LEARNING_RATE", 3e-3)  # a few steps instead of hundreds
    model = tiny.checkpoint().model
    before = {name: x.clone() for name, x in model.state_dict().items()}
    train, test = clips[:18], clips[18:]
    runs = [
        finetune_predict(model, paths(train), right_of(train), paths(test), Head(), epochs)
        for epochs in (1, 30, 30)
    ]
    assert runs[1].shape == (12, 3)
    assert metrics.accuracy(runs[1], right_of(test)) > 0.6  # chance is 1 / 3
    assert np.array_equal(runs[1], runs[2])
    assert not np.allclose(runs[0], runs[1])
    assert all(torch.equal(before[name], x) for name, x in model.state_dict().items())


def test_fine_tuning_with_feature_fusion_is_refused(clips: list[LabelledFile]) -> None:
    model = tiny.checkpoint(tiny.FUSION).model
    with pytest.raises(ClapError, match="feature fusion does not need: use linear or mlp"):
        finetune_predict(model, paths(clips[:3]), right_of(clips[:3]), paths(clips[3:]), Head())


def test_a_recording_that_cannot_be_read_stops_fine_tuning(
    clips: list[LabelledFile], tmp_path: Path
) -> None:
    bad = LabelledFile(tmp_path / "none.wav", clips[0].labels, "1")
    items = [*clips[:3], bad]
    with pytest.raises(ClapError, match=r"none\.wav"):
        finetune_predict(
            tiny.checkpoint().model, paths(items), right_of(items), paths(clips[3:4]), Head(), 1
        )


def test_recordings_are_kept_without_loss(tmp_path: Path) -> None:
    """The values of a 16-bit file, its least one too, are those that the runtime hears."""
    levels = np.linspace(-32768, 32767, tiny.WINDOW).astype(np.int16)
    soundfile.write(tmp_path / "ramp.wav", levels, tiny.RATE, subtype="PCM_16")
    spec = tiny.config().audio
    kept = Recording(tmp_path / "ramp.wav").whole(spec)
    assert np.array_equal(kept, levels)
    window = finetune._window(kept, spec, np.random.default_rng(0))
    assert np.array_equal(window, audio.prepare(tmp_path / "ramp.wav", spec))
