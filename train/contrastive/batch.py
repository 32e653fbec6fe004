"""A batch made ready for the towers, the same on one process and on many."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from clap_export.model.fusion import channels
from train.config.contrastive import TrainConfig
from train.contrastive.captions import CaptionBank, candidates
from train.contrastive.teachers import Teachers
from train.data.augment import MelAugment, mix, mixstyle
from train.data.prefetch import Batch
from train.machine.run import Run
from train.tagger import Heard, Tagger


@dataclass(frozen=True, eq=False)
class Ready:
    """What one step works on.

    Attributes:
        log_mel: ``[own clips, frames, n_mels]`` decibels; with feature fusion ``[own clips, 4,
            frames, n_mels]``.
        texts: index of every text in the bank, those of the batch's own labels first.
        present: how many those are.
        target: ``[clips, texts]`` of all processes, rows sum to 1.
        clips: in the joint batch.
        taught: ``[own clips, texts]`` what the teachers say, rows sum to 1; None without teachers.
        heard: what the tagger hears in the own clips; None without one.
        tags: index of the text of every tag in the bank.
        longer: ``[own clips]`` bool, with feature fusion: whether they are longer than a window.
    """

    log_mel: Tensor
    texts: list[int]
    present: int
    target: Tensor
    clips: int
    taught: Tensor | None = None
    heard: Heard | None = None
    tags: list[int] = field(default_factory=list)
    longer: Tensor | None = None


class Preparer:
    """Draws texts, mixes clips and masks spectrograms.

    Which texts are drawn and which clips are mixed depends on the seed, the epoch and the step
    alone; masks also on the process.

    Args:
        teachers: hear what the student hears, before masks and filters; None for none.
        tagger: likewise.
    """

    def __init__(
        self, model: ClapModel, bank: CaptionBank, run: Run[TrainConfig],
        teachers: Teachers | None = None, tagger: Tagger | None = None,
    ) -> None:  # fmt: skip
        self._teachers, self._tagger = teachers, tagger
        self._model, self._bank, self._run = model, bank, run
        self._masks = MelAugment(run.config.augment)

    @torch.no_grad()
    def __call__(self, batch: Batch, epoch: int, step: int) -> Ready:
        """Prepare this process' rows of a step's batch."""
        run, place = self._run, (epoch, step)
        config, ranks, total = run.config, run.ranks, run.config.loop.batch_size
        indices = ranks.join(torch.from_numpy(batch.indices), total)
        labels = self._bank.label_of[indices.numpy()]
        texts, target = candidates(
            labels, self._bank, config.loop.text_negatives, run.generator(*place, "texts")
        )
        target = run.send(target)
        waveforms = run.send(batch.windows)
        if config.augment.mix > 0:  # a clip's partner may be on another process
            joint, target = mix(
                ranks.join(waveforms, total),
                target,
                config.augment.mix,
                run.generator(*place, "mix"),
            )
            waveforms = ranks.own(joint)
        taught = None if self._teachers is None else self._teachers(waveforms, texts)
        heard = None if self._tagger is None else self._tagger(waveforms)
        tags = [] if heard is None else self._bank.draw_tags(run.generator(*place, "tags"))
        log_mel = self._model.mel(waveforms)
        style = run.generator(*place, "mixstyle")
        if style.random() < config.augment.mixstyle:
            log_mel = ranks.own(mixstyle(ranks.join(log_mel, total), style))
        run.seed_torch(*place, "masks", ranks.rank)
        present = len(np.unique(labels))
        masked, longer = self._masks(log_mel), None
        audio = self._model.config.audio
        if audio.long_clips == "fusion":
            masked, longer = channels(masked, 1 + audio.window_samples // audio.mel.hop_length)
        return Ready(masked, texts, present, target, total, taught, heard, tags, longer)
