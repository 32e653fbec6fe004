"""What a tagger hears, and what of it a CLAP learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torchaudio
from torch import Tensor, nn

from clap_export.model.clap import normalise
from runtime.audio_spec import AudioSpec
from runtime.errors import ClapError
from train.config.teaching import TaggerConfig
from train.losses import teacher_loss
from train.machine.device import channels_last
from train.machine.distributed import ALONE, Ranks
from train.tagger import yamnet

# Without dropout, the head learns the labels of a few recordings by heart.
_DROPOUT = 0.3


@dataclass(frozen=True, eq=False)
class Heard:
    """A tagger's view of some clips.

    Attributes:
        vector: ``[clips, width]``, the root of its mean square is 1.
        tags: ``[clips, labels]``, rows sum to 1.
    """

    vector: Tensor
    tags: Tensor


@dataclass(frozen=True, eq=False)
class LessonBatch:
    """What a lesson is computed from.

    Attributes:
        heard: by the tagger, this process' clips.
        vector: ``[own clips, student_width]``.
        audio: ``[own clips, embedding_dim]`` unit vectors of the student.
        texts: ``[texts, embedding_dim]`` unit vectors: the batch's candidates.
        tags: ``[labels, embedding_dim]`` unit vectors: what the tagger can say.
        target: ``[own clips, texts]`` by the labels, rows sum to 1.
        scale: factor on cosines.
        clips: of all processes.
    """

    heard: Heard
    vector: Tensor
    audio: Tensor
    texts: Tensor
    tags: Tensor
    target: Tensor
    scale: Tensor
    clips: int


class Tagger:
    """A frozen network that hears the same windows as the student, mixed ones too.

    Attributes:
        names: of what it hears, as far as they are to be learned: none where ``tags`` is 0.

    Args:
        config: which.
        audio: the student's audio input.
        device: to listen on.
        dtype: of its convolutions.

    Raises:
        ClapError: windows that are too short for it, or its file cannot be used.
    """

    def __init__(
        self, config: TaggerConfig, audio: AudioSpec, device: torch.device, dtype: torch.dtype
    ) -> None:
        seconds = audio.window_samples / audio.sample_rate
        if seconds < yamnet.SHORTEST:
            raise ClapError(
                f"the tagger hears {yamnet.SHORTEST:.3f} s at least, the windows have "
                f"{seconds:.3g} s: make audio.window_samples larger, or leave [tagger] out."
            )
        self._network = yamnet.load(Path(config.weights)).to(device)
        channels_last(self._network)
        self.names = self._network.labels if config.tags > 0 else ()
        self._rate, self._dtype = audio.sample_rate, dtype

    @torch.no_grad()
    def __call__(self, waveforms: Tensor) -> Heard:
        """Hear ``[clips, window_samples]``."""
        rate = yamnet.SAMPLE_RATE
        if self._rate != rate:
            waveforms = torchaudio.functional.resample(waveforms, self._rate, rate)
        half = self._dtype != torch.float32
        with torch.autocast(waveforms.device.type, self._dtype, enabled=half):
            vector, scores = self._network(waveforms)
        size = vector.square().mean(dim=1, keepdim=True).clamp(min=1e-12).sqrt()
        return Heard(vector / size, scores / scores.sum(dim=1, keepdim=True))


class Lesson(nn.Module):
    """Two heads that learn along with the student and are thrown away after the run.

    ``guess`` guesses the tagger's vector from the student's, which therefore has to hold what the
    tagger hears ("hints", Romero et al. 2015, arXiv 1412.6550). ``answer`` puts the tagger's vector
    into the joint space. It learns from the labels, as the student does, but from features of a
    network that was trained on far more audio; the student learns from its answers (Hinton et al.
    2015, arXiv 1503.02531).

    Args:
        config: how much each part counts.
        student_width: of the audio tower's vector.
        embedding_dim: of the joint space.
    """

    def __init__(self, config: TaggerConfig, student_width: int, embedding_dim: int) -> None:
        super().__init__()
        self.config = config
        self.guess = nn.Linear(student_width, yamnet.WIDTH)
        self.answer = nn.Sequential(nn.Dropout(_DROPOUT), nn.Linear(yamnet.WIDTH, embedding_dim))

    def forward(self, given: LessonBatch, ranks: Ranks = ALONE) -> Tensor:
        """The loss beside that of the labels.

        Args:
            given: this process' clips, and the texts of all.
            ranks: whose share to compute.

        Returns:
            This process' share, whose mean over processes is the loss.
        """
        config, heard, clips = self.config, given.heard, given.clips
        audio, scale = given.audio, given.scale
        loss = audio.new_zeros(())
        if config.answers > 0:
            known, still = given.texts.detach(), scale.detach()
            answer = normalise(self.answer(heard.vector))
            loss = teacher_loss(answer, known, still, given.target, clips, ranks)  # moves the head
            said = (still * answer.detach() @ known.T).softmax(dim=1)
            taught = teacher_loss(audio, given.texts, scale, said, clips, ranks)
            loss = loss + config.answers * taught
        if config.features > 0:
            error = (self.guess(given.vector) - heard.vector).square().mean(dim=1).sum()
            loss = loss + config.features * ranks.world * error / clips
        if config.tags > 0:
            tagged = teacher_loss(audio, given.tags, scale, heard.tags, clips, ranks)
            loss = loss + config.tags * tagged
        return loss
