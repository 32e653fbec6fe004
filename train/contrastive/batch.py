"""A batch made ready for the towers, the same on one process and on many."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from clap_export.model.clap import ClapModel
from train.config.contrastive import TrainConfig
from train.contrastive.captions import CaptionBank, candidates
from train.contrastive.teachers import Teachers
from train.data.augment import MelAugment, mix, mixstyle
from train.data.prefetch import Batch
from train.machine.device import send
from train.machine.distributed import Ranks
from train.machine.random_streams import generator, seed_torch
from train.tagger import Heard, Tagger


@dataclass(frozen=True, eq=False)
class Ready:
    """What one step works on.

    Attributes:
        log_mel: ``[own clips, frames, n_mels]`` decibels.
        texts: index of every text in the bank, those of the batch's own labels first.
        present: how many those are.
        target: ``[clips, texts]`` of all processes, rows sum to 1.
        clips: in the joint batch.
        taught: ``[own clips, texts]`` what the teachers say, rows sum to 1; None without teachers.
        heard: what the tagger hears in the own clips; None without one.
        tags: index of the text of every tag in the bank.
    """

    log_mel: Tensor
    texts: list[int]
    present: int
    target: Tensor
    clips: int
    taught: Tensor | None = None
    heard: Heard | None = None
    tags: list[int] = field(default_factory=list)


class Preparer:
    """Draws texts, mixes clips and masks spectrograms.

    Which texts are drawn and which clips are mixed depends on the seed, the epoch and the step
    alone; masks also on the process.

    Args:
        label_of: ``[clips in the store]`` indices into the bank's labels.
        teachers: hear what the student hears, before masks and filters; None for none.
        tagger: likewise.
    """

    def __init__(
        self, model: ClapModel, bank: CaptionBank, label_of: np.ndarray, config: TrainConfig,
        device: torch.device, ranks: Ranks, teachers: Teachers | None = None,
        tagger: Tagger | None = None,
    ) -> None:  # fmt: skip
        self._teachers, self._tagger = teachers, tagger
        self._model, self._bank, self._label_of = model, bank, label_of
        self._config, self._device, self._ranks = config, device, ranks
        self._masks = MelAugment(config.augment)

    @torch.no_grad()
    def __call__(self, batch: Batch, epoch: int, step: int) -> Ready:
        """Prepare this process' rows of a step's batch."""
        config, ranks = self._config, self._ranks
        total, place = config.loop.batch_size, (config.seed, epoch, step)
        indices = ranks.join(torch.from_numpy(batch.indices), total)
        labels = self._label_of[indices.numpy()]
        texts, target = candidates(
            labels, self._bank, config.loop.text_negatives, generator(*place, "texts")
        )
        target = send(target, self._device)
        waveforms = send(batch.windows, self._device)
        if config.augment.mix > 0:  # a clip's partner may be on another process
            joint, target = mix(
                ranks.join(waveforms, total), target, config.augment.mix, generator(*place, "mix")
            )
            waveforms = ranks.own(joint)
        taught = None if self._teachers is None else self._teachers(waveforms, texts)
        heard = None if self._tagger is None else self._tagger(waveforms)
        tags = [] if heard is None else self._bank.draw_tags(generator(*place, "tags"))
        log_mel = self._model.mel(waveforms)
        style = generator(*place, "mixstyle")
        if style.random() < config.augment.mixstyle:
            log_mel = ranks.own(mixstyle(ranks.join(log_mel, total), style))
        seed_torch(*place, "masks", ranks.rank)
        present = len(np.unique(labels))
        masked = self._masks(log_mel)
        return Ready(masked, texts, present, target, total, taught, heard, tags)
