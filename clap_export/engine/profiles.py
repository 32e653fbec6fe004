"""Optimization profiles: the shapes that a bundle's graphs are given by the runtime."""

from __future__ import annotations

from collections.abc import Callable

from clap_export.engine.options import BuildOptions
from runtime.audio_spec import AudioSpec
from runtime.clips import fusion
from runtime.engines import Profile, Range
from runtime.manifest import Manifest, TextSpec
from runtime.tokenizer import MIN_TOKENS

LABEL_TOKENS = 12  # a label in a prompt: what text engines are tuned for

# Batch to the shapes of all inputs: shortest, best, longest.
Shapes = Callable[[int], dict[str, tuple[int, ...]]]


def audio_profiles(manifest: Manifest, options: BuildOptions) -> tuple[Profile, ...]:
    """One for single windows, one for batches of them."""
    spec = manifest.audio
    if spec.long_clips == "windows":
        length = spec.window_samples
        return _profiles(options, *(lambda n: {"waveform": (n, length)},) * 3)
    longest = -(-(fusion.gathered_samples(spec) + spec.mel.n_fft // 2) // spec.mel.hop_length)
    return _profiles(
        options,
        _fused(spec, spec.window_samples),
        _fused(spec, spec.window_samples),
        _fused(spec, longest * spec.mel.hop_length),
    )


def text_profiles(manifest: Manifest, options: BuildOptions) -> tuple[Profile, ...]:
    """One for single texts, one for batches of them; any number of tokens.

    Raises:
        BundleError: the bundle has no text encoder.
    """
    spec, _ = manifest.text_encoder
    usual = min(max(LABEL_TOKENS, MIN_TOKENS), spec.max_tokens)
    return _profiles(
        options, _tokens(spec, MIN_TOKENS), _tokens(spec, usual), _tokens(spec, spec.max_tokens)
    )


def _tokens(spec: TextSpec, length: int) -> Shapes:
    return lambda n: dict.fromkeys(spec.inputs, (n, length))


def _fused(spec: AudioSpec, samples: int) -> Shapes:
    frames = 1 + spec.window_samples // spec.mel.hop_length
    shapes = ((samples,), (frames,), (frames,), (3,), ())
    return lambda n: {name: (n, *shape) for name, shape in zip(fusion.INPUTS, shapes, strict=True)}


def _profiles(
    options: BuildOptions, shortest: Shapes, best: Shapes, longest: Shapes
) -> tuple[Profile, ...]:
    batches = [(1, 1, 1)]
    if options.max_batch > 1:
        batches.append((1, options.best_batch, options.max_batch))
    return tuple(
        Profile(
            {
                name: Range(low, best(middle)[name], longest(most)[name])
                for name, low in shortest(few).items()
            }
        )
        for few, middle, most in batches
    )
