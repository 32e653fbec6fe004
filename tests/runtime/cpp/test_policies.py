"""Every policy of windows gives Python's embedding of recordings of any length."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from runtime import Encoder
from runtime.clips.policy import PRESETS
from tests.tiny import bundle as tiny

COUNTED = [f"{name}:{n}" for name in ("head", "middle", "spaced", "past-intro") for n in (2, 7)]
SECONDS = (0.3, 46.0, 130.7)


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    for i, seconds in enumerate(SECONDS):
        clip = tiny.clip(i, int(seconds * tiny.RATE))
        soundfile.write(folder / f"{i}.wav", clip, tiny.RATE, subtype="PCM_16")
    return sorted(folder.glob("*.wav"))


@pytest.mark.parametrize("policy", [*(n for n in PRESETS if n != "rare"), *COUNTED])
def test_embeddings_are_those_of_python(
    ask: Callable[..., Any], tiny_bundle: Path, sounds: list[Path], policy: str
) -> None:
    with Encoder(tiny_bundle, windows=policy) as encoder:
        for sound in sounds:
            given = {"bundle": str(tiny_bundle)[1:], "wav": str(sound)[1:], "policy": policy}
            answer = ask("embed", Path("/"), **given)
            assert "error" not in answer, answer
            found = np.frombuffer(base64.b64decode(answer["outputs"]["embedding"]["base64"]), "<f4")
            assert float(found @ encoder.embed_audio(sound)[0]) == pytest.approx(1.0, abs=1e-6)
