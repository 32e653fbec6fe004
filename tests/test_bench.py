"""The benchmark: statistics, order of the runs, and reports, on the tiny bundle."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tinybundle

from clap_export import bench
from clap_export.bench import machine, measure, tables, timing
from clap_export.bench.report import Report
from runtime import schema
from runtime.errors import BundleError, ClapError


@pytest.fixture(scope="module")
def report(tiny_bundle: Path) -> Report:
    return bench.bench(tiny_bundle, None, (1, 4), threads=1, runs=3)


def write_clip(path: Path, n: int, rate: int = tinybundle.RATE) -> Path:
    path.write_bytes(tinybundle.wav(tinybundle.clip(3, n), rate))
    return path


def slow_percentile(times: list[float], percent: float) -> float:
    """The value at rank ``percent / 100 * (n - 1)`` of the sorted times, between the neighbours."""
    ranked = sorted(times)
    rank = percent / 100 * (len(ranked) - 1)
    low = math.floor(rank)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (rank - low) * (ranked[high] - ranked[low])


def test_statistics_of_evenly_spaced_times() -> None:
    times = [k / 1000 for k in range(1, 102)]  # 1 to 101 ms
    np.random.default_rng(0).shuffle(times)
    found = timing.latency(times)
    assert found.runs == 101
    assert found.median_ms == pytest.approx(51)
    assert found.p90_ms == pytest.approx(91)
    assert found.p99_ms == pytest.approx(100)
    assert found.min_ms == pytest.approx(1)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 37])
def test_statistics_of_random_times(n: int) -> None:
    times = np.random.default_rng(n).lognormal(-5, 1, n).tolist()
    found = timing.latency(times[: n // 2], times[n // 2 :])  # lists are taken together
    assert found.median_ms == pytest.approx(1000 * slow_percentile(times, 50))
    assert found.p90_ms == pytest.approx(1000 * slow_percentile(times, 90))
    assert found.p99_ms == pytest.approx(1000 * slow_percentile(times, 99))
    assert found.min_ms == pytest.approx(1000 * min(times))


def test_no_times_are_refused() -> None:
    with pytest.raises(ValueError, match="no times"):
        timing.latency([])


def test_a_pass_takes_the_sum_of_medians() -> None:
    assert timing.pass_seconds([[1.0, 9.0, 2.0], [0.5, 0.1, 0.2]]) == pytest.approx(2.2)


def test_a_batch_by_hand() -> None:
    found = measure.batch_of(8, [[0.2, 0.4, 0.1]], window_seconds=5.0)
    assert found.windows == 8
    assert found.latency.median_ms == pytest.approx(200)
    assert found.median_ms_per_window == pytest.approx(25)
    assert found.windows_per_second == pytest.approx(40)
    assert found.audio_seconds_per_second == pytest.approx(200)


def test_tasks_are_run_in_turn_and_timed_one_by_one() -> None:
    now, order, said = [100.0], [], []

    def task(name: str, first: float, step: float) -> Callable[[], object]:
        """Takes ``first`` seconds, and ``step`` more each time."""

        def run() -> None:
            now[0] += first + step * order.count(name)
            order.append(name)

        return run

    def progress(text: str) -> None:
        now[0] += 1000.0  # must be in nobody's time
        said.append(text)

    jobs = [task("a", 1, 0), task("b", 10, 1), task("c", 0.5, 0)]
    times = timing.interleave(jobs, 3, 2, progress, lambda: now[0])
    assert order == ["a", "b", "c"] * 5
    assert times == [[1, 1, 1], [12, 13, 14], [0.5, 0.5, 0.5]]
    assert said == ["warm-up 1 of 2", "warm-up 2 of 2", "run 1/3", "run 2/3", "run 3/3"]


def test_batch_sizes_are_interleaved(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from runtime.encoder import Encoder

    sizes: list[int] = []
    real = Encoder.embed_windows

    def recorded(self: Encoder, batch: np.ndarray, batch_size: int | None = None) -> np.ndarray:
        if batch_size is not None:  # the batch rows give it, Classifier.predict does not
            sizes.append(len(batch))
            assert batch_size == len(batch)
        return real(self, batch, batch_size)

    monkeypatch.setattr(Encoder, "embed_windows", recorded)
    found = bench.bench(tiny_bundle, None, (4, 1, 2, 4), threads=1, runs=3)
    assert sizes == [4, 1, 2] * (measure.WARMUPS + 3)
    assert [batch.windows for batch in found.batches] == [4, 1, 2]


def test_report_of_the_generated_clip(report: Report, tiny_bundle: Path) -> None:
    (clip,) = report.clips
    assert (clip.name, clip.seconds, clip.sample_rate_hz) == ("generated siren.wav", 5.0, 44_100)
    assert clip.windows == 10  # of half a second
    assert clip.bytes == 2 * 5 * 44_100 + 44
    assert [(stage.name, stage.latency.runs) for stage in report.stages] == [
        ("decode", 3),
        ("resample", 3),
        ("lookup", 3),
        ("lookup", 3),
        ("check bundle", 3),
        ("load audio", 3),
        ("load text", 3),
        ("text", 3),
    ]
    for latency in (
        report.end_to_end.latency,
        *(stage.latency for stage in report.stages),
        *(batch.latency for batch in report.batches),
    ):
        assert 0 < latency.min_ms <= latency.median_ms <= latency.p90_ms <= latency.p99_ms
    end = report.end_to_end
    assert end.clips_per_second == pytest.approx(1000 / end.latency.median_ms)
    assert end.audio_seconds_per_second == pytest.approx(5 * end.clips_per_second)
    files = {path.name: path.stat().st_size for path in tiny_bundle.iterdir()}
    assert report.model.file_bytes == files
    assert report.model.window_seconds == 0.5
    assert (report.settings.runs, report.settings.threads) == (3, 1)
    assert report.settings.provider == "cpu"
    memory = report.memory
    assert 1 < memory.before_mib < memory.peak_mib
    assert memory.ready_mib <= memory.peak_mib
    assert memory.current_mib <= memory.peak_mib
    assert report.machine.cores >= 1
    assert report.machine.cpu
    assert report.machine.packages["numpy"] == np.__version__
    assert "onnxruntime" in report.machine.packages


def test_given_clips(tiny_bundle: Path, tmp_path: Path) -> None:
    same = write_clip(tmp_path / "same.wav", 3 * tinybundle.WINDOW)
    other = write_clip(tmp_path / "other.wav", 2205, 22_050)
    found = bench.bench(tiny_bundle, [same, other], (1,), 1, 4)
    assert [(c.name, c.seconds, c.windows) for c in found.clips] == [
        ("same.wav", 1.5, 3),
        ("other.wav", 0.1, 1),
    ]
    runs = {stage.name: stage.latency.runs for stage in found.stages}
    assert found.end_to_end.latency.runs == runs["decode"] == 8
    assert runs["resample"] == 4  # the other one only
    end = found.end_to_end
    assert end.audio_seconds_per_second / end.clips_per_second == pytest.approx(1.6 / 2)


def test_clips_at_the_right_rate_have_no_resampling(tiny_bundle: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.wav", tinybundle.WINDOW)
    found = bench.bench(tiny_bundle, [clip], (1,), 1, 3)
    assert "resample" not in [stage.name for stage in found.stages]


def test_json_round_trip(report: Report) -> None:
    text = json.dumps(schema.to_plain(report), allow_nan=False)
    assert schema.read(Report, json.loads(text), "report.json") == report


def test_markdown_has_every_row(report: Report) -> None:
    text = bench.markdown(report)
    lines = text.splitlines()
    for section in tables.sections(report):
        assert f"## {section.title}" in lines
        at = lines.index("| " + " | ".join(section.columns) + " |")
        body = lines[at + 2 : at + 2 + len(section.rows)]
        assert body == ["| " + " | ".join(row) + " |" for row in section.rows]
        assert lines[at + 1].count("|") == lines[at].count("|") == len(section.columns) + 1
    for stage in report.stages:
        assert (
            f"| {stage.name} | {stage.detail} | 3 | {tables.number(stage.latency.median_ms)} |"
            in text
        )
    for batch in report.batches:
        assert f"\n| {batch.windows} | {tables.number(batch.latency.median_ms)} |" in text
    for fact in (
        report.machine.cpu,
        report.machine.system,
        *report.model.file_bytes,
        *report.machine.packages.values(),
        tables.number(report.memory.peak_mib),
        tables.number(report.end_to_end.clips_per_second),
        "3 runs after 3 warm-ups",
    ):
        assert fact in text


def test_table_has_every_cell_and_takes_names_literally(report: Report) -> None:
    console = pytest.importorskip("rich.console").Console(width=250)
    clip = dataclasses.replace(report.clips[0], name="[red]|odd.wav")
    odd = dataclasses.replace(report, clips=(clip,))
    with console.capture() as captured:
        console.print(bench.table(odd))
    for section in tables.sections(odd):
        for cell in (section.title, *section.columns, *(c for row in section.rows for c in row)):
            assert cell in captured.get()
    assert "| [red]\\|odd.wav |" in bench.markdown(odd)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.00"),
        (0.0123, "0.0123"),
        (0.123, "0.123"),
        (1.234, "1.23"),
        (56.78, "56.8"),
        (123.4, "123"),
        (1234.5, "1,234"),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert tables.number(value) == text


@pytest.mark.parametrize("name", ["plot.png", "plot"])
def test_plot_is_a_png(report: Report, tmp_path: Path, name: str) -> None:
    image = pytest.importorskip("matplotlib.image")
    bench.plot(report, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(tmp_path / name, format="png")
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 1000
    assert 0.005 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.5  # neither blank nor a block


def test_plot_of_one_batch_size(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench.plot(dataclasses.replace(report, batches=report.batches[:1]), tmp_path / "one.png")
    assert (tmp_path / "one.png").stat().st_size > 10_000


@pytest.mark.parametrize("name", ["missing/plot.png", "plot.docx"])
def test_plot_that_cannot_be_written(report: Report, tmp_path: Path, name: str) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ClapError, match="cannot be written"):
        bench.plot(report, tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"batches": (1, 0)}, r"batches=\[1, 0\]: pass sizes of at least 1"),
        ({"batches": ()}, "pass sizes of at least 1"),
        ({"runs": 2}, "runs=2: pass at least 3"),
        ({"clips": [Path("nowhere.wav")]}, "no recording at 'nowhere.wav'"),
        ({"threads": 0}, "threads=0"),
        ({"provider": "abacus"}, "abacus"),
    ],
)
def test_errors_of_the_user(tiny_bundle: Path, changes: dict, said: str) -> None:
    arguments = {"clips": None, "batches": (1,), "threads": 1, "runs": 3, **changes}
    with pytest.raises(ClapError, match=said):
        bench.bench(tiny_bundle, **arguments)


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        bench.bench(tmp_path)


def test_a_file_that_is_no_recording(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(ClapError, match="cannot be decoded"):
        bench.bench(tiny_bundle, [tmp_path / "text.wav"], (1,), 1, 3)


def test_memory_grows_with_what_is_held() -> None:
    before, _ = machine.memory_mib()
    held = np.ones(64 << 20, np.uint8)
    during, peak = machine.memory_mib()
    assert held.nbytes / (1 << 20) == 64
    assert during - before > 50
    assert peak >= during


SCRIPT = """
import sys
for name in ("torch", "torchaudio", "transformers", "onnx"):
    sys.modules[name] = None  # importing it fails
from pathlib import Path
from clap_export import bench
heavy = {"onnxruntime", "soundfile", "soxr", "tokenizers", "rich", "matplotlib", "psutil"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
report = bench.bench(Path(sys.argv[1]), None, (1, 2), 1, 3)
bench.markdown(report)
if sys.argv[2] == "all":
    bench.table(report)
    bench.plot(report, Path(sys.argv[3]))
assert not {"click", "clap_export.cli", "train"} & set(sys.modules)
print("done")
"""


def test_works_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    root = Path(__file__).parent.parent
    with_pictures = all(importlib.util.find_spec(name) for name in ("rich", "matplotlib"))
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT,
            str(tiny_bundle),
            "all" if with_pictures else "text",
            str(tmp_path / "plot.png"),
        ],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
    assert not with_pictures or (tmp_path / "plot.png").stat().st_size > 10_000
