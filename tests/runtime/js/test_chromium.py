"""In a real browser: the kit, and the page that shows what can be done."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from clap_export.sounds.catalogue import write_demo_sounds
from tests.places import ROOT
from tests.runtime.js.conftest import conformance

HERE = Path(__file__).parent
PAGE = ROOT / "examples" / "browser" / "build.mjs"

pytestmark = pytest.mark.slow  # a minute each


def node(*words: object) -> str:
    done = subprocess.run(
        ["node", *map(str, words)], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_chromium_passes_the_kit(js: Path, chromium: str, kit: Path, tmp_path: Path) -> None:
    said = conformance(str(kit), "--check", f"node {HERE / 'chromium_reader.mjs'} {tmp_path}/page")
    assert " passed, 0 failed, 0 skipped" in said


def test_the_page_as_a_user_would_use_it(
    js: Path, chromium: str, mini_bundle: Path, tmp_path: Path
) -> None:
    sounds = {path.stem: path for path in write_demo_sounds(tmp_path / "sounds")}
    dog, siren, rain = (sounds[name] for name in ("dog", "siren", "rain"))
    heard = [soundfile.read(path) for path in (siren, dog)]
    microphone = tmp_path / "microphone.wav"
    soundfile.write(microphone, np.concatenate([x for x, _ in heard]), heard[0][1])
    flac, damaged = tmp_path / "rain.flac", tmp_path / "damaged.wav"
    soundfile.write(flac, *soundfile.read(rain))
    damaged.write_text("no sound")

    node(PAGE, mini_bundle, tmp_path / "page")
    found = json.loads(
        node(HERE / "demo.mjs", tmp_path / "page", microphone, tmp_path, dog, siren, flac, damaged)
    )
    assert found["problems"] == []
    assert found["model"].startswith("clap-mini hears 5 s at a time, at 24 kHz (web wasm")
    first = dict(line.rsplit(".", 1) for line in found["results"])
    assert first["dog"].startswith("wavdog ")
    assert first["siren"].startswith("wavsiren ")
    assert first["rain"].startswith("flacrain ")
    (error,) = found["errors"]
    assert error.startswith("'damaged.wav' cannot be decoded by this browser")
    # Other labels are used at once, for files that were heard as well.
    assert any(line.startswith("dog.wavdog ") for line in found["relabelled"])
    assert [line.rstrip("0123456789. %") for line in found["bars"]] == (
        "dog,frog croaking,rain,siren,car horn".split(",")
    )
    # The microphone hears the two sounds in turn.
    assert {line.split()[0] for line in found["events"]} == {"dog", "siren"}
    assert not found["overflow"]
