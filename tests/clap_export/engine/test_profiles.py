"""The profiles hold every shape that the runtime gives the graphs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from clap_export.engine.options import BuildOptions
from clap_export.engine.profiles import LABEL_TOKENS, audio_profiles, text_profiles
from runtime.audio_graph import graph_inputs
from runtime.audio_spec import AudioSpec, Mel
from runtime.clips import fusion
from runtime.engines import Range
from runtime.manifest import Manifest
from runtime.tokenizer import MIN_TOKENS
from tests.tiny import bundle as tinybundle

# The window is a multiple of the first hop and not of the second, which does not divide n_fft.
HOPS = (160, 97)
OPTIONS = BuildOptions(max_batch=6, opt_batch=4)


def manifest(hop: int = 160, long_clips: str = "windows", **text: object) -> Manifest:
    window = 8_000
    mel = Mel(16_000, 512, hop, 64, 50.0, 8_000.0, "htk", None, 1e-10)
    audio = AudioSpec(16_000, window, window, "repeat", False, mel)
    return replace(
        tinybundle.MANIFEST,
        audio=replace(audio, long_clips=long_clips),  # type: ignore[arg-type]
        text=replace(tinybundle.MANIFEST.text, **text),  # type: ignore[arg-type]
    )


def shapes(lengths: list[int], spec: AudioSpec) -> dict[str, tuple[int, ...]]:
    """Of what the runtime gives the audio graph for clips of these lengths in samples."""
    rows = [np.zeros(n, np.float32) for n in lengths]
    return {name: array.shape for name, array in graph_inputs(rows, spec).items()}


@pytest.mark.parametrize("batch", [1, 2, 5, 6])
def test_windows_of_every_batch_are_served(batch: int) -> None:
    given = manifest()
    single, batches = audio_profiles(given, OPTIONS)
    made = shapes([8_000] * batch, given.audio)
    assert batches.holds(made)
    assert single.holds(made) == (batch == 1)


@pytest.mark.parametrize("hop", HOPS)
def test_clips_of_every_length_and_mixture_are_served_with_fusion(hop: int) -> None:
    given = manifest(hop, "fusion")
    single, batches = audio_profiles(given, OPTIONS)
    gathered = fusion.gathered_samples(given.audio)
    lengths = [8_000, 8_001, 8_000 + hop, 20_000, gathered - 1, gathered, gathered + 1, 500_000]
    seen: list[int] = []
    for length in lengths:
        alone = shapes([length], given.audio)
        assert single.holds(alone), length
        assert batches.holds(alone), length
        for other in lengths:
            made = shapes([length, other, 8_000], given.audio)
            assert batches.holds(made), (length, other)
            seen.append(made["waveform"][1])
        made = shapes([length] * 6, given.audio)
        assert batches.holds(made), length
    # No memory is set aside for lengths that never come.
    assert max(seen) == batches.inputs["waveform"].max[1]
    assert not batches.holds(shapes([8_000] * 7, given.audio))


def test_ranges_of_an_audio_engine_without_fusion() -> None:
    single, batches = audio_profiles(manifest(), OPTIONS)
    assert single.inputs == {"waveform": Range((1, 8_000), (1, 8_000), (1, 8_000))}
    assert batches.inputs == {"waveform": Range((1, 8_000), (4, 8_000), (6, 8_000))}


def test_ranges_of_an_audio_engine_with_fusion() -> None:
    # 8000 / 160 + 1 frames; each pair of the overview 700 samples, each chunk 8512 + 128 to fill
    # hops; before them what brings the first frame to the grid; and half an n_fft of mirror image.
    frames, slot, stretch, lead = 51, 800, 8_640, 64
    longest = -(-(lead + frames * slot + 3 * stretch) // 160) * 160
    longest = -(-(longest + 256) // 160) * 160
    _, batches = audio_profiles(manifest(160, "fusion"), OPTIONS)
    assert tuple(batches.inputs) == fusion.INPUTS
    assert batches.inputs["waveform"] == Range((1, 8_000), (4, 8_000), (6, longest))
    for name, rest in {
        "overview": (51,), "overview_weight": (51,), "chunks": (3,), "longer": (),
    }.items():  # fmt: skip
        assert batches.inputs[name] == Range((1, *rest), (4, *rest), (6, *rest))


def test_ranges_of_a_text_engine() -> None:
    given = manifest(max_tokens=77)
    single, batches = text_profiles(given, OPTIONS)
    few, usual = MIN_TOKENS, LABEL_TOKENS
    assert single.inputs == dict.fromkeys(given.text.inputs, Range((1, few), (1, usual), (1, 77)))
    assert batches.inputs == dict.fromkeys(given.text.inputs, Range((1, few), (4, usual), (6, 77)))


def test_a_text_engine_of_few_tokens_is_tuned_for_them() -> None:
    single, _ = text_profiles(manifest(max_tokens=5), OPTIONS)
    assert single.inputs["input_ids"] == Range((1, MIN_TOKENS), (1, 5), (1, 5))


def test_an_engine_for_single_inputs_has_one_profile() -> None:
    options = BuildOptions(max_batch=1)
    assert len(audio_profiles(manifest(), options)) == 1
    assert len(text_profiles(manifest(), options)) == 1
