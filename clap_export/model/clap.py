"""The CLAP model (Elizalde et al. 2022, arXiv 2206.04769): two towers, one space."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from clap_export.model.bridge import Bridge
from clap_export.model.cnn14 import Cnn14
from clap_export.model.compact import Compact
from clap_export.model.config import AudioEncoderConfig, ClapConfig
from clap_export.model.fusion import channels
from clap_export.model.htsat import Htsat
from clap_export.model.mel import LogMel
from clap_export.model.projection import Projection
from clap_export.model.text import TextEncoder
from clap_export.model.yamnet import Yamnet, YamnetMel
from runtime.errors import ClapError

# CLIP's and CLAP's: temperature 0.07 at the start, logits never multiplied by more than 100.
LOGIT_SCALE_INIT = math.log(1 / 0.07)
LOGIT_SCALE_MAX = math.log(100.0)


class ClapModel(nn.Module):
    """Waveform and text encoders into one space of unit vectors.

    Args:
        config: the whole architecture.
    """

    def __init__(self, config: ClapConfig) -> None:
        super().__init__()
        self.config = config
        self.mel = build_frontend(config)
        self.audio_encoder = build_audio_encoder(config.audio_encoder)
        bridge, dim = config.bridge, config.embedding_dim
        self.bridge: Bridge | None = None
        if bridge is not None:
            self.bridge, dim = Bridge(bridge, self.audio_encoder.tagged_width), bridge.text_dim
        # Without labels a bridge has learned no map.
        learned = bridge is None or bridge.labels > 0
        self.audio_projection = (
            Projection(config.audio_projection, self.audio_encoder.width, dim)
            if learned
            else nn.Identity()
        )
        self.text_encoder = TextEncoder(config.text_encoder)
        self.text_projection = Projection(config.text_projection, self.text_encoder.width, dim)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE_INIT))

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """Waveforms to ``[batch, embedding_dim]``, unit norm.

        Args:
            waveform: ``[batch, window_samples]`` float32; more samples with feature fusion.
        """
        return self.embed_log_mel(*self.hear(waveform))

    def hear(self, waveform: Tensor) -> tuple[Tensor, Tensor | None]:
        """What :meth:`embed_log_mel` takes, of the waveforms that :meth:`embed_audio` takes."""
        log_mel, audio = self.mel(waveform), self.config.audio
        if audio.long_clips == "windows":
            return log_mel, None
        return channels(log_mel, 1 + audio.window_samples // audio.mel.hop_length)

    def embed_log_mel(self, log_mel: Tensor, longer: Tensor | None = None) -> Tensor:
        """Decibels to ``[batch, embedding_dim]``, unit norm.

        Args:
            log_mel: ``[batch, frames, n_mels]``; with ``longer``, for models with feature fusion,
                ``[batch, 4, frames, n_mels]`` of :mod:`clap_export.model.fusion`.
            longer: ``[batch]`` bool.
        """
        return normalise(self.raw_audio(log_mel, longer))

    def raw_audio(self, log_mel: Tensor, longer: Tensor | None = None) -> Tensor:
        """What :meth:`embed_log_mel` gives, before it is scaled to unit norm."""
        if self.bridge is None:
            heard = (log_mel,) if longer is None else (log_mel, longer)
            return self.audio_projection(self.audio_encoder(*heard))
        vector, tagged = self.audio_encoder.tagged(log_mel)
        features = self.bridge.features(vector)
        mapped = self.audio_projection(features) if self.bridge.config.labels else None
        return self.bridge.audio(tagged, mapped)

    def embed_text(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """``[batch, tokens]`` int64 each to ``[batch, embedding_dim]``, unit norm."""
        states = self.text_encoder(input_ids, attention_mask, token_type_ids)
        projected = self.text_projection(states)
        return normalise(projected if self.bridge is None else self.bridge.text(projected))

    def scale(self) -> Tensor:
        """The factor on cosines, exp(logit_scale), at most 100."""
        return self.logit_scale.clamp(max=LOGIT_SCALE_MAX).exp()


def shapes(config: ClapConfig, where: str) -> dict[str, Tensor]:
    """Names, shapes and types of a model's tensors, without memory for their values.

    Raises:
        ClapError: there is no such model.
    """
    try:
        with torch.device("meta"):
            return ClapModel(config).state_dict()
    except (ValueError, TypeError, RuntimeError, ArithmeticError, LookupError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise ClapError(f"{where}: no model can be made of its config ({reason}).") from error


def build_frontend(config: ClapConfig) -> LogMel:
    """The spectrogram that the audio encoder takes."""
    return LogMel(config.audio.mel) if config.audio_encoder.yamnet is None else YamnetMel()


def build_audio_encoder(config: AudioEncoderConfig) -> Cnn14 | Htsat | Compact | Yamnet:
    """The encoder that the config names."""
    if config.cnn14 is not None:
        return Cnn14(config.cnn14)
    if config.htsat is not None:
        return Htsat(config.htsat)
    if config.yamnet is not None:
        return Yamnet(config.yamnet)
    assert config.compact is not None  # AudioEncoderConfig holds exactly one
    return Compact(config.compact)


def normalise(x: Tensor) -> Tensor:
    """L2-normalise the last axis in float32, whatever the input's type."""
    return unit_and_norm(x)[0]


def unit_and_norm(x: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors ``[…, dim]`` as unit vectors and L2 norms ``[…]``, both float32.

    Their product is ``x``. The norm of a vector of zeros is 1e-12, and its unit vector zeros.
    """
    x = x.float()
    norm = x.square().sum(dim=-1, keepdim=True).clamp(min=1e-24).sqrt()
    return x / norm, norm.squeeze(-1)
