"""Put the measured tables into docs/library.md: python -m benchmarks.library.tables"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "library.md"
PLACE = re.compile(r"<!-- library -->.*?<!-- /library -->", re.DOTALL)
THROUGHPUT = HERE / "throughput.json"
DEMONSTRATIONS = {"one process": "demonstration-local.json", "Ray": "demonstration-ray.json"}


def measured(kind: str) -> list[dict[str, Any]]:
    """All measured libraries, the smallest first, by what was changed."""
    reports = sorted(HERE.glob(f"{kind}-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    return [
        {"of": name, **row}
        for path in reports
        for name, row in json.loads(path.read_text()).items()
    ]


def tables() -> str:
    """As Markdown; nothing where nothing was measured."""
    parts = []
    if rows := measured("search"):
        lines = [
            "## What a search takes\n",
            "Generated vectors of 512 numbers with the structure of embeddings, on two cores, by "
            "`benchmarks/library/search.py`. The first query maps the parts; with words it also "
            "loads the text encoder.\n",
            "| recordings | `store` | MB | open, ms | first query, ms | query, ms | with `--where` "
            "| recall@10 | memory, MB |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in rows:
            times = (
                f"{1000 * row[name]:.0f}"
                for name in ("open_s", "first_query_s", "query_s", "where_query_s")
            )
            lines.append(
                f"| {row['rows']:,} | {row['of']} | {row['bytes'] / 1e6:,.0f} | "
                f"{' | '.join(times)} | {row['recall_at_10']:.3f} | {row['peak_memory_mb']:,.0f} |"
            )
        parts.append("\n".join(lines))
    if rows := measured("index"):
        lines = [
            "## What an index takes\n",
            "The same vectors, as float32, on two cores, by `benchmarks/library/index.py`. Recall "
            "is of the ten that exact search finds; memory includes what is mapped.\n",
            "| recordings | engine | CPU to make it, s | memory then, MB | index, MB | first, ms "
            "| query, ms | a second, 4 threads | with `--where`, ms | recall@10 | memory, MB |",
            "|" + "---|" * 11,
        ]
        for row in rows:
            times = [f"{1000 * row[name]:.1f}" for name in ("first_query_s", "query_s")]
            times += [f"{row['queries_a_second']:,.0f}", f"{1000 * row['where_query_s']:.0f}"]
            lines.append(
                f"| {row['rows']:,} | {row['of']} | {row['build_cpu_s']:,.0f} | "
                f"{row['build_memory_mb']:,.0f} | {row['bytes'] / 1e6:,.0f} | {' | '.join(times)} "
                f"| {row['recall_at_10']:.3f} | {row['peak_memory_mb']:,.0f} |"
            )
        parts.append("\n".join(lines))
    shown = {name: HERE / file for name, file in DEMONSTRATIONS.items() if (HERE / file).exists()}
    if shown:
        parts.append(demonstrated({n: json.loads(path.read_text()) for n, path in shown.items()}))
    if THROUGHPUT.exists():
        found = json.loads(THROUGHPUT.read_text())
        own, library = zip(*found["pairs"], strict=True)
        alone, in_all = (sorted(each)[1] for each in zip(*found["core_seconds"], strict=True))
        parts.append(
            "## What making it takes\n\n"
            f"{found['count']:,} recordings of one window, with {found['model']}: "
            f"{sorted(library)[len(library) // 2]:.1f} a second into a library, where the encoder "
            f"alone does {sorted(own)[len(own) // 2]:.1f} windows a second: "
            f"{100 * found['share']:.0f} % of it. A recording takes {1000 * in_all:.1f} ms of a "
            f"core, of which the encoder {1000 * alone:.1f} ms; the rest is decoding, the SHA-256 "
            "and the start. Where the encoder fills all cores, as here, its share is the most that "
            "can be had (`benchmarks/library/throughput.py`)."
        )
    return "\n\n".join(parts)


def demonstrated(reports: dict[str, dict[str, Any]]) -> str:
    """The story of a library from end to end, by what embedded it."""
    said: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("embedded, a second", lambda r: f"{r['rate']:,.0f}"),
        ("times killed in between", lambda r: str(r["kills"])),
        ("rows lost, rows doubled", lambda _: "0, 0"),  # the demonstration fails of one
        ("the same command again, nothing changed, s", lambda r: f"{r['unchanged_s']:.1f}"),
        ("`index`, s; MB", lambda r: f"{r['index_s']:.1f}; {r['index_bytes'] / 1e6:,.0f}"),
        ("`search` with words, s", lambda r: f"{r['search_s']:.2f}"),
        ("with the index, s", lambda r: f"{r['search_with_index_s']:.2f}"),
        ("with the index and `--where`, s", lambda r: f"{r['where_s']:.2f}"),
        ("`search --like`, s", lambda r: f"{r['like_s']:.2f}"),
        ("recall@10 of the index", lambda r: f"{r['recall_at_10']:.3f}"),
    ]
    lines = [
        f"| {name} | {' | '.join(value(report) for report in reports.values())} |"
        for name, value in said
    ]
    any_report = next(iter(reports.values()))
    return "\n".join([
        "## From recordings to hits\n",
        f"{any_report['count']:,} recordings of a second, cut and mixed out of real ones, with "
        f"{any_report['model']}, by `benchmarks/library/demonstration.py`. Times of `search` are "
        "those of a command in a new process.\n",
        f"| | {' | '.join(reports)} |", "|---|" + "---|" * len(reports), *lines,
    ])  # fmt: skip


def written(text: str) -> str:
    """The page with its tables made anew."""
    made = tables()
    inside = f"\n\n{made}\n\n" if made else "\n"
    return PLACE.sub(lambda _: f"<!-- library -->{inside}<!-- /library -->", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
