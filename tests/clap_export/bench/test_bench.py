"""The benchmark: statistics, order of the runs, and reports, on the tiny bundle."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clap_export import bench
from clap_export.bench import candidate, machine, measure, rows, tables, timing, worker
from clap_export.bench.candidate import Plan
from clap_export.bench.peers.own import TorchPeer
from clap_export.bench.report import Report
from clap_export.bench.rows import Row
from clap_export.bench.subject import open_subject
from clap_export.checkpoints import load
from clap_export.export.pack import write_bundle
from runtime import schema
from runtime.errors import BundleError, ClapError
from tests import tiny
from tests.clap_export.checkpoints import test_transformers
from tests.places import ROOT
from tests.tiny import bundle as tinybundle


def of(*bundles: Path, **given: Any) -> bench.Request:
    """A request to measure bundles on one thread, quickly."""
    return bench.Request(bundles, **{"threads": (1,), "batches": (1,), "runs": 3, **given})


@pytest.fixture(scope="module")
def report(tiny_bundle: Path) -> Report:
    return bench.bench(of(tiny_bundle, batches=(1, 4)))


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listing")
    for i in range(4):
        (folder / f"{i}.wav").write_bytes(tinybundle.wav(tinybundle.clip(i, 900), tinybundle.RATE))
    rows = "".join(f"{i}.wav,{('rain', 'a bell')[i % 2]}\n" for i in range(4))
    (folder / "list.csv").write_text("path,label\n" + rows)
    return folder / "list.csv"


@pytest.fixture(scope="module")
def side_by_side(
    exported_bundle: Path, listing: Path, tmp_path_factory: pytest.TempPathFactory
) -> Report:
    """A bundle on two engines, beside PyTorch and OpenVINO with the weights it was made from."""
    ckpt = tiny.save(tmp_path_factory.mktemp("ckpt") / "m.safetensors")
    request = of(
        exported_bundle, providers=("cpu", "openvino"),
        peers=bench.Peers(("torch", "openvino"), ckpt), batches=(1, 3), runs=4, listing=listing,
    )  # fmt: skip
    return bench.bench(request)


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


def test_a_cosine_is_of_directions_alone() -> None:
    x, y = np.float32([3, 4, 0]), np.float32([0, 0.008, 0.006])
    assert measure.cosine(x, 1.003 * x) == pytest.approx(1, abs=1e-7)
    assert measure.cosine(x, y) == pytest.approx(0.64, abs=1e-7)


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


def test_rows_are_timed_one_after_the_other() -> None:
    """Each as often as asked; of one row, its parts take turns."""
    order: list[str] = []

    def parts(names: str) -> tuple[Callable[[], None], ...]:
        return tuple(lambda n=name: order.append(n) for name in names)

    found = worker._time([Row("one", "", parts("a")), Row("two", "x", parts("bc"))], 2, 1)
    assert "".join(order) == "aaabcbcbc"
    assert [(name, detail, [len(t) for t in times]) for name, detail, times in found] == [
        ("one", "", [2]), ("two", "x", [2, 2])
    ]  # fmt: skip


def test_a_rest_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now, slept = [5.0], []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    def work() -> None:
        now[0] += 0.25

    monkeypatch.setattr(rows.time, "sleep", sleep)
    monkeypatch.setattr(rows.time, "perf_counter", lambda: now[0])
    (row,) = rows.rested_rows((work,), 3.0)
    assert row.detail == "file to scores after 3 s without work"
    assert row.tasks[0]() == 0.25
    assert isinstance(row.tasks[0](), timing.OwnSeconds)
    assert slept == [3.0, 3.0]
    assert rows.rested_rows((work,), None) == []


def test_a_stream_of_many_files_is_run_once_a_round(tiny_bundle: Path) -> None:
    report = bench.bench(of(tiny_bundle, batches=(1,), runs=6, files=120))
    (one,) = report.candidates
    assert one.folder is not None
    assert (one.folder.files, one.folder.latency.runs, one.folder.encoder.runs) == (120, 3, 3)
    assert one.end_to_end.latency.runs == 6
    (shown,) = (x for x in tables.sections(report) if x.title == "Many files in a stream")
    assert shown.rows[0][:3] == ("120", "4", "3")


def test_a_peer_takes_its_files_in_batches() -> None:
    calls: list[tuple[str, list[str]]] = []
    clips = Path("a.wav"), Path("b.wav"), Path("c.wav")
    peer = TorchPeer.__new__(TorchPeer)
    peer._plan = Plan(clips, (1,), files=10)
    files, size, (stream, encoder) = peer.in_batches(
        lambda path: calls.append(("load", [path.stem])) or path.stem,
        lambda clips: calls.append(("scores", list(clips))),
        lambda clips: calls.append(("embed", list(clips))),
    )
    assert (files, size) == (10, 4)
    batches = [["a", "b", "c", "a"], ["b", "c", "a", "b"], ["c", "a"]]
    calls.clear()
    stream.tasks[0]()
    loaded = [[("load", [name]) for name in batch] for batch in batches]
    assert calls == [
        *loaded[0], ("scores", batches[0]), *loaded[1], ("scores", batches[1]),
        *loaded[2], ("scores", batches[2]),
    ]  # fmt: skip
    calls.clear()
    encoder.tasks[0]()
    assert calls == [("embed", batch) for batch in batches]


@pytest.mark.parametrize("rest", [0.0, -1.0, 61.0, math.nan])
def test_an_impossible_rest_is_refused(tiny_bundle: Path, rest: float) -> None:
    with pytest.raises(ClapError, match=r"rest=.*: pass seconds, above 0 and up to 60\."):
        bench.bench(of(tiny_bundle, rest=rest))


def test_candidates_work_one_at_a_time_in_rounds(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int | None, tuple[object, ...]]] = []
    real = worker.Worker.ask

    def recorded(self: worker.Worker, method: str, *given: object) -> object:
        asked.append((method, names.setdefault(id(self), len(names)), given))
        return real(self, method, *given)

    names: dict[int, int] = {}
    monkeypatch.setattr(worker.Worker, "ask", recorded)
    report = bench.bench(of(tiny_bundle, tiny_bundle, batches=(2, 1, 2), runs=7))
    rounds = [(who, given) for method, who, given in asked if method == "round"]
    assert rounds == [
        (0, (3, 3)), (1, (3, 3)),  # the first with three warm-ups
        (0, (2, 1)), (1, (2, 1)),
        (0, (2, 1)), (1, (2, 1)),
    ]  # fmt: skip
    for one in report.candidates:
        assert [batch.windows for batch in one.batches] == [2, 1]
        assert one.end_to_end.latency.runs == 7
    assert len({one.name for one in report.candidates}) == 2


def test_what_differs_is_in_the_names(side_by_side: Report) -> None:
    names = [one.name for one in side_by_side.candidates]
    engines = ["ONNX Runtime", "OpenVINO", "torch", "torch and openvino"]
    for name, engine in zip(names, engines, strict=True):
        # OpenVINO's own precision depends on the CPU: only where it differs is it told.
        assert name.removeprefix("FP32, ").removeprefix("BF16, ") == f"{engine}, 1 thread"


def test_peers_give_the_embeddings_of_the_bundle(side_by_side: Report) -> None:
    first, openvino, torch, converted = side_by_side.candidates
    assert first.cosine == pytest.approx(1, abs=1e-6)
    for one in (openvino, torch):
        assert one.cosine == pytest.approx(1, abs=1e-5)
    assert converted.cosine is not None
    assert converted.cosine > 0.99  # bfloat16, where the CPU has it
    assert torch.model.space_id == first.model.space_id
    assert first.folder is not None
    assert torch.folder is not None
    assert torch.folder.files == first.folder.files == 16
    assert [stage.name for stage in torch.stages] == ["decode", "resample", "frontend"]
    accuracies = {one.accuracy for one in (first, openvino, torch)}
    assert len(accuracies) == 1
    (accuracy,) = accuracies
    assert accuracy is not None
    assert (accuracy.clips, accuracy.labels, accuracy.top5) == (4, 2, 1.0)
    assert side_by_side.settings.listing == "list.csv"


def test_embeddings_of_other_spaces_are_not_compared(
    tiny_bundle: Path, exported_bundle: Path
) -> None:
    report = bench.bench(of(tiny_bundle, exported_bundle))
    assert [one.cosine is None for one in report.candidates] == [False, True]


@pytest.mark.slow
def test_what_people_make_of_transformers(tmp_path: Path) -> None:
    folder = tmp_path / "clap"
    test_transformers.save(folder)
    bundle = tmp_path / "bundle"
    write_bundle(load(folder), bundle)
    clip = write_clip(tmp_path / "clip.wav", 20_000)  # a longer one would be cropped at random
    given = (
        "transformers", "transformers-bf16", "transformers-compile", "transformers-openvino",
        "transformers-int8", "plain",
    )  # fmt: skip
    peers = bench.Peers(given, folder)
    report = bench.bench(of(bundle, peers=peers, clips=(clip,), batches=(1, 2)))
    found = dict(zip(("ours", "best", "pipeline", *given[1:]), report.candidates, strict=True))
    assert [one.engine for one in found.values()] == [
        "cpu", "transformers", "transformers, its pipeline", "transformers",
        "transformers, torch.compile", "transformers and openvino", "transformers, exported",
        "numpy mel and plain ONNX",
    ]  # fmt: skip
    for name, one in found.items():
        assert [batch.windows for batch in one.batches] == ([] if name == "pipeline" else [1, 2])
        assert one.accuracy is None
        assert (one.folder is None) == (name == "pipeline")
    # Of the same weights: what is in float32 agrees to rounding, the others to their precision.
    for name in ("best", "pipeline", "plain"):
        assert found[name].cosine == pytest.approx(1, abs=1e-4)
    for name in ("transformers-bf16", "transformers-compile", "transformers-openvino"):
        assert found[name].model.audio_precision in ("fp32", "bf16")
        assert found[name].cosine == pytest.approx(1, abs=0.01)
    int8 = found["transformers-int8"]
    assert (int8.model.audio_precision, list(int8.model.file_bytes)) == ("int8", ["int8.onnx"])
    assert int8.cosine == pytest.approx(1, abs=0.1)
    assert found["pipeline"].stages == ()
    assert bench.markdown(report).count("transformers, its pipeline") >= 3


def test_peers_need_a_checkpoint(tiny_bundle: Path, exported_bundle: Path) -> None:
    with pytest.raises(ClapError, match="give them with --ckpt"):
        bench.candidates(of(tiny_bundle, peers=bench.Peers(("torch",))))
    with pytest.raises(
        ClapError,
        match=r"--against jax: on --device cpu, choose from torch, transformers, transformers-bf16",
    ):
        bench.candidates(of(tiny_bundle, peers=bench.Peers(("jax",), tiny_bundle)))
    with pytest.raises(ClapError, match="at least one bundle"):
        bench.candidates(of())
    with pytest.raises(ClapError, match="no ClapModel that it can load"):
        bench.bench(of(exported_bundle, peers=bench.Peers(("transformers",), exported_bundle)))


def test_without_a_compiler_that_is_said(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "none"))
    peer = candidate.Candidate("transformers-compile", tiny_bundle)
    with pytest.raises(ClapError, match=r"--against transformers-compile: .* needs a C\+\+ compil"):
        open_subject(peer, candidate.Plan((), (1,)))


def test_a_process_that_dies_is_said(tiny_bundle: Path) -> None:
    with worker.Worker(bench.candidates(of(tiny_bundle))[0], candidate.Plan((), (1,))) as made:
        with pytest.raises(RuntimeError, match="AttributeError"):
            made.ask("no such method")
        made._child.kill()
        with pytest.raises(RuntimeError, match="ended with exit code -9"):
            made.ask("memory")


def test_report_of_the_generated_clip(report: Report, tiny_bundle: Path) -> None:
    (clip,) = report.clips
    assert (clip.name, clip.seconds, clip.sample_rate_hz) == ("generated siren.wav", 5.0, 44_100)
    assert clip.bytes == 2 * 5 * 44_100 + 44
    (one,) = report.candidates
    assert one.name == f"{one.model.name}, FP32, ONNX Runtime, 1 thread"
    assert [(stage.name, stage.latency.runs) for stage in one.stages] == [
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
        one.end_to_end.latency,
        *(stage.latency for stage in one.stages),
        *(batch.latency for batch in one.batches),
    ):
        assert 0 < latency.min_ms <= latency.median_ms <= latency.p90_ms <= latency.p99_ms
    end = one.end_to_end
    assert end.clips_per_second == pytest.approx(1000 / end.latency.median_ms)
    assert end.audio_seconds_per_second == pytest.approx(5 * end.clips_per_second)
    files = {path.name: path.stat().st_size for path in tiny_bundle.iterdir()}
    assert one.model.file_bytes == files
    assert one.model.window_seconds == 0.5
    assert (report.settings.runs, one.threads, one.engine) == (3, 1, "cpu")
    assert one.cosine == pytest.approx(1, abs=1e-6)  # to itself
    assert one.folder is not None
    folder = one.folder
    assert folder.share == pytest.approx(folder.encoder.median_ms / folder.latency.median_ms)
    assert folder.latency.runs == folder.encoder.runs == 3
    memory = one.memory
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
    report = bench.bench(of(tiny_bundle, clips=(same, other), runs=4, rest=0.01))
    assert [(c.name, c.seconds) for c in report.clips] == [("same.wav", 1.5), ("other.wav", 0.1)]
    (found,) = report.candidates
    runs = {stage.name: stage.latency.runs for stage in found.stages}
    assert found.end_to_end.latency.runs == runs["decode"] == runs["rested"] == 8
    assert runs["resample"] == 4  # the other one only
    end = found.end_to_end
    assert end.audio_seconds_per_second / end.clips_per_second == pytest.approx(1.6 / 2)


def test_clips_at_the_right_rate_have_no_resampling(tiny_bundle: Path, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.wav", tinybundle.WINDOW)
    (found,) = bench.bench(of(tiny_bundle, clips=(clip,))).candidates
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
    (one,) = report.candidates
    for stage in one.stages:
        assert (
            f"| {stage.name} | {stage.detail} | 3 | {tables.number(stage.latency.median_ms)} |"
            in text
        )
    for batch in one.batches:
        assert f"\n| {batch.windows} | {tables.number(batch.latency.median_ms)} |" in text
    for fact in (
        report.machine.cpu,
        report.machine.system,
        *report.machine.packages.values(),
        tables.number(one.memory.peak_mib),
        tables.number(one.end_to_end.clips_per_second),
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


@pytest.mark.parametrize(("name", "several"), [("plot.png", False), ("plot", True)])
def test_plot_is_a_png(
    report: Report, side_by_side: Report, tmp_path: Path, name: str, several: bool
) -> None:
    image = pytest.importorskip("matplotlib.image")
    bench.plot(side_by_side if several else report, tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = image.imread(tmp_path / name, format="png")
    assert pixels.shape[0] > 400
    assert pixels.shape[1] > 1000
    assert 0.005 < (pixels[..., :3].min(axis=2) < 0.9).mean() < 0.5  # neither blank nor a block


def test_plot_of_one_batch_size(report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (found,) = report.candidates
    found = dataclasses.replace(found, batches=found.batches[:1])
    bench.plot(dataclasses.replace(report, candidates=(found,)), tmp_path / "one.png")
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
        ({"files": 0}, "files=0: pass a number from 1 to 100,000"),
        ({"clips": (Path("nowhere.wav"),)}, "no recording at 'nowhere.wav'"),
        ({"threads": (0,)}, "threads=0"),
        ({"providers": ("abacus",)}, "abacus"),
    ],
)
def test_errors_of_the_user(tiny_bundle: Path, changes: dict, said: str) -> None:
    with pytest.raises(ClapError, match=said):
        bench.bench(of(tiny_bundle, **changes))


def test_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        bench.bench(of(tmp_path))


def test_a_file_that_is_no_recording(tiny_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(ClapError, match="cannot be decoded"):
        bench.bench(of(tiny_bundle, clips=(tmp_path / "text.wav",)))


def test_memory_grows_with_what_is_held() -> None:
    before, _ = machine.memory_mib()
    held = np.ones(64 << 20, np.uint8)
    during, peak = machine.memory_mib()
    assert held.nbytes / (1 << 20) == 64
    assert during - before > 50
    assert peak >= during


SCRIPT = """
import sys
from pathlib import Path
from clap_export import bench
heavy = {"onnxruntime", "soundfile", "soxr", "tokenizers", "rich", "matplotlib", "psutil"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
if __name__ == "__main__":
    request = bench.Request((Path(sys.argv[1]),), threads=(1,), batches=(1, 2), runs=3)
    report = bench.bench(request)
    bench.markdown(report)
    bench.table(report)
    bench.plot(report, Path(sys.argv[2]))
    assert not {"click", "clap_export.cli", "train"} & set(sys.modules)
    print("done")
"""


def test_works_without_torch(tiny_bundle: Path, tmp_path: Path) -> None:
    root = ROOT
    for name in ("torch", "torchaudio", "transformers", "onnx"):  # found first, in every process
        (tmp_path / f"{name}.py").write_text("raise ImportError('there is none')")
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, tmp_path / "script.py", tiny_bundle, tmp_path / "plot.png"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
    assert (tmp_path / "plot.png").stat().st_size > 10_000
