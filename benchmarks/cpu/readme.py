"""Write the tables of README and docs from the committed reports: python benchmarks/cpu/readme.py

Each stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; a test holds the pages against them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from clap_export.bench import Report
from clap_export.bench.report import Latency, Measured
from clap_export.bench.tables import MIB, number
from runtime import schema

HERE = Path(__file__).parent
ENGINES = {"cpu": "ONNX Runtime", "openvino": "OpenVINO"}
# What one has with transformers and no code of ours, in words.
THEIRS = {
    "transformers": "", "transformers, torch.compile": " with torch.compile",
    "transformers and openvino": " through OpenVINO", "transformers, exported": " exported",
}  # fmt: skip
ROOT = HERE.parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))


def report(name: str) -> Report:
    """A committed report."""
    text = (HERE / f"{name}.json").read_text(encoding="utf-8")
    return schema.read(Report, json.loads(text), name)


def script_report(name: str) -> dict[str, Any]:
    """A committed report of a script beside this one."""
    return json.loads((HERE / f"{name}.json").read_text(encoding="utf-8"))


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def crossed(corner: str, cells: Iterable[tuple[str, str, str]]) -> str:
    """A table of cells, each with the names of its row and its column, in the order they come."""
    rows: dict[str, dict[str, str]] = {}
    for row, column, text in cells:
        rows.setdefault(row, {})[column] = text
    columns = next(iter(rows.values()))
    return table((corner, *columns), ((row, *each.values()) for row, each in rows.items()))


def peers() -> str:
    """HTSAT-tiny beside the peers; transformers in FP32 is 1."""
    found = report("htsat-tiny").candidates
    plain = _transformers(found)[0]
    rows = []
    for one in filter(_as_it_is_called, found):
        time = one.end_to_end.latency
        rows.append((
            _called(one), f"{time.median_ms:.1f} ms", f"{time.p90_ms:.1f} ms", _rested(one),
            f"{plain.end_to_end.latency.median_ms / time.median_ms:.2f}",
            "" if one.cosine is None else f"{one.cosine:.6f}",
            f"{sum(one.model.file_bytes.values()) / MIB:,.0f} MiB",
            f"{one.memory.ready_mib:,.0f} MiB",
        ))  # fmt: skip
    head = (
        "file to 50 label scores", "median", "p90", "after 1 s of rest", "times as quick", "cosine",
        "disk", "RSS",
    )  # fmt: skip
    return table(head, rows)


def _called(one: Measured) -> str:
    """A row's name: whose it is, its precision, and what runs it."""
    name = f"{one.model.audio_precision.upper()}, {one.name.split(', ', 1)[1]}"
    return f"ours, {name}" if one.engine in ENGINES else name


def _rested(one: Measured) -> str:
    (found,) = (stage.latency for stage in one.stages if stage.name == "rested")
    return f"{found.median_ms:.0f} ms"


def speed() -> str:
    """The few rows of it that a reader wants first."""
    found = report("htsat-tiny").candidates
    plain, *others = _transformers(found)
    shown = {"transformers 5.23": plain}
    if others:
        best = min(others, key=lambda one: one.end_to_end.latency.median_ms)
        how = best.model.audio_precision.upper() + THEIRS[best.engine]
        shown[f"transformers 5.23 at its best: {how}"] = best
    shown |= {
        "clap-export, FP32 on ONNX Runtime": _ours(found, "fp32", "cpu"),
        "clap-export, FP32 on OpenVINO": _ours(found, "fp32", "openvino"),
        **_where_measured(found, "clap-export, BF16 on OpenVINO", "bf16"),
        "clap-export, INT8 on OpenVINO": _ours(found, "int8", "openvino"),
    }
    rows = []
    for name, one in shown.items():
        median = one.end_to_end.latency.median_ms
        rows.append((
            name, f"{median:.0f} ms", f"{plain.end_to_end.latency.median_ms / median:.1f} x",
            f"{sum(one.model.file_bytes.values()) / MIB:,.0f} MiB",
            f"{one.memory.ready_mib:,.0f} MiB",
        ))  # fmt: skip
    return table(("", "median", "speed", "on disk", "memory"), rows)


def _as_it_is_called(one: Measured) -> bool:
    """Not what an engine without bfloat16 makes of such a bundle, which is FP32's row again."""
    return " for " not in one.model.audio_precision


def _transformers(found: Sequence[Measured]) -> list[Measured]:
    """What one has without code of ours, FP32 without more first."""
    return [one for one in found if one.engine in THEIRS]


def _where_measured(found: Sequence[Measured], name: str, precision: str) -> dict[str, Measured]:
    """Ours on OpenVINO under that name; nothing where the report has no such row: a CPU without
    bfloat16 runs such a bundle in FP32."""
    if all(one.model.audio_precision != precision for one in found if one.engine == "openvino"):
        return {}
    return {name: _ours(found, precision, "openvino")}


def _ours(found: Sequence[Measured], precision: str, engine: str) -> Measured:
    return next(
        one for one in found if (one.model.audio_precision, one.engine) == (precision, engine)
    )


def mini() -> str:
    """clap-mini's stages."""
    one = _ours(report("clap-mini").candidates, "fp32", "cpu")
    stages: dict[str, Latency] = {}
    for stage in one.stages:
        stages.setdefault(stage.name, stage.latency)  # the first lookup is that of 50 labels
    batches = {batch.windows: batch.latency for batch in one.batches}
    rows = {
        "one 5 s, 44.1 kHz WAV on disk to ranked predictions": one.end_to_end.latency,
        "of which decode": stages["decode"],
        "of which resample to 24 kHz": stages["resample"],
        "of which frontend and audio encoder": batches[1],
        "of which scores and ranking, 50 labels": stages["lookup"],
        **{f"frontend and encoder, batch {n}": t for n, t in batches.items() if n > 1},
        "embedding 50 labels, once": stages["text"],
        "loading: audio graph": stages["load audio"],
        "loading: text graph and tokenizer": stages["load text"],
    }
    shown = [(k, f"{number(t.median_ms)} ms", f"{number(t.p90_ms)} ms") for k, t in rows.items()]
    return table(("what", "median", "p90"), shown)


def precisions(name: str) -> str:
    """Windows in memory to embeddings, in each precision on each engine."""
    rows = []
    for one in filter(_as_it_is_called, report(name).candidates):
        if one.engine in ENGINES:
            each = (f"{b.latency.median_ms / b.windows:.2f}" for b in one.batches)
            apart = "" if one.cosine is None else f"{max(0.0, 1 - one.cosine):.1e}"
            rows.append((
                f"{one.model.audio_precision.upper()}, {ENGINES[one.engine]}", *each, apart
            ))  # fmt: skip
    sizes = (f"batch {batch.windows}" for batch in report(name).candidates[0].batches)
    return table(("ms a window", *sizes, "1 - cosine"), rows)


def accuracy() -> str:
    """clap-mini's precisions on labelled recordings."""
    rows = []
    for one in report("accuracy").candidates:
        assert one.accuracy is not None
        rows.append((
            one.name, f"{100 * one.accuracy.top1:.1f} %",
            f"{100 * one.accuracy.mean_average_precision:.1f} %",
            "" if one.cosine is None else f"{one.cosine:.6f}",
            f"{one.end_to_end.latency.median_ms:.2f} ms",
            f"{sum(one.model.file_bytes.values()) / MIB:,.0f} MiB",
        ))  # fmt: skip
    return table(("clap-mini as", "top 1", "mAP", "cosine", "file to scores", "disk"), rows)


def models() -> str:
    """Checkpoints of one course of training on labelled recordings."""
    rows = []
    for one in report("models").candidates:
        assert one.accuracy is not None
        low, high = one.accuracy.interval
        rows.append((
            one.name, f"{100 * one.accuracy.top1:.1f} % ({100 * low:.1f}-{100 * high:.1f})",
            f"{100 * one.accuracy.mean_average_precision:.1f} %",
            f"{one.end_to_end.latency.median_ms:.1f} ms",
            f"{sum(one.model.file_bytes.values()) / MIB:,.0f} MiB",
        ))  # fmt: skip
    return table(("model", "top 1", "mAP", "file to scores", "disk"), rows)


def install() -> str:
    """The runtime and transformers."""
    stacks = script_report("install")["stacks"]
    rows = [
        (name, str(one["distributions"]), f"{one['bytes'] / MIB:,.0f} MiB",
         f"{one['import_seconds']:.2f} s")
        for name, one in stacks.items()
    ]  # fmt: skip
    return table(("to run a CLAP", "packages", "on disk", "import"), rows)


def start() -> str:
    """From the start of a process to its first result."""
    found = script_report("start")["cases"]
    ways = (("before", False), ("this", False), ("this", True))
    rows = []
    for model, labels, cold in dict.fromkeys((o["model"], o["labels"], o["cold"]) for o in found):
        times = {
            (one["code"], one["kept"]): one["median_ms"] for one in found
            if (one["model"], one["labels"], one["cold"]) == (model, labels, cold)
        }  # fmt: skip
        where = ", files forgotten" if cold else ""
        rows.append((f"{model}, labels as {labels}{where}", *(f"{times[w]:.0f} ms" for w in ways),
                     f"{times[ways[0]] / times[ways[2]]:.1f}"))  # fmt: skip
    return table(("start to first result", "before", "now", "kept", "times as quick"), rows)


def steps() -> str:
    """Where a start goes."""
    found = script_report("start")["steps_ms"]
    names = next(iter(found.values()))
    rows = [(step, *(f"{one[step]:.0f} ms" for one in found.values())) for step in names]
    return table(("one after the other", *found), rows)


def cores() -> str:
    """What more cores give."""
    found = script_report("cores")["cases"]
    rows = [
        (
            f"{one['model']}, {one['precision'].upper()}, {ENGINES[one['provider']]}",
            str(one["cores"]), f"{one['per_second']:.1f}", f"{one['of_so_many']:.2f}",
        )
        for one in found
    ]  # fmt: skip
    return table(("`predict_many`", "cores", "recordings/s", "of n times one core"), rows)


def labels() -> str:
    """How long banks of many labels take."""
    found = script_report("labels")["cases"]

    def column(one: dict[str, Any]) -> str:
        times = f" in {one['templates']} templates" if one["templates"] > 1 else ""
        return f"{one['names']:,} names{times}"

    return crossed(
        "bank of", ((one["model"], column(one), f"{one['seconds']:.1f} s") for one in found)
    )


def decode() -> str:
    """Recordings to samples, by format."""
    found = script_report("decode")["cases"]
    return crossed(
        "5 s, mono", ((one["format"], one["what"], f"{one['median_ms']:.2f} ms") for one in found)
    )


def operations() -> str:
    """Where encoders' time goes, and how many instructions they are."""
    found = script_report("operations")
    counted = {
        (one["model"], one["precision"], "cpu"): f"{one['instructions_1e9']:.2f}"
        for one in found.get("instructions", ())
    }
    rows = []
    for one in found["cases"]:
        kinds = one["kinds_ms"]
        case = one["model"], one["precision"], one["provider"]
        rows.append((
            f"{one['model']}, {one['precision'].upper()}, {ENGINES[one['provider']]}",
            *(f"{ms:.2f}" for ms in kinds.values()), f"{sum(kinds.values()):.1f}",
            counted.get(case, ""),
        ))  # fmt: skip
    head = ("ms of a window", *found["cases"][0]["kinds_ms"], "sum", "1e9 instructions")
    return table(head, rows)


def bulk() -> str:
    """Many files in a stream."""
    rows, files = [], 0
    for one in filter(_as_it_is_called, report("bulk").candidates):
        if one.folder is not None:
            files = one.folder.files
            seconds = one.folder.latency.median_ms / 1e3
            rows.append((
                _called(one), f"{seconds:.1f} s",
                f"{one.folder.files / seconds:.1f}", f"{100 * one.folder.share:.0f} %",
            ))  # fmt: skip
    return table((f"{files} files to scores", "time", "files/s", "of the encoder's rate"), rows)


def before() -> str:
    """One recording, beside an earlier version."""
    found = script_report("before")["cases"]
    rows = []
    for one in found:
        isa = f", limited to {one['isa']}" if one["isa"] else ""
        code = {"before": "before", "this": "now"}[one["code"]]
        name = f"{one['model']}{isa}, {code}, {ENGINES[one['provider']]}"
        times = (f"{one[key]:.1f} ms" for key in ("median_ms", "p90_ms"))
        rows.append((name, *times, f"{one['of_before']:.2f}"))
    return table(("file to 50 label scores", "median", "p90", "of before"), rows)


def training() -> str:
    """A training step, and how quickly data loads."""
    found = script_report("training")
    rows: list[tuple[str, ...]] = []
    for step in found["steps"]:
        for name, one in step["candidates"].items():
            computes = "matmul_share" in one
            share = f"{100 * one['matmul_share']:.0f} %" if computes else ""
            times = (f"{one[key] / 1e3:.2f} s" for key in ("median_ms", "p90_ms"))
            type_ = {"off": "FP32: ", "bf16": "bfloat16: "}[step["amp"]] if computes else ""
            rows.append((type_ + name, *times, f"{one['samples_per_second']:.2f}", share))
    for one in found["loading"]:
        where = "in memory" if one["held"] else "decoded as they are drawn"
        threads = f"{one['threads']} thread{'s' if one['threads'] > 1 else ''}"
        name = f"loading clap-mini's windows, {where}, {threads}"
        rows.append((name, "", "", f"{one['windows_per_second']:,.0f}", ""))
    batch = f"a step of {found['steps'][0]['batch']} clips"
    return table((batch, "median", "p90", "clips/s", "of the matmul rate"), rows)


TABLES = {
    "speed": speed,
    "peers": peers,
    "mini": mini,
    "htsat-precisions": partial(precisions, "htsat-tiny"),
    "mini-precisions": partial(precisions, "clap-mini"),
    "accuracy": accuracy,
    "models": models,
    "install": install,
    "start": start,
    "steps": steps,
    "cores": cores,
    "labels": labels,
    "decode": decode,
    "bulk": bulk,
    "operations": operations,
    "before": before,
    "training": training,
}


def written(text: str) -> str:
    """A page with its tables made anew."""
    for name, made in TABLES.items():
        block = f"<!-- {name} -->\n\n{made()}\n\n<!-- /{name} -->"
        place = re.compile(f"<!-- {name} -->.*?<!-- /{name} -->", re.DOTALL)
        text = place.sub(lambda _, block=block: block, text)
    return text


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
