"""What the audio tower learns: a teacher's embeddings of stretches of sound."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import soxr
import torch
from torch import Tensor, nn

from clap_export.model.clap import ClapModel, normalise
from runtime.clips.windows import fill
from runtime.cores import usable_cores
from runtime.errors import ClapError
from train.config.distil import DistilConfig
from train.data import prefetch
from train.data.augment import MelAugment, mix, mixstyle
from train.distil.loss import regression_loss
from train.distil.stretches import Stretches
from train.machine.device import channels_last
from train.machine.run import Run
from train.zero_shot.embedding import embed_clips


class AudioLesson:
    """Stretches of sound and the embeddings that they should have.

    What a row hears is drawn from a generator of (seed, epoch, step, row), what a batch shares from
    one of (seed, epoch, step), the order from one of (seed, epoch).

    Args:
        model: the student.
        stretches: of the recordings, with the teacher.
        targets: ``[stretches, dim]`` of the teacher, one for each; None to have the teacher listen
            to other stretches of the same recordings in every step.
        run: its config and device. Where ``augment`` mixes two stretches, the embedding that the
            student should give lies between theirs, at the same share.

    Raises:
        ClapError: fewer stretches than one batch.
    """

    name = "audio"

    def __init__(
        self, model: ClapModel, stretches: Stretches, targets: np.ndarray | None,
        run: Run[DistilConfig],
    ) -> None:  # fmt: skip
        self._model, self._stretches, self._targets = model, stretches, targets
        self._run, self._augment = run, run.config.augment
        self._masks = MelAugment(self._augment)
        self._batch_size = run.config.audio.batch_size
        held = stretches.held_out()
        self._held, self._used = np.flatnonzero(held), np.flatnonzero(~held)
        if len(self._used) < self._batch_size:
            raise ClapError(
                f"audio.batch_size is {self._batch_size}, but there are only {len(self._used)} "
                f"stretches of {stretches.seconds:g} s to learn from; make it smaller, or add "
                "recordings."
            )
        self.steps = len(self._used) // self._batch_size
        weight = stretches.weight[self._used]
        self._share = np.cumsum(weight) / weight.sum()
        if targets is None:
            self._held_target = stretches.embed(stretches.on_grid(self._held)).cpu()
        else:
            self._held_target = torch.from_numpy(targets[self._held].astype(np.float32))
        channels_last(model.audio_encoder)

    def modules(self) -> list[nn.Module]:
        """The audio tower, and what tells a bridge's tags from its vectors."""
        model = self._model
        head = [] if model.bridge is None else [model.bridge.head]
        return [model.audio_encoder, model.audio_projection, *head]

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One loss for each batch of stretches, which threads cut ahead."""
        drawn, heard = self.draw(epoch), dict[tuple[int, int], np.ndarray]()

        def cut(step: int, row: int, stretch: int) -> tuple[int, np.ndarray]:
            own = self._run.generator(epoch, step, row)
            start = float(self._stretches.start[stretch])
            if self._targets is None:
                start = self._stretches.anywhere(stretch, own)
                heard[step, row] = self._stretches.for_teacher(stretch, start)
            return stretch, self._vary(self._stretches.for_student(stretch, start), own)

        samples = self._stretches.spec.window_samples
        batches = prefetch.fill(
            lambda step: drawn[step], cut, range(self.steps), lambda _step: samples,
            usable_cores(), self._run.device.type == "cuda",
        )  # fmt: skip
        with closing(batches):
            for step, batch in enumerate(batches):
                if self._targets is None:
                    clips = [heard.pop((step, row)) for row in range(self._batch_size)]
                    target = self._stretches.embed(clips)
                else:
                    stored = self._targets[batch.indices].astype(np.float32)
                    target = self._run.send(stored)
                yield self._loss(self._run.send(batch.windows), target, (epoch, step))

    def _loss(self, waveforms: Tensor, target: Tensor, place: tuple[int, int]) -> Tensor:
        rng = self._run.generator(*place)
        waveforms, target = mix(waveforms, target, self._augment.mix, rng)
        with torch.no_grad():
            log_mel = self._model.mel(waveforms)
            if rng.random() < self._augment.mixstyle:
                log_mel = mixstyle(log_mel, rng)
            log_mel = self._masks(log_mel)
        return regression_loss(self._model.embed_log_mel(log_mel), normalise(target))

    def held_out(self) -> float:
        """Mean cosine to the teacher on the recordings that are not learned from."""
        start: list[float] = self._stretches.start.tolist()
        heard = [self._stretches.for_student(row, start[row]) for row in self._held.tolist()]
        out = embed_clips(self._model, heard).cpu()
        return float((out * self._held_target).sum(1).mean())

    def draw(self, epoch: int) -> np.ndarray:
        """``[steps, batch_size]`` stretches of an epoch, by weight.

        Drawn at even distances along the summed weights: with equal ones, none comes twice.
        """
        rng = self._run.generator(epoch)
        count = self.steps * self._batch_size
        order = rng.permutation(len(self._used))
        share = np.cumsum(np.diff(self._share, prepend=0.0)[order])
        points = (np.arange(count) + rng.random()) / count * share[-1]
        chosen = order[np.minimum(np.searchsorted(share, points, side="right"), len(order) - 1)]
        return self._used[rng.permutation(chosen)].reshape(self.steps, self._batch_size)

    def _vary(self, x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Speed and gain, and the student's own fill rule: ``[window_samples]``."""
        augment, spec = self._augment, self._stretches.spec
        if augment.speed > 0:
            factor = rng.uniform(1 - augment.speed, 1 + augment.speed)
            x = soxr.resample(x, factor, 1.0, quality="QQ") if len(x) > 1 else x
        x = fill(x[: spec.window_samples], spec.window_samples, spec.fill)
        if augment.gain_db > 0:
            x = x * np.float32(10 ** (rng.uniform(-augment.gain_db, augment.gain_db) / 20))
        return x
