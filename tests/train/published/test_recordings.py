"""ESC-50 and UrbanSound8K for real, as far as labelled audio lies beside the project."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.places import MINI, SHARED_AUDIO
from tests.train.published.test_cli import evaluate


def rows(name: str) -> list[dict[str, str]]:
    listing = SHARED_AUDIO / name / "metadata.csv"
    if not listing.is_file() or not MINI.is_file():
        pytest.skip(f"needs {listing.name} of {name} in ../shared/audio, and clap-mini")
    with listing.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(source)


@pytest.mark.slow
def test_clap_mini_on_fold_5_of_esc50(tmp_path: Path) -> None:
    found = [row for row in rows("esc50") if row["fold"] == "5"]
    lines = ["filename,fold,target,category,esc10,src_file,take"]
    for row in found:
        name = Path(row["filename"])
        link(SHARED_AUDIO / "esc50" / name, tmp_path / "audio" / name.name)
        lines.append(f"{name.stem}.wav,5,{row['target']},{row['class']},{row['esc10']},0,A")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/esc50.csv").write_text("\n".join(lines) + "\n")
    arguments = ["--task", "esc50", "--data", str(tmp_path), "--extension", "opus"]
    (score,) = evaluate(MINI, *arguments)["scores"]
    assert (score["clips"], score["candidates"]) == (len(found), 50)
    assert score["value"] > 0.9


@pytest.mark.slow
def test_clap_mini_on_fold_3_of_urbansound8k(tmp_path: Path) -> None:
    shared = "esc50_subset_has_same_recording"  # left out by the recipe's task too
    found = [r for r in rows("urbansound8k") if r["fold"] == "3" and r[shared] != "True"]
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for row in found:
        name = Path(row["filename"])
        link(SHARED_AUDIO / "urbansound8k" / name, tmp_path / "audio" / name)
        lines.append(f"{name.stem}.wav,0,0,4,1,3,{row['class_id']},{row['class']}")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata/UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    arguments = ["--task", "urbansound8k", "--data", str(tmp_path), "--extension", "opus"]
    arguments += ["--template", "This is a sound of {}."]  # the model's own, not the paper's
    (score,) = evaluate(MINI, *arguments)["scores"]
    assert (score["clips"], score["candidates"]) == (len(found), 10)
    recorded = {x["name"]: x for x in json.loads(MINI.with_suffix(".seen.json").read_text())}
    want = recorded["urbansound8k"]["accuracy"]
    assert score["value"] == pytest.approx(want, abs=1.5 / len(found))
