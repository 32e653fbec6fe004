"""What `windows="faithful"` gives, against each original's steps written out in numpy."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soxr

from runtime import ClapError, Encoder
from runtime.clips import fusion
from runtime.clips.policy import Policy
from runtime.clips.quirks import Quirks
from runtime.manifest import Source
from tests.runtime.faithful.test_resamplers import sinc_hann
from tests.tiny import bundle as tinybundle

WINDOW = tinybundle.WINDOW
FOREIGN = 12_000  # Hz, a rate that is not the model's


def encoder(folder: Path, family: str, windows: str | Policy = "faithful") -> Encoder:
    tinybundle.build(folder, source=Source(family, "none", "0" * 64, "MIT"))
    return Encoder(folder, windows=windows)


def stereo(seconds: float) -> np.ndarray:
    left, right = (tinybundle.clip(seed, round(seconds * FOREIGN)) for seed in (1, 2))
    return np.stack([left, right])


def by_msclap(samples: np.ndarray, start: float = 0.0) -> np.ndarray:
    """``CLAPWrapper.load_audio_into_tensor``; its random start is a share of the possible ones."""
    channels = [sinc_hann(row.astype(np.float64), FOREIGN, tinybundle.RATE) for row in samples]
    row = np.concatenate(channels)
    if len(row) <= WINDOW:
        return np.resize(row, WINDOW)
    first = int(start * (len(row) - WINDOW))
    return row[first : first + WINDOW]


def by_librosa(samples: np.ndarray) -> np.ndarray:
    """``librosa.load`` and the extractor of transformers, or ``get_audio_features`` of LAION."""
    mono = samples.mean(axis=0)
    ratio = float(tinybundle.RATE) / FOREIGN
    row = soxr.resample(mono, FOREIGN, tinybundle.RATE, "soxr_hq")
    row = np.pad(row, (0, math.ceil(len(mono) * ratio) - len(row)))
    return np.resize(row, WINDOW) if len(row) <= WINDOW else row[:WINDOW]


@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.55, 1.4])
def test_msclap(seconds: float, tmp_path: Path) -> None:
    samples = stereo(seconds)
    with encoder(tmp_path / "bundle", "msclap") as ours:
        found = ours.embed_audio(samples, FOREIGN)[0]
    wanted = tinybundle.slow_audio_embedding(by_msclap(samples))
    assert found @ wanted > 1 - 1e-6
    with Encoder(tmp_path / "bundle", windows="head") as ours:
        assert ours.embed_audio(samples, FOREIGN)[0] @ wanted < 1 - 1e-4


def test_msclap_in_the_middle(tmp_path: Path) -> None:
    samples = stereo(1.4)
    with encoder(tmp_path / "bundle", "msclap", "faithful-middle") as ours:
        found = ours.embed_audio(samples, FOREIGN)[0]
    assert found @ tinybundle.slow_audio_embedding(by_msclap(samples, 0.5)) > 1 - 1e-6


@pytest.mark.parametrize("family", ["laion", "transformers"])
@pytest.mark.parametrize("seconds", [0.1, 0.3333, 0.55, 1.4])
def test_librosas_users(family: str, seconds: float, tmp_path: Path) -> None:
    samples = stereo(seconds)
    with encoder(tmp_path / "bundle", family) as ours:
        found = ours.embed_audio(samples, FOREIGN)[0]
    assert found @ tinybundle.slow_audio_embedding(by_librosa(samples)) > 1 - 1e-6


def test_predict_many_hears_the_same(tmp_path: Path) -> None:
    from runtime import Classifier

    items = [(stereo(seconds), FOREIGN) for seconds in (0.2, 1.4, 0.55)]
    tinybundle.build(tmp_path / "bundle", source=Source("msclap", "none", "0" * 64, "MIT"))
    labels = list(tinybundle.LABELS)
    with Classifier(tmp_path / "bundle", labels=labels, windows="faithful") as ours:
        alone = [ours.predict(samples, sample_rate=rate) for samples, rate in items]
        many = [result.predictions for result in ours.predict_many(items)]
    for one, other in zip(alone, many, strict=True):
        scores = {p.label: p.similarity for p in one}
        assert {p.label: pytest.approx(p.similarity, abs=1e-6) for p in other} == scores


@pytest.mark.parametrize("family", ["native", "open_clip", "tiny"])
def test_families_without_a_package_of_their_own_are_refused(family: str, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match=f"family is '{family}'.*Choose 'default'"):
        encoder(tmp_path / "bundle", family)


def test_quirks_are_part_of_the_clip_space(tmp_path: Path) -> None:
    with encoder(tmp_path / "bundle", "msclap", "head") as head:
        plain = head.clip_space_id
    spaces = {plain}
    for windows in (
        "faithful",
        "faithful-middle",
        Policy("mine", "head", 1, quirks=Quirks("librosa")),
    ):
        with Encoder(tmp_path / "bundle", windows=windows) as ours:
            spaces.add(ours.clip_space_id)
    assert len(spaces) == 4
    same = Policy("any name", "head", 1, quirks=Quirks("torchaudio", "strung", whole_texts=True))
    with (
        Encoder(tmp_path / "bundle", windows=same) as one,
        Encoder(tmp_path / "bundle", windows="faithful") as two,
    ):
        assert one.clip_space_id == two.clip_space_id


def test_a_manifest_may_carry_quirks(tmp_path: Path) -> None:
    policy = Policy("old corpus", "head", 1, quirks=Quirks("torchaudio", "strung"))
    tinybundle.build(tmp_path / "bundle", policy=policy)
    samples = stereo(0.55)
    with Encoder(tmp_path / "bundle") as ours:
        assert ours.policy == policy
        found = ours.embed_audio(samples, FOREIGN)[0]
    assert found @ tinybundle.slow_audio_embedding(by_msclap(samples)) > 1 - 1e-6


def test_a_lone_short_clip_is_called_longer() -> None:
    spec = replace(tinybundle.MANIFEST.audio, long_clips="fusion")
    rows = [tinybundle.clip(1, WINDOW), tinybundle.clip(2, 3 * WINDOW)]
    plain, other = (fusion.inputs(rows, spec, always_longer=longer) for longer in (False, True))
    assert plain["longer"].tolist() == [False, True]
    assert other["longer"].tolist() == [True, True]
    assert not other["chunks"][0].any()  # the clip itself, three times
    for name in ("waveform", "overview", "overview_weight", "chunks"):
        assert np.array_equal(plain[name], other[name])


def test_long_texts_are_not_cut(tmp_path: Path) -> None:
    text = " ".join(["dog rain bell wind sea"] * 4)
    cut = " ".join(text.split()[: tinybundle.MAX_TOKENS - 2])
    for family, heard in (("msclap", text), ("transformers", text), ("laion", cut)):
        with encoder(tmp_path / family, family) as ours:
            found = ours.embed_text(text)[0]
        assert found @ tinybundle.slow_text_embedding(heard) > 1 - 1e-6
    with Encoder(tmp_path / "msclap") as ours:
        assert ours.embed_text(text)[0] @ tinybundle.slow_text_embedding(cut) > 1 - 1e-6
