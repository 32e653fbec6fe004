"""Feature fusion: what is picked of a long clip, and that a bundle hears what the model hears."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clap_export.export.pack import write_bundle
from clap_export.model.fusion import channels, pick
from clap_export.model.htsat import Fusion
from clap_export.parity.checkpoint import verify
from runtime import ClapError, Classifier, Encoder
from runtime.clips import fusion
from tests import tiny

SPEC = tiny.config(tiny.FUSION).audio
HOP = SPEC.mel.hop_length
# One window; more, but no frame more; one frame more; longer; so long that samples are gathered.
LENGTHS = (tiny.WINDOW, tiny.WINDOW + 40, tiny.FRAMES * HOP, 3 * tiny.WINDOW, 20 * tiny.WINDOW + 5)


def rows(lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    return [tiny.waveforms(2, n, seed=n)[1].numpy() for n in lengths]


@pytest.mark.parametrize("extra", range(8))
def test_chunks_start_in_the_middle_of_thirds_that_share_the_starts(extra: int) -> None:
    starts = range(extra + 1)  # all that leave room for a chunk
    sizes = [len(starts) // 3 + (third < len(starts) % 3) for third in range(3)]
    want, at = [], 0
    for size in sizes:
        want.append(starts[at + size // 2] if size else 0)
        at += size
    assert fusion.chunk_starts(100 + extra, 100).tolist() == want


@pytest.mark.parametrize("total", [100, 101, 157, 1000, 6001])
def test_the_overview_is_pytorchs_linear_resize(total: int) -> None:
    values = torch.randn(total, generator=torch.Generator().manual_seed(total))
    want = F.interpolate(values[None, None], 100, mode="linear", align_corners=False)[0, 0]
    lower, weight = fusion.overview_positions(total, 100)
    got = values.numpy()[lower] * (1 - weight) + values.numpy()[lower + 1] * weight
    assert np.abs(got - want.numpy()).max() < 1e-6
    assert weight.min() >= 0
    assert weight.max() <= 1


def test_the_graphs_form_picks_what_the_model_hears() -> None:
    model = tiny.model(tiny.config(tiny.FUSION))
    clips = rows()
    made = {name: torch.from_numpy(array) for name, array in fusion.inputs(clips, SPEC).items()}
    assert made["longer"].tolist() == [False, False, True, True, True]
    assert made["waveform"].shape[1] % HOP == 0
    assert made["waveform"].shape[1] < 9 * tiny.WINDOW  # of 20 in the longest clip
    got = pick(model.mel(made["waveform"]), *(made[name] for name in fusion.INPUTS[1:4]))
    for row, clip in enumerate(clips):
        want, longer = channels(model.mel(torch.from_numpy(clip)[None]), tiny.FRAMES)
        assert bool(longer[0]) == bool(made["longer"][row])
        count = 4 if longer[0] else 1  # the chunks of a short clip are not looked at
        assert (got[row, :count] - want[0, :count]).abs().max() < 1e-3  # dB


def test_the_chunks_of_a_short_row_do_not_matter() -> None:
    torch.manual_seed(0)
    module = Fusion(8, 4).eval()
    overview, chunks = torch.randn(2, 8, 16, 16), torch.randn(2, 3, 64, 64)
    got = module(overview, chunks, torch.tensor([False, True]))
    other = module(overview, -chunks, torch.tensor([False, True]))
    assert torch.equal(got[0], overview[0])
    assert torch.equal(other[0], overview[0])
    assert (got[1] - other[1]).abs().max() > 0.1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fusion") / "bundle"
    checkpoint = tiny.checkpoint(tiny.FUSION)
    write_bundle(checkpoint, folder)
    parity = verify(folder, checkpoint)
    assert parity.passed, parity
    return folder


def test_long_and_short_clips_in_one_batch(bundle: Path) -> None:
    model = tiny.model(tiny.config(tiny.FUSION))
    clips = rows()
    with Encoder(bundle, batch_size=64) as encoder:
        assert len(list(fusion.batches(clips, SPEC, 64))) == 1
        got = encoder.embed_audio(clips, sample_rate=tiny.RATE)
        alone = [encoder.embed_audio(clip, sample_rate=tiny.RATE)[0] for clip in clips]
    with torch.no_grad():
        want = torch.cat([model.embed_audio(torch.from_numpy(clip)[None]) for clip in clips])
    assert np.abs(got - want.numpy()).max() < 1e-5
    assert np.abs(got - np.stack(alone)).max() < 1e-5
    assert np.abs(got[3] - got[4]).max() > 1e-2


def test_a_long_clip_is_one_embedding_and_a_timeline_has_windows(bundle: Path) -> None:
    clip = rows((5 * tiny.WINDOW,))[0]
    with Classifier(bundle, ["rain", "a bell"]) as classifier:
        assert classifier.encoder.windows_of(clip, tiny.RATE).shape == (1, 5 * tiny.WINDOW)
        many = list(classifier.predict_many([(clip, tiny.RATE), (clip[:500], tiny.RATE)]))
        alone = classifier.predict(clip, tiny.RATE)
        assert [p.label for p in many[0].predictions] == [p.label for p in alone]
        assert many[0].predictions[0].similarity == pytest.approx(alone[0].similarity, abs=1e-5)
        assert len(classifier.timeline(clip, tiny.RATE)) == 5
        with pytest.raises(ClapError, match="or longer"):
            classifier.encoder.embed_windows(clip[None, :100])


def test_batches_hold_no_more_samples_than_was_asked() -> None:
    clips = rows((*LENGTHS, tiny.WINDOW, tiny.WINDOW))
    found = list(fusion.batches(clips, SPEC, 4))
    assert [len(clip) for batch in found for clip in batch] == [len(clip) for clip in clips]
    for batch in found:
        longest = max(min(len(clip), fusion.gathered_samples(SPEC)) for clip in batch)
        assert len(batch) == 1 or len(batch) * longest <= 4 * tiny.WINDOW
    assert len(found[0]) == 3
