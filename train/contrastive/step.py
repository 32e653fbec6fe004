"""One step: both towers, the loss, and the gradients."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.model.clap import ClapModel, normalise
from train.config.contrastive import TrainConfig
from train.contrastive.accumulate import Encode, backward
from train.contrastive.batch import Ready
from train.contrastive.captions import CaptionBank
from train.contrastive.state import RunState
from train.data.texts import encode
from train.losses import sigmoid_loss, softmax_loss, teacher_loss
from train.machine.amp import autocast
from train.machine.random_streams import Place
from train.machine.run import Run
from train.tagger import LessonBatch


class Learner:
    """Turns prepared batches into gradients, and gradients into a step of the optimiser."""

    def __init__(
        self, state: RunState, tokenizer: Tokenizer, bank: CaptionBank, run: Run[TrainConfig]
    ) -> None:
        self._state, self._model = state, state.model
        self._tokenizer, self._bank = tokenizer, bank
        self._run, self._config, self._ranks = run, run.config, run.ranks
        self._width = 0 if state.lesson is None else self._model.audio_encoder.width
        # Processes that cannot normalise over the joint batch agree on its statistics afterwards.
        self._apart = run.device.type != "cuda"

    def step(self, ready: Ready, epoch: int, number: int) -> tuple[Tensor, Tensor]:
        """Learn from a batch.

        Returns:
            This process' share of the loss, whose mean over processes is the loss, and the norm of
            all gradients.
        """
        state, ranks = self._state, self._ranks
        state.optimiser.zero_grad()
        towers = [self._audio(ready, (epoch, number)), self._text(ready, (epoch, number))]
        loss = backward(
            self._model, towers, lambda audio, text: self._loss(audio, text, ready),
            state.scaler.scale,
        )  # fmt: skip
        ranks.mean_gradients(state.parameters)
        if self._apart:
            ranks.mean_statistics(self._model)
        return loss, state.update()

    def _loss(self, own_audio: Tensor, own_text: Tensor, ready: Ready) -> Tensor:
        """Of the labels and, by their weight, of the teachers."""
        ranks, config, scale = self._ranks, self._config, self._model.scale()
        own_audio, vector = own_audio.split((own_text.shape[1], self._width), dim=1)
        text = ranks.join(own_text, len(ready.texts))
        labels = self._label_loss(ranks.join(own_audio, ready.clips), text, ready.target)
        loss = config.label_share * labels
        if ready.taught is not None and config.teachers is not None:
            taught = teacher_loss(own_audio, text, scale, ready.taught, ready.clips, ranks)
            loss = loss + config.teachers.weight * taught
        if ready.heard is not None and self._state.lesson is not None:
            tags = self._cached(ready.tags)
            target = ranks.own(ready.target)
            given = LessonBatch(
                ready.heard, vector, own_audio, text, tags, target, scale, ready.clips
            )
            loss = loss + self._state.lesson(given, ranks)
        return loss

    def _label_loss(self, audio: Tensor, text: Tensor, target: Tensor) -> Tensor:
        ranks, model = self._ranks, self._model
        if self._config.loop.loss == "softmax":
            return softmax_loss(audio, text, model.scale(), target, ranks)
        bias = self._state.bias
        return sigmoid_loss(audio, text, model.scale(), bias, target, ranks)

    def _audio(self, ready: Ready, place: tuple[int, ...]) -> list[Encode]:
        number = self._config.loop.accumulate
        parts = ready.log_mel.tensor_split(number)
        longer = [None] * number if ready.longer is None else ready.longer.tensor_split(number)
        return [
            partial(self._embed_audio, *part, (*place, "audio", i, self._ranks.rank))
            for i, part in enumerate(zip(parts, longer, strict=True))
        ]

    def _embed_audio(
        self, log_mel: Tensor, longer: Tensor | None, place: tuple[Place, ...]
    ) -> Tensor:
        """``[rows, embedding_dim]`` and, side by side with it, the tower's vector if it is used."""
        self._run.seed_torch(*place)
        model = self._model
        with self._autocast():
            if self._state.lesson is None:
                return model.embed_log_mel(log_mel, longer)
            vector = model.audio_encoder(log_mel)
            return torch.cat([normalise(model.audio_projection(vector)), vector.float()], dim=1)

    def _text(self, ready: Ready, place: tuple[int, ...]) -> list[Encode]:
        own = np.array(self._ranks.places(len(ready.texts)))
        parts = np.array_split(own, min(self._config.loop.accumulate, len(own)))
        train_text = place[0] >= self._config.loop.starts("text")
        return [
            partial(
                self._embed_text,
                [ready.texts[k] for k in part],
                int((part < ready.present).sum()) if train_text else 0,
                (*place, "text", i, self._ranks.rank),
            )
            for i, part in enumerate(parts)
        ]

    def _embed_text(self, texts: list[int], fresh: int, place: tuple[Place, ...]) -> Tensor:
        """The first ``fresh`` texts go through the tower; the others' states are cached."""
        self._run.seed_torch(*place)
        states: list[Tensor] = []
        with self._autocast():
            if fresh:
                chosen = [self._bank.texts[i] for i in texts[:fresh]]
                batch = encode(self._tokenizer, chosen, self._model.config.text_encoder)
                on_device = {name: self._run.send(t) for name, t in batch.items()}
                states.append(self._model.text_encoder(**on_device).float())
            if fresh < len(texts):
                states.append(self._states(texts[fresh:]))
            return normalise(self._model.text_projection(torch.cat(states)))

    def _cached(self, texts: list[int]) -> Tensor:
        with self._autocast():
            return normalise(self._model.text_projection(self._states(texts)))

    def _states(self, texts: list[int]) -> Tensor:
        assert self._bank.states is not None  # refreshed before the epoch's first step
        return self._bank.states[self._run.send(np.array(texts, np.int64))].float()

    def _autocast(self) -> torch.autocast:
        return autocast(self._run.device, self._config.loop.amp)


def prepare_towers(model: ClapModel, config: TrainConfig) -> None:
    """Recompute or compile the towers, as the config says; their weights keep their names."""
    if config.loop.recompute:
        from train.contrastive.recompute import recompute

        recompute(model)
    if config.loop.compile:
        model.audio_encoder.compile()
        model.text_encoder.compile()
