"""The example for Spark, with a Spark of this machine."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.clap_export.library import made
from tests.places import ROOT

pytest.importorskip("pyspark", reason="Spark is not installed: pip install pyspark")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java"),
]


def test_the_example_embeds(
    tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql import SparkSession

    paths = made.recordings(tmp_path / "sounds", 12)
    bad = tmp_path / "bad.wav"
    bad.write_text("no sound")
    (tmp_path / "list.csv").write_text("".join(f"{path}\n" for path in ("path", *paths, bad)))
    (tmp_path / "bundle").symlink_to(tiny_bundle)
    program = (ROOT / "examples" / "spark" / "embed.py").read_text(encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.driver.memory", "512m").getOrCreate()
    try:
        exec(program.replace("/data/", f"{tmp_path}/"), {"__name__": "__main__"})
    finally:
        spark.stop()
    found = {row["path"]: row for row in pq.read_table(tmp_path / "embeddings").to_pylist()}
    assert found.keys() == {str(path) for path in (*paths, bad)}
    assert "cannot be decoded" in found[str(bad)]["error"]
    assert found[str(bad)]["embedding"] is None
    for seed, path in enumerate(paths):
        vector = np.array(found[str(path)]["embedding"])
        assert np.abs(vector - made.truth(path, seed)).max() < 1e-6
        assert found[str(path)]["error"] is None
