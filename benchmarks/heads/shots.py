"""Accuracy of heads by the number of examples of each label, on UrbanSound8K, beside zero-shot.

    python -m benchmarks.heads.shots AUDIO BUNDLE…

AUDIO is a folder with UrbanSound8K's ``metadata.csv`` (filename, class, fold, recording) and its
recordings. Heads are fitted on so many recordings of each class from folds 1 and 2, drawn anew each
time, and tried on fold 3, of which no recording is in the others. Writes shots.json, shots.md and
shots.png here, and the tables of docs/heads.md.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import page
from clap_export import figure
from clap_export.heads import calibrate
from clap_export.heads.examples import Examples
from clap_export.heads.head import learn, measured
from clap_export.library import sources, store
from clap_export.library.embed import Work, described, embed
from clap_export.library.vectors import Vectors
from clap_export.metrics import wilson
from runtime import Encoder, LabelBank
from runtime.scores import Ranking

HERE = Path(__file__).parent
DOCS = HERE.parents[1] / "docs" / "heads.md"
SHOTS = (1, 2, 4, 8, 16, 32, 64)
DRAWS = 10
HELD_OUT = "3"


def rows(audio: Path) -> list[dict[str, str]]:
    """Recordings; those that ESC-50 has too, which models may have learned from, are left out."""
    with (audio / "metadata.csv").open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    return [row for row in found if row.get("esc50_has_same_recording", "False") == "False"]


def embedded(bundle: Path, audio: Path, rows: list[dict[str, str]]) -> np.ndarray:
    """Vectors of the recordings, in order, by way of a library."""
    with tempfile.TemporaryDirectory() as scratch, Encoder(bundle) as encoder:
        listing = Path(scratch, "listing.csv")
        paths = [(audio / row["filename"]).resolve() for row in rows]
        listing.write_text("path\n" + "".join(f"{path}\n" for path in paths), encoding="utf-8")
        out = Path(scratch, "library")
        with store.opened(out, described(encoder, bundle, "float32", False)) as opened:
            summary = embed(encoder, opened, sources.find([str(listing)]), Work(), lambda _: None)
        assert not summary.failed, summary.failed
        vectors: dict[str, np.ndarray] = {}
        for stretch in Vectors(out).stretches(("path", "member")):
            vectors |= {key[0]: v for key, v in zip(stretch.keys, stretch.vectors, strict=True)}
    return np.stack([vectors[str(path)] for path in paths])


def drawn(classes: np.ndarray, groups: np.ndarray, shots: int, rng: Any) -> np.ndarray:
    """So many of each class, of as many different recordings as there are."""
    chosen: list[int] = []
    for label in np.unique(classes):
        some = rng.permutation(np.flatnonzero(classes == label))
        _, first = np.unique(groups[some], return_index=True)
        others = np.setdiff1d(np.arange(len(some)), first)
        order = np.concatenate([rng.permutation(first), rng.permutation(others)])
        chosen += some[order[:shots]].tolist()
    return np.array(chosen)


def judged(logits: np.ndarray, right: np.ndarray) -> dict[str, float]:
    scores = calibrate.probabilities(logits, several=False)
    hits = right[np.arange(len(right)), logits.argmax(axis=1)]
    return {
        "accuracy": float(hits.mean()),
        "log_loss": calibrate.log_loss(logits, right, several=False),
        "calibration_error": calibrate.error(scores.max(axis=1), hits),
    }


def of_bundle(bundle: Path, audio: Path, draws: int) -> dict[str, Any]:
    listed = rows(audio)
    vectors = embedded(bundle, audio, listed)
    names, classes = np.unique(
        [row["class"].replace("_", " ") for row in listed], return_inverse=True
    )
    _, groups = np.unique([row["recording"] for row in listed], return_inverse=True)
    test = np.array([row["fold"] == HELD_OUT for row in listed])
    assert not set(groups[test]) & set(groups[~test])
    right = np.eye(len(names), dtype=bool)[classes]
    with Encoder(bundle) as encoder:
        bank = LabelBank.build(encoder, names.tolist())
        manifest = encoder.manifest
    cosines = vectors[test] @ bank.embeddings.T
    ranking = Ranking.of(manifest, "softmax", None, None, None)
    zero = judged(cosines * ranking.logit_scale, right[test])
    train = Examples(
        tuple(names.tolist()), vectors[~test], right[~test], groups[~test].astype(np.int64),
        "recording",
    )  # fmt: skip
    by_shots: dict[str, Any] = {}
    for shots in SHOTS:
        found, means, seconds = [], [], []
        for draw in range(draws):
            rng = np.random.default_rng([shots, draw])
            some = train.only(drawn(train.classes, train.groups, shots, rng))
            start = time.perf_counter()
            head = learn(some, several=False)
            seconds.append(time.perf_counter() - start)
            found.append(judged(head.linear.logits(vectors[test]), right[test]))
            sums = some.right.T.astype(np.float32) @ some.vectors
            centres = sums / np.linalg.norm(sums, axis=1, keepdims=True)
            nearest = (vectors[test] @ centres.T).argmax(axis=1)
            means.append(float((nearest == classes[test]).mean()))
        by_shots[str(shots)] = {
            name: {"mean": float(np.mean([f[name] for f in found])),
                   "std": float(np.std([f[name] for f in found], ddof=1)),
                   "least": min(f[name] for f in found), "most": max(f[name] for f in found)}
            for name in found[0]
        } | {"nearest_mean": {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1))},
             "fit_s": float(np.median(seconds))}  # fmt: skip
        print(manifest.name, shots, by_shots[str(shots)]["accuracy"], flush=True)
    start = time.perf_counter()
    everything = learn(train, several=False)
    seconds_of_all = time.perf_counter() - start
    inside = measured(train, several=False)
    assert inside is not None
    return {
        "model": manifest.name, "classes": names.tolist(), "trained_on": int((~test).sum()),
        "tried_on": int(test.sum()), "recordings_tried": len(set(groups[test])), "draws": draws,
        "zero_shot": zero, "shots": by_shots,
        "all": judged(everything.linear.logits(vectors[test]), right[test])
        | {"fit_s": seconds_of_all, "own_accuracy": inside.accuracy,
           "own_calibration_error": inside.calibration_error},
    }  # fmt: skip


def table(found: dict[str, Any]) -> str:
    zero, n = found["zero_shot"], found["tried_on"]
    low, high = wilson(zero["accuracy"], n)
    lines = [
        f"**{found['model']}**, {n} recordings of fold 3 (cut from {found['recordings_tried']}), "
        f"{found['draws']} draws, mean ± standard deviation over them:",
        "",
        "| examples of each label | accuracy | worst, best draw | nearest mean | log loss | "
        "scores off by |",
        "|---|---|---|---|---|---|",
        f"| none: zero-shot | {100 * zero['accuracy']:.1f} ({100 * low:.1f}-{100 * high:.1f}) | | "
        f"| {zero['log_loss']:.2f} | {100 * zero['calibration_error']:.1f} |",
    ]
    for shots, one in found["shots"].items():
        accuracy, mean = one["accuracy"], one["nearest_mean"]
        lines.append(
            f"| {shots} | {100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f} | "
            f"{100 * accuracy['least']:.1f}, {100 * accuracy['most']:.1f} | "
            f"{100 * mean['mean']:.1f} ± {100 * mean['std']:.1f} | {one['log_loss']['mean']:.2f} | "
            f"{100 * one['calibration_error']['mean']:.1f} |"
        )
    whole = found["all"]
    lines.append(
        f"| all {found['trained_on']} | {100 * whole['accuracy']:.1f} | | | "
        f"{whole['log_loss']:.2f} | {100 * whole['calibration_error']:.1f} |"
    )
    return "\n".join(lines)


def draw(all_found: list[dict[str, Any]], path: Path) -> None:
    picture = figure.new(8, 4.5)
    axes = picture.add_subplot()
    for i, found in enumerate(all_found):
        shots = [int(s) for s in found["shots"]]
        accuracy = [one["accuracy"] for one in found["shots"].values()]
        mean = 100 * np.array([a["mean"] for a in accuracy])
        std = 100 * np.array([a["std"] for a in accuracy])
        axes.plot(shots, mean, "o-", color=f"C{i}", label=f"{found['model']}, head")
        axes.fill_between(shots, mean - std, mean + std, color=f"C{i}", alpha=0.2, linewidth=0)
        zero = 100 * found["zero_shot"]["accuracy"]
        axes.axhline(zero, color=f"C{i}", linestyle="--", label=f"{found['model']}, zero-shot")
    axes.set_xscale("log", base=2)
    axes.set_xticks(SHOTS, [str(s) for s in SHOTS])
    axes.set(xlabel="examples of each label", ylabel="accuracy on UrbanSound8K's fold 3 (%)")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.save(picture, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("audio", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--draws", type=int, default=DRAWS)
    given = parser.parse_args()
    found = [of_bundle(bundle, given.audio, given.draws) for bundle in given.bundles]
    (HERE / "shots.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = "\n\n".join(map(table, found))
    (HERE / "shots.md").write_text(text + "\n", encoding="utf-8")
    draw(found, HERE / "shots.png")
    if DOCS.exists():
        page.put("shots", text, DOCS)


if __name__ == "__main__":
    main()
