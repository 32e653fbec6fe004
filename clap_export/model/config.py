"""What is needed to rebuild the network; it travels inside the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.compact import CompactConfig
from clap_export.model.htsat import HtsatConfig
from runtime import schema
from runtime.bundle import AudioSpec, Calibration


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Exactly one of the three architectures, with its options."""

    cnn14: Cnn14Config | None = None
    htsat: HtsatConfig | None = None
    compact: CompactConfig | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("cnn14", "htsat", "compact") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of cnn14, htsat, compact (given: {given or 'none'})"
            )

    @property
    def n_mels(self) -> int:
        """Mel bins of the encoder's input."""
        chosen = self.cnn14 or self.htsat or self.compact
        assert chosen is not None  # exactly one is given
        return chosen.n_mels


@dataclass(frozen=True)
class TextEncoderConfig:
    """A transformers text model and how its states become one vector.

    Attributes:
        model_type: transformers' name of the architecture.
        options: fields of that architecture's transformers config that differ from its defaults.
        pooling: ``cls`` (first state), ``mean`` (over real tokens), ``pooler`` (the model's own
            tanh pooler), ``last`` (state of the last real token, right padding) or
            ``last_unpadded`` (the state at the number of ids that are not ``pad_id``, less one:
            how msclap finds the last one, which is off by the pads that a text itself contains).
        max_tokens: fixed length of the text graph's inputs.
        pad_id: token that fills the rest.
        token_type_ids: the model takes them as an input (BERT).
        suffix: appended to every text before tokenising.
    """

    model_type: Literal["bert", "roberta", "gpt2"]
    options: dict[str, Any]
    pooling: Literal["cls", "mean", "pooler", "last", "last_unpadded"]
    max_tokens: int
    pad_id: int
    token_type_ids: bool = False
    suffix: str = ""

    def __post_init__(self) -> None:
        if self.model_type == "gpt2" and self.pooling == "pooler":
            raise ValueError("gpt2 has no pooler; use pooling 'last'")


@dataclass(frozen=True)
class ProjectionConfig:
    """From a tower's vector into the joint space.

    Attributes:
        kind: ``linear``; ``mlp`` (Linear-ReLU-Linear, LAION); ``residual`` (Linear, then
            GELU-Linear-Dropout added to it, LayerNorm; msclap).
        dropout: used by ``residual`` only, in training.
    """

    kind: Literal["linear", "mlp", "residual"]
    dropout: float = 0.0


@dataclass(frozen=True)
class ClapConfig:
    """A whole CLAP model.

    Attributes:
        audio: sample rate, window, fill rule and mel parameters: training, evaluation, export and
            runtime all prepare audio from this one record.
        calibration: multi-label calibration, fitted on validation data; None if never fitted.
        licence: of the weights, copied to the bundle.
    """

    name: str
    licence: str
    embedding_dim: int
    audio: AudioSpec
    audio_encoder: AudioEncoderConfig
    audio_projection: ProjectionConfig
    text_encoder: TextEncoderConfig
    text_projection: ProjectionConfig
    default_template: str
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        n_mels = self.audio.mel.n_mels
        if n_mels != self.audio_encoder.n_mels:
            raise ValueError(
                f"audio.mel has {n_mels} mel bins, the audio encoder {self.audio_encoder.n_mels}"
            )
        htsat = self.audio_encoder.htsat
        if (self.audio.long_clips == "fusion") != (htsat is not None and htsat.fusion):
            raise ValueError(
                f"audio.long_clips is {self.audio.long_clips!r}: 'fusion' goes together with an "
                "HTSAT whose option 'fusion' is true"
            )
        if self.default_template.count("{}") != 1:
            raise ValueError(f"default_template {self.default_template!r} must hold one {{}}")

    @classmethod
    def from_dict(cls, data: object, where: str) -> ClapConfig:
        """Read strictly; see :func:`runtime.schema.read`."""
        return schema.read(cls, data, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`from_dict` reads back to an equal config."""
        return schema.to_plain(self)
