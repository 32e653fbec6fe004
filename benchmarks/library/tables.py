"""Put the measured tables into docs/library.md: python -m benchmarks.library.tables"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "library.md"
PLACE = re.compile(r"<!-- library -->.*?<!-- /library -->", re.DOTALL)
THROUGHPUT = HERE / "throughput.json"


def search_rows() -> list[dict[str, Any]]:
    """All measured libraries, the smallest first."""
    reports = sorted(HERE.glob("search-*.json"), key=lambda path: int(path.stem.split("-")[1]))
    return [
        {"store": store, **row}
        for path in reports
        for store, row in json.loads(path.read_text()).items()
    ]


def tables() -> str:
    """As Markdown; nothing where nothing was measured."""
    parts = []
    if rows := search_rows():
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
                f"| {row['rows']:,} | {row['store']} | {row['bytes'] / 1e6:,.0f} | "
                f"{' | '.join(times)} | {row['recall_at_10']:.3f} | {row['peak_memory_mb']:,.0f} |"
            )
        parts.append("\n".join(lines))
    if THROUGHPUT.exists():
        found = json.loads(THROUGHPUT.read_text())
        own, library = zip(*found["pairs"], strict=True)
        parts.append(
            "## What making it takes\n\n"
            f"{found['count']:,} recordings of one window, with {found['model']}: "
            f"{sorted(library)[len(library) // 2]:.1f} a second into a library, where the encoder "
            f"alone does {sorted(own)[len(own) // 2]:.1f} windows a second: "
            f"{100 * found['share']:.0f} % of it (`benchmarks/library/throughput.py`)."
        )
    return "\n\n".join(parts)


def written(text: str) -> str:
    """The page with its tables made anew."""
    made = tables()
    inside = f"\n\n{made}\n\n" if made else "\n"
    return PLACE.sub(lambda _: f"<!-- library -->{inside}<!-- /library -->", text)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
