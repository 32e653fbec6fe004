"""The page in a real Chromium: what it shows are the runtime's own numbers."""

from __future__ import annotations

import csv
import io
import itertools
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from runtime import Classifier
from tests.clap_export.serve.running import running
from tests.runtime.js.conftest import chromium, js  # noqa: F401

LABELS = ["dog", "sea", "<b>rain</b> bell"]
KEY = "a-key-of-enough-letters"


@pytest.fixture
def recordings(tmp_path: Path) -> list[Path]:
    """A good one of several windows, and none."""
    rng = np.random.default_rng(5)
    good, bad = tmp_path / "noise.wav", tmp_path / "notes.txt"
    samples = rng.uniform(-0.5, 0.5, 3 * 48_000) * np.linspace(0, 1, 3 * 48_000)
    soundfile.write(good, samples, 48_000, "PCM_16")
    bad.write_text("this is no sound")
    return [bad, good]


def visited(url: str, work: Path, files: Sequence[Path], key: str = "") -> dict[str, Any]:
    script = Path(__file__).with_name("page.mjs")
    done = subprocess.run(
        ["node", str(script), url, str(work), key, *map(str, files)],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.usefixtures("chromium", "js")
def test_a_visit(tiny_bundle: Path, tmp_path: Path, recordings: list[Path]) -> None:
    with running(tiny_bundle, keys=(KEY,)) as made:
        url = f"http://127.0.0.1:{made.port}/"
        seen = visited(url, tmp_path, [recordings[1], recordings[0]], KEY)
    with Classifier(tiny_bundle, LABELS, scores="cosine") as classifier:
        segments = list(classifier.timeline(recordings[1], hop=0.5))
    (problem,) = seen["problems"]  # the browser's own word for what was refused
    assert "status of 422" in problem
    assert "key" in seen["refused"]
    assert [name for name, _ in seen["queue"]] == ["notes.txt", "noise.wav"]
    assert "notes.txt" not in seen["queue"][0][1]
    assert "is no" in seen["queue"][0][1] or "cannot" in seen["queue"][0][1]

    # The whole is the mean of the windows, so its cosines are theirs by one and the same factor.
    means = {
        label: np.mean([row.similarity for part in segments for row in part.predictions
                        if row.label == label])
        for label in LABELS
    }  # fmt: skip
    factors = [float(text) / means[label] for label, text in seen["cosines"]]
    assert factors == pytest.approx([factors[0]] * 3, rel=0.02)
    assert factors[0] >= 0.99

    rows = list(csv.DictReader(io.StringIO(seen["csv"]["text"])))
    assert seen["csv"]["name"] == "noise.csv"
    expected = [
        (segment.start, segment.end, label, score)
        for segment in segments
        for label, score in sorted(
            ((one.label, one.similarity) for one in segment.predictions),
            key=lambda pair: LABELS.index(pair[0]),
        )
    ]
    assert len(rows) == len(expected)
    for row, (start, end, label, similarity) in zip(rows, expected, strict=True):
        assert row["label"] == label
        assert float(row["start"]) == pytest.approx(start, abs=1e-9)
        assert float(row["end"]) == pytest.approx(end, abs=1e-9)
        assert float(row["score"]) == pytest.approx(similarity, abs=1e-6)

    assert seen["audacity"]["name"] == "noise.txt"
    regions = [line.split("\t") for line in seen["audacity"]["text"].splitlines()]
    assert float(regions[0][0]) == 0
    assert float(regions[-1][1]) == pytest.approx(3.0)
    assert all(before[1] == after[0] for before, after in itertools.pairwise(regions))
    assert all(before[2] != after[2] for before, after in itertools.pairwise(regions))

    last = segments[-2]
    assert seen["title"] == f"{last.start:.1f} to {last.end:.1f} s"
    assert seen["window"] == [[one.label, f"{one.similarity:.3f}"] for one in last.predictions]
    assert [label for label, _ in seen["relabelled"]] == ["wind"]
    assert seen["drawn"] > 0.2
    assert seen["recorded"][0].startswith("recording-")
    assert "cannot" not in seen["recorded"][1]
    assert seen["overflow"] <= 0
