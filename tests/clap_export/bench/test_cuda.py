"""The benchmark of a GPU, as far as it goes without one: a fake driver, made reports."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from clap_export import bench
from clap_export.bench import floor, gpu, tables, timing, worker
from clap_export.bench.bundles import BundleSubject
from clap_export.bench.candidate import Candidate, Device, Plan
from clap_export.bench.report import Ceilings, Gpu, Report
from clap_export.cli import main
from runtime import schema
from runtime.backends.cuda import driver
from runtime.errors import ClapError, SchemaError
from tests.fakes.cuda import FakeCuda
from tests.tiny import bundle as tinybundle
from tests.tiny import engines as trtbundle

GPU = Gpu("NVIDIA H200", "9.0", "13.0", 143_771.0)


@pytest.fixture
def engine_bundle(tmp_path: Path) -> Path:
    return trtbundle.build(tmp_path / "engines")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    cuda = FakeCuda()
    trtbundle.install(monkeypatch, cuda)
    return cuda


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    path.write_bytes(tinybundle.wav(tinybundle.clip(3, tinybundle.WINDOW), tinybundle.RATE))
    return path


@pytest.fixture(scope="module")
def cpu_report(tiny_bundle: Path) -> Report:
    return bench.bench(bench.Request((tiny_bundle,), threads=(1,), batches=(1, 4), runs=3))


@pytest.fixture(scope="module")
def gpu_report(cpu_report: Report) -> Report:
    """What two engines on a GPU would give: FP32 of 10 ms a batch, FP16 of 4."""
    (one,) = cpu_report.candidates

    def made(name: str, precision: str, milliseconds: float) -> Any:
        model = dataclasses.replace(
            one.model, audio_precision=precision, sample_rate_hz=50_000, window_seconds=10.0,
            encoder_gflop=12.0 if precision == "fp16" else None,
        )  # fmt: skip
        times = timing.latency([milliseconds / 1000] * 3)
        batches = tuple(
            dataclasses.replace(
                batch, latency=times, millijoules_per_window=1.5 if precision == "fp16" else None
            )
            for batch in one.batches
        )
        return dataclasses.replace(
            one, name=name, engine="tensorrt", model=model, batches=batches,
            memory=dataclasses.replace(one.memory, gpu_mib=321.0),
        )  # fmt: skip

    return dataclasses.replace(
        cpu_report,
        settings=dataclasses.replace(cpu_report.settings, device="cuda"),
        candidates=(made("FP32", "fp32", 10.0), made("FP16", "fp16", 4.0)),
        machine=dataclasses.replace(cpu_report.machine, gpu=GPU),
        ceilings=Ceilings(50.0, 40.0, 600.0, 60.0),
    )


# -- what is measured --


def test_on_cuda_bundles_run_their_engines_or_else_onnx_runtime(
    tiny_bundle: Path, engine_bundle: Path
) -> None:
    found = bench.candidates(bench.Request((tiny_bundle, engine_bundle), device="cuda"))
    assert [(one.path, one.provider) for one in found] == [
        (tiny_bundle, "cuda"), (engine_bundle, "tensorrt")
    ]  # fmt: skip
    assert all(one.on_gpu and one.device == "cuda" for one in found)


def test_named_providers_are_obeyed(tiny_bundle: Path, engine_bundle: Path) -> None:
    request = bench.Request(
        (engine_bundle, tiny_bundle), ("cpu", "tensorrt"), device="cuda",
        tensorrt_python=Path("python3.10"),
    )  # fmt: skip
    found = bench.candidates(request)
    assert [(one.provider, one.python, one.on_gpu) for one in found] == [
        ("cpu", None, False), ("tensorrt", Path("python3.10"), True),
    ] * 2  # fmt: skip


def test_peers_of_a_gpu(tiny_bundle: Path) -> None:
    def against(device: Device, *names: str) -> list[Candidate]:
        peers = bench.Peers(names, tiny_bundle)
        return bench.candidates(bench.Request((tiny_bundle,), peers=peers, device=device))

    found = against("cuda", "torch", "torch-compile", "transformers")
    kinds = [one.kind for one in found]
    assert kinds == ["bundle", "torch", "torch-compile", "transformers"]
    assert all(one.on_gpu for one in found)
    with pytest.raises(ClapError, match="--against openvino: on --device cuda, choose from torch,"):
        against("cuda", "openvino")
    with pytest.raises(ClapError, match="--against torch-compile: on --device cpu, choose from"):
        against("cpu", "torch-compile")


def test_without_a_gpu_the_command_says_so_and_exits_2(
    tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    none = FakeCuda(devices=0)
    monkeypatch.setattr(driver, "bindings", lambda: driver.started(none))
    done = CliRunner().invoke(main, ["bench", str(tiny_bundle), "--device", "cuda"])
    assert done.exit_code == 2
    assert "CUDA_ERROR_NO_DEVICE" in done.output
    assert "there is no NVIDIA GPU" in done.output
    assert "Traceback" not in done.output


# -- times and counters --


def test_times_of_the_gpus_events_stand_instead_of_the_hosts() -> None:
    now = [0.0]

    def task() -> object:
        now[0] += 7.0
        return timing.OwnSeconds(0.25)

    def plain() -> object:
        now[0] += 7.0
        return 0.25  # a number that is no time

    times = timing.interleave([task, plain], 2, 1, clock=lambda: now[0])
    assert times == [[0.25, 0.25], [7.0, 7.0]]


def test_an_engine_has_rows_of_its_copies_and_its_computing(
    engine_bundle: Path, fake: FakeCuda, clip: Path
) -> None:
    sizes = (1, 3, trtbundle.MAX_BATCH, 2 * trtbundle.MAX_BATCH)
    subject = BundleSubject(
        Candidate("bundle", engine_bundle, "tensorrt", "cuda"), Plan((clip,), sizes)
    )
    rows = [row for row in subject.stages() if row.detail.endswith("GPU time")]
    assert [(row.name, row.detail) for row in rows] == [
        (name, f"batch {size}, GPU time")
        for size in sizes[:3]  # the last one is split: it is no single run
        for name in ("copy in", "compute", "copy out")
    ]
    for row in rows:
        (task,) = row.tasks
        task()
        found = task()
        # The fake GPU copies in 1 ms and computes in 5; embedding and norm are copied out.
        assert isinstance(found, timing.OwnSeconds)
        wanted = {"copy in": 0.001, "compute": 0.005, "copy out": 0.002}[row.name]
        assert found == pytest.approx(wanted, abs=1e-4)
    others = {row.name: row for row in subject.stages()}
    others["scores"].tasks[0]()
    assert np.shape(others["int16"].tasks[0]()) == (sizes[-1], tinybundle.DIM)
    for row in subject.batches():  # beyond the engine's largest as well
        row.tasks[0]()


def test_a_process_counts_the_gpus_memory(engine_bundle: Path, fake: FakeCuda, clip: Path) -> None:
    candidate = Candidate("bundle", engine_bundle, "tensorrt", "cuda")
    one = worker.Bench(candidate, Plan((clip,), (1, 4)))
    _, engine = one.open()
    one.prepare()
    one.round(1, 0)
    used = sum(len(block) for block in fake.device_memory.values())
    assert engine == "tensorrt"
    assert used > 0
    assert one.memory().gpu_mib == pytest.approx(used / (1 << 20))
    assert one.energy(0) == [None, None]  # this GPU has no NVML


def test_a_process_on_the_cpu_counts_none(tiny_bundle: Path, clip: Path) -> None:
    one = worker.Bench(Candidate("bundle", tiny_bundle, "cpu", "cuda"), Plan((clip,), (1,)))
    one.open()
    one.prepare()
    assert one.memory().gpu_mib is None
    assert one.energy(0) == [None]


class Nvml:
    """Counts 50 mJ between one question and the next."""

    def __init__(self) -> None:
        self.energy = 1000

    def init_v2(self) -> None: ...

    def device_get_handle_by_pci_bus_id_v2(self, name: str) -> str:
        return f"handle of {name}"

    def device_get_memory_info_v2(self, handle: str) -> Any:
        assert handle == "handle of 0000:0a:00.0"
        return SimpleNamespace(used=300 << 20)

    def device_get_total_energy_consumption(self, handle: str) -> int:
        self.energy += 50
        return self.energy


class BusCuda(FakeCuda):
    def cuDeviceGetPCIBusId(self, length: int, device: int) -> Any:
        return 0, b"0000:0a:00.0".ljust(length, b"\0")


def test_a_meter_asks_nvml_for_the_same_gpu() -> None:
    meter = gpu.Meter(driver=driver.Driver(0, BusCuda()), nvml=Nvml())
    assert meter.used_mib() == 300
    assert meter.millijoules() == 1050
    assert meter.gpu() == Gpu("Fake GPU", "9.0", "13.0", 1024.0)


def test_a_meter_does_without_nvml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings.nvml", None)
    cuda = BusCuda(memory=1 << 30)
    made = driver.Driver(0, cuda)
    meter = gpu.Meter(driver=made)
    made.enter()
    cuda.cuMemAlloc(32 << 20)
    assert meter.used_mib() == 32
    assert meter.millijoules() is None


def test_energy_is_that_of_one_run(tiny_bundle: Path, clip: Path) -> None:
    one = worker.Bench(Candidate("bundle", tiny_bundle), Plan((clip,), (1, 2)))
    one.open()
    one.prepare()
    one._meter = gpu.Meter(driver=driver.Driver(0, BusCuda()), nvml=Nvml())
    assert one.energy(0) == [50.0, 50.0]


# -- the report --


def test_reports_of_a_gpu_are_read_back(gpu_report: Report) -> None:
    text = json.dumps(schema.to_plain(gpu_report), allow_nan=False)
    assert schema.read(Report, json.loads(text), "report.json") == gpu_report


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format_version=2), "'format_version' is 2, must be one of 3"),
        (lambda d: d.pop("ceilings"), "missing key 'ceilings'"),
        (lambda d: d["machine"]["gpu"].update(watts=700), "unknown key 'machine.gpu.watts'"),
        (lambda d: d["settings"].update(device="npu"), "'settings.device' is 'npu'"),
    ],
)
def test_other_formats_are_refused(
    gpu_report: Report, change: Callable[[dict], object], said: str
) -> None:
    plain = schema.to_plain(gpu_report)
    change(plain)
    with pytest.raises(SchemaError, match=said):
        schema.read(Report, plain, "report.json")


def test_floors_by_hand(gpu_report: Report) -> None:
    full, half = gpu_report.candidates
    limits = Ceilings(50.0, 40.0, 600.0, 60.0)
    # 4 windows of 12 GFLOP at 60 or 600 TFLOP/s; of 500,000 samples, 2 MB each, at 50 GB/s.
    assert floor.floors_ms(full, 4, 12.0, limits) == pytest.approx((0.8, 0.16))
    assert floor.floors_ms(half, 4, 12.0, limits) == pytest.approx((0.08, 0.16))


def test_operations_are_those_of_the_same_space(gpu_report: Report) -> None:
    full, half = gpu_report.candidates
    assert floor.gflop(full, gpu_report.candidates) == 12.0
    model = dataclasses.replace(full.model, space_id="another")
    other = dataclasses.replace(full, model=model)
    assert floor.gflop(other, (other, half)) is None


def test_tables_of_a_gpu(gpu_report: Report) -> None:
    found = {section.title: section for section in tables.sections(gpu_report)}
    batches = found["Batches of windows in memory to embeddings"]
    assert batches.columns[-1] == "mJ/window"
    assert [row[-1] for row in batches.rows] == ["", "", "1.50", "1.50"]
    memory = found["Memory (resident set) and disk, MiB"]
    assert memory.columns[-1] == "GPU"
    assert [row[-1] for row in memory.rows] == ["321", "321"]
    floors = found["Batches beside what the GPU can do"]
    assert [row[:3] for row in floors.rows] == [
        ("FP32", "1", "10.0"), ("FP32", "4", "10.0"), ("FP16", "1", "4.00"), ("FP16", "4", "4.00")
    ]  # fmt: skip
    # FP32, batch 4: 0.8 of 10 ms; FP16, batch 4: the copy's 0.16 of 4 ms.
    assert [row[-1] for row in floors.rows] == ["2 %", "8 %", "1 %", "4 %"]
    assert "600 TFLOP/s in FP16" in floors.note
    assert dict(found["Measured on"].rows)["GPU"].startswith("NVIDIA H200, 140 GiB")
    assert all(len(row) == len(s.columns) for s in found.values() for row in s.rows)


def test_tables_of_a_cpu_have_none_of_it(cpu_report: Report) -> None:
    text = bench.markdown(cpu_report)
    assert "GPU" not in text
    assert "mJ" not in text


def test_plot_of_a_gpu(gpu_report: Report, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    bench.plot(gpu_report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
