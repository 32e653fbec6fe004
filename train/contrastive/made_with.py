"""What a contrastive run depends on, compared with what its folder was made with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from train.config.contrastive import TrainConfig
from train.contrastive.journal import METRICS
from train.contrastive.start import TEXT_STAGE
from train.contrastive.state import LAST
from train.data.listing import Clip, read_listing
from train.machine import snapshot
from train.machine.snapshot import Snapshot, mark_of, mark_of_path
from train.zero_shot.task import read_candidates

# Where and how fast a run computes, what it writes beside the model, and how often it saves.
FREE = (
    "out", "device", "threads", "tensorboard", "wandb", "data", "loop.save_every", "loop.compile",
    "loop.recompute",
)  # fmt: skip
# What the weights began with: another value would be read and change nothing.
FIXED = ("init", "audio_init", "text_init", "text", "model", "lora")


def check(
    config: TrainConfig, listings: Sequence[Sequence[Clip]], override: bool, write: bool = True
) -> int:
    """Refuse to go on in a folder that was made otherwise; see :func:`train.machine.snapshot.keep`.

    Args:
        config: of the run.
        listings: the clips of each of its listings.
        override: go on with the values of now.
        write: write down what the run is now.

    Returns:
        how many epochs the folder has.

    Raises:
        ClapError: values or contents differ; or a task's files cannot be read.
    """
    folder, metrics = config.folder, config.folder / METRICS
    begun = any((folder / name).is_file() for name in (LAST, TEXT_STAGE))
    epoch = metrics.read_bytes().count(b"\n") if metrics.is_file() else 0
    snapshot.keep(
        folder, Snapshot.of(config, _contents(config, listings)), begun=begun, epoch=epoch,
        override=override, free=FREE, fixed=FIXED, write=write,
    )  # fmt: skip
    return epoch


def _contents(config: TrainConfig, listings: Sequence[Sequence[Clip]]) -> dict[str, str]:
    found = {f"listings[{i}]": _mark(clips) for i, clips in enumerate(listings)}
    for task in config.tasks:
        found[f"task {task.name}"] = _mark(read_listing(task.listing))
        found[f"candidates of {task.name}"] = mark_of(read_candidates(task.candidates))
    for one in config.retrieval:
        found[f"retrieval set {one.name}"] = _mark(read_listing(one.listing))
    sources = () if config.text is None else config.text.sources
    named = {f"text.sources[{i}]": source.path for i, source in enumerate(sources)}
    named |= {"init": config.init, "audio_init": config.audio_init, "text_init": config.text_init}
    if config.tagger is not None:
        named["tagger.weights"] = config.tagger.weights
    if config.teachers is not None:
        named |= {
            f"teachers.checkpoints[{i}]": c for i, c in enumerate(config.teachers.checkpoints)
        }
    for name, path in named.items():
        if path is not None and (mark := mark_of_path(Path(path))) is not None:
            found[name] = mark
    return found


def _mark(clips: Sequence[Clip]) -> str:
    """Of what a listing says: the audio itself is not read for it, nor where it lies."""
    return mark_of(
        (clip.name, clip.captions, clip.names, clip.label, clip.weight, clip.recording, clip.member)
        for clip in clips
    )
