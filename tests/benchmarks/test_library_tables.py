"""The measured tables of libraries in the page are those of the committed reports."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.library import generated, tables
from runtime import Library


def test_the_page_has_the_tables_of_the_reports() -> None:
    """``python -m benchmarks.library.tables`` writes them anew."""
    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.written(text) == text
    assert text.count("<!-- library -->") == 1


def test_a_generated_library_is_one_and_its_queries_have_answers(tmp_path: Path) -> None:
    generated.write(tmp_path / "lib", 3000, "float16")
    vectors = np.concatenate(list(generated.blocks(3000)))
    library = Library(tmp_path / "lib")
    assert len(library) == 3000
    for query in generated.queries(3):
        hits = library.search(vector=query, top_k=5)
        want = np.argsort(-(vectors @ query))[:5]
        assert {int(Path(hit.path).stem) for hit in hits} == set(want.tolist())
        # Nearer than what is drawn at random, as in a real library.
        assert hits[0].similarity > 2 * float(np.median(vectors @ query)) + 0.2
