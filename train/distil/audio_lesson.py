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
from train.data.augment import MelAugment, Mixing, mixstyle
from train.distil.bridge_loss import Answer, BridgeLoss
from train.distil.loss import regression_loss
from train.distil.stretches import Stretches, split
from train.machine.amp import autocast
from train.machine.device import channels_last
from train.machine.run import Run


class AudioLesson:
    """Stretches of sound and the embeddings that they should have.

    What a row hears is drawn from a generator of (seed, epoch, step, row), what a batch shares from
    one of (seed, epoch, step), the order from one of (seed, epoch).

    Args:
        model: the student.
        stretches: of the recordings, with the teacher.
        targets: ``[stretches, dim]`` of the teacher, one for each; None to have the teacher listen
            to other stretches of the same recordings in every step.
        run: its config and device. Where ``augment`` mixes two stretches, a teacher that listens
            hears both at once; of stored targets, the student's should lie between the two, at the
            same share. The student of a bridge learns from what its teacher hears by
            :class:`BridgeLoss`; from stored targets, and where a stretch takes the teacher several
            windows, as any other.

    Raises:
        ClapError: fewer stretches than one batch, or they are too short for the student.
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
        try:
            with torch.no_grad():
                model.embed_audio(torch.zeros(2, stretches.samples, device=run.device))
        except (ValueError, RuntimeError) as error:
            raise ClapError(
                f"audio.seconds is {stretches.seconds:g}: the [student] cannot hear so little at "
                f"once ({error}). Make it longer."
            ) from error
        self.steps = len(self._used) // self._batch_size
        weight = stretches.weight[self._used]
        self._share = np.cumsum(weight) / weight.sum()
        self._bridge: BridgeLoss | None = None
        if targets is None:
            heard = list(map(self._even, stretches.on_grid(self._held)))
            self._held_target = stretches.embed(heard).cpu()
            if model.bridge is not None and self._in_one():
                answers = [self._answer(run.send(part)) for part in split(np.stack(heard))]
                self._bridge = BridgeLoss(model, stretches.teacher, Answer.together(answers))
                self._bridge.to(run.device)
        else:
            self._held_target = torch.from_numpy(targets[self._held].astype(np.float32))
        for tower in (model, stretches.teacher):
            channels_last(tower.audio_encoder)

    def modules(self) -> list[nn.Module]:
        """The audio tower, and what tells a bridge's tags from its vectors."""
        model = self._model
        head = [] if model.bridge is None else [model.bridge.head]
        guess = [] if self._bridge is None else [self._bridge]
        return [model.audio_encoder, model.audio_projection, *head, *guess]

    def losses(self, epoch: int) -> Iterator[Tensor]:
        """One loss for each batch of stretches, which threads cut ahead."""
        drawn, heard = self.draw(epoch), dict[tuple[int, int], np.ndarray]()

        def cut(step: int, row: int, stretch: int) -> tuple[int, np.ndarray]:
            own = self._run.generator(epoch, step, row)
            start = float(self._stretches.start[stretch])
            if self._targets is None:
                start = self._stretches.anywhere(stretch, own)
                heard[step, row] = self._even(self._stretches.for_teacher(stretch, start))
            return stretch, self._vary(self._stretches.for_student(stretch, start), own)

        samples = self._stretches.samples
        batches = prefetch.fill(
            lambda step: drawn[step], cut, range(self.steps), lambda _step: samples,
            usable_cores(), self._run.device.type == "cuda",
        )  # fmt: skip
        with closing(batches):
            for step, batch in enumerate(batches):
                rng, waveforms = self._run.generator(epoch, step), self._run.send(batch.windows)
                mixing = Mixing.draw(len(waveforms), self._augment.mix, rng, waveforms.device)
                log_mel = self._varied(mixing.sounds(waveforms), rng)
                if self._targets is None:
                    clips = [heard.pop((step, row)) for row in range(self._batch_size)]
                    sounds = mixing.sounds(self._run.send(np.stack(clips)))
                    yield self._taught(log_mel, sounds)
                else:
                    stored = self._run.send(self._targets[batch.indices].astype(np.float32))
                    yield self._regression(log_mel, mixing.targets(stored))

    @torch.no_grad()
    def _varied(self, waveforms: Tensor, rng: np.random.Generator) -> Tensor:
        """``[batch, frames, n_mels]`` for the student."""
        log_mel = self._model.mel(waveforms)
        if rng.random() < self._augment.mixstyle:
            log_mel = mixstyle(log_mel, rng)
        return self._masks(log_mel)

    def _taught(self, log_mel: Tensor, sounds: Tensor) -> Tensor:
        """The loss against what the teacher hears in ``[batch, samples]`` at its rate."""
        if self._bridge is None:
            return self._regression(log_mel, self._stretches.embed(list(sounds.cpu().numpy())))
        target = self._answer(sounds)
        return self._bridge(Answer.of(self._model, log_mel, self._run.config.audio.amp), target)

    def _regression(self, log_mel: Tensor, target: Tensor) -> Tensor:
        with autocast(log_mel.device, self._run.config.audio.amp):
            found = self._model.embed_log_mel(log_mel)
        return regression_loss(found, normalise(target))

    @torch.no_grad()
    def _answer(self, sounds: Tensor) -> Answer:
        """The teacher's, a bridge's, to ``[batch, samples]`` at its rate."""
        stretches, teacher = self._stretches, self._stretches.teacher
        if not stretches.patches:
            spec = teacher.config.audio
            rows = [fill(x, spec.window_samples, spec.fill) for x in sounds.cpu().numpy()]
            sounds = self._run.send(np.stack(rows))
        return Answer.of(teacher, teacher.mel(sounds), self._run.config.audio.amp)

    def _in_one(self) -> bool:
        """Whether the teacher hears a stretch at once."""
        spec = self._stretches.teacher.config.audio
        window = spec.window_samples / spec.sample_rate
        return self._stretches.patches or self._stretches.seconds <= window

    def _even(self, x: np.ndarray) -> np.ndarray:
        """A stretch for the teacher, as long as all others: the student's fill rule."""
        stretches = self._stretches
        samples = round(stretches.seconds * stretches.teacher.config.audio.sample_rate)
        return fill(x[:samples], samples, stretches.spec.fill)

    def held_out(self) -> float:
        """Mean cosine to the teacher on the recordings that are not learned from."""
        stretches = self._stretches
        start: list[float] = stretches.start.tolist()
        heard = [stretches.for_student(row, start[row]) for row in self._held.tolist()]
        rows = np.stack([fill(x, stretches.samples, stretches.spec.fill) for x in heard])
        with torch.no_grad():
            parts = [self._model.embed_audio(self._run.send(part)) for part in split(rows)]
        return float((torch.cat(parts).cpu() * self._held_target).sum(1).mean())

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
        """Speed and gain, and the student's own fill rule: ``[samples]`` of a stretch."""
        augment, samples = self._augment, self._stretches.samples
        if augment.speed > 0:
            factor = rng.uniform(1 - augment.speed, 1 + augment.speed)
            x = soxr.resample(x, factor, 1.0, quality="QQ") if len(x) > 1 else x
        x = fill(x[:samples], samples, self._stretches.spec.fill)
        if augment.gain_db > 0:
            x = x * np.float32(10 ** (rng.uniform(-augment.gain_db, augment.gain_db) / 20))
        return x
