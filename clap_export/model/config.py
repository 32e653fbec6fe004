"""What is needed to rebuild the network; it travels inside the checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from clap_export.model.bounds import (
    MAX_DFT,
    MAX_LAYERS,
    MAX_MELS,
    MAX_SAMPLE_RATE,
    MAX_SECONDS,
    MAX_SIDE,
    MAX_STAGES,
    MAX_TOKENS,
    MAX_VOCABULARY,
    MAX_WIDTH,
    MAX_WINDOW,
    within,
)
from clap_export.model.bridge_config import BridgeConfig
from runtime import schema
from runtime.audio_spec import AudioSpec, Mel
from runtime.manifest import Calibration

# YAMNet's frontend. It takes magnitudes and adds a floor before the logarithm; of powers, as a
# `Mel` counts, that is the floor's square.
YAMNET_FLOOR = 0.001
YAMNET_MEL = Mel(16_000, 512, 160, 64, 125.0, 7500.0, "htk", None, YAMNET_FLOOR**2)
YAMNET_PATCH = 96  # frames that are told apart at once, 0.96 s


@dataclass(frozen=True)
class Cnn14Config:
    """Shape of a CNN14; the defaults are those of CLAP 2022."""

    n_mels: int = 64  # mel bins of the input; every block but the last halves them
    width: int = 2048  # size of the embedding
    channels: tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)  # of each convolution block
    block_dropout: float = 0.2  # after each block, in training
    head_dropout: float = 0.5  # before and after the embedding layer, in training
    patch_frames: int | None = None  # heard in patches of so many frames, one after the other

    def __post_init__(self) -> None:
        # JSON has no tuples: a config read back from a file comes with a list.
        object.__setattr__(self, "channels", tuple(self.channels))
        if not self.channels:
            raise ValueError("channels is empty: CNN14 needs at least one convolution block")
        within("channels: their number", len(self.channels), MAX_STAGES)
        within("n_mels", self.n_mels, MAX_MELS)
        for name, value in (("width", self.width), *(("channels", n) for n in self.channels)):
            within(name, value, MAX_WIDTH)
        if self.n_mels < self.reduction:
            raise ValueError(
                f"n_mels {self.n_mels} is too small: {len(self.channels)} blocks reduce it "
                f"{self.reduction} times; use at least {self.reduction} mel bins or fewer blocks"
            )
        if self.patch_frames is not None:
            within("patch_frames", self.patch_frames, MAX_SIDE, least=self.reduction)

    @property
    def reduction(self) -> int:
        """How many times both axes shrink: each block but the last pools 2 x 2."""
        return 2 ** (len(self.channels) - 1)


@dataclass(frozen=True)
class HtsatConfig:
    """Shape of an HTSAT; the defaults are HTSAT-tiny, as in LAION CLAP."""

    n_mels: int = 64  # mel bins of the input
    spec_size: int = 256  # side of the square image that the spectrogram is folded into
    patch_size: int = 4  # side of a patch (one token), in pixels of that image
    embed_dim: int = 96  # channels of the first stage; each further stage doubles them
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks in each stage
    num_heads: tuple[int, ...] = (4, 8, 16, 32)  # attention heads in each stage
    window_size: int = 8  # side of an attention window, in tokens
    mlp_ratio: float = 4.0  # hidden width of a block's MLP over its channels
    qkv_bias: bool = True
    fusion: bool = False  # also takes four spectrograms of a long clip, see `Fusion`
    layer_norm_eps: float = 1e-5  # of the norms inside the blocks; the others' is always 1e-5
    activation: Literal["gelu", "gelu_new", "relu", "silu"] = "gelu"  # inside the blocks' MLPs
    drop_rate: float = 0.0  # on tokens and MLPs, in training
    attn_drop_rate: float = 0.0  # on attention weights, in training
    drop_path_rate: float = 0.1  # stochastic depth of the last block; earlier ones have less

    def __post_init__(self) -> None:
        # JSON has no tuples: a config read back from a file comes with lists.
        object.__setattr__(self, "depths", tuple(self.depths))
        object.__setattr__(self, "num_heads", tuple(self.num_heads))
        if not self.depths or len(self.depths) != len(self.num_heads):
            raise ValueError(f"one entry a stage: depths {self.depths}, num_heads {self.num_heads}")
        within("depths: their number", len(self.depths), MAX_STAGES)
        within("n_mels", self.n_mels, MAX_MELS)
        within("spec_size", self.spec_size, MAX_SIDE)
        within("patch_size", self.patch_size, self.spec_size)
        within("window_size", self.window_size, MAX_WINDOW)
        for name, values, most in (
            ("embed_dim", (self.embed_dim,), MAX_WIDTH), ("depths", self.depths, MAX_LAYERS),
            ("num_heads", self.num_heads, MAX_WIDTH),
        ):  # fmt: skip
            for value in values:
                within(name, value, most)
        within("mlp_ratio", self.mlp_ratio, 64, least=1 / 64)
        within("layer_norm_eps", self.layer_norm_eps, 1.0, least=0.0)
        if self.spec_size % self.n_mels or self.spec_size % self.patch_size:
            raise ValueError(
                f"spec_size {self.spec_size} must be a multiple of n_mels {self.n_mels} and of "
                f"patch_size {self.patch_size}"
            )
        for stage, heads in enumerate(self.num_heads):
            if self.dim(stage) % heads:
                raise ValueError(f"stage {stage}: {self.dim(stage)} channels in {heads} heads")
            grid = self.grid(stage)
            if grid == 0 or self.grid(0) % 2**stage or grid % min(grid, self.window_size):
                raise ValueError(
                    f"stage {stage}: a side of {self.grid(0)} / {2**stage} tokens cannot be cut "
                    f"into windows of {self.window_size}"
                )

    def dim(self, stage: int) -> int:
        """Channels of a stage."""
        return self.embed_dim * 2**stage

    def grid(self, stage: int) -> int:
        """Tokens along each side of a stage."""
        return self.spec_size // self.patch_size // 2**stage

    @property
    def max_frames(self) -> int:
        """Frames that the folded image holds; fewer are stretched to it."""
        return self.spec_size * (self.spec_size // self.n_mels)


@dataclass(frozen=True)
class CompactConfig:
    """Options of the compact encoder.

    Attributes:
        backbone: name of a timm architecture; built with one input channel and no classifier.
        n_mels: mel bins of the input.
        drop_path: stochastic depth in training.
        dropout: on the pooled vector, in training.
    """

    backbone: str = "mobilenetv4_conv_small"
    n_mels: int = 64
    drop_path: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        import timm

        within("n_mels", self.n_mels, MAX_MELS)
        if not timm.is_model(self.backbone):
            raise ValueError(f"backbone {self.backbone!r} is not an architecture of timm")


@dataclass(frozen=True)
class YamnetConfig:
    """Options of YAMNet, whose shape is always the same.

    Attributes:
        patch_hop: frames of 10 ms from the beginning of a patch to the next one's.
    """

    patch_hop: int = 48

    def __post_init__(self) -> None:
        within("patch_hop", self.patch_hop, YAMNET_PATCH)

    @property
    def n_mels(self) -> int:
        """Mel bins of the input."""
        return YAMNET_MEL.n_mels


_ARCHITECTURES = ("cnn14", "htsat", "compact", "yamnet")


@dataclass(frozen=True)
class AudioEncoderConfig:
    """Exactly one of the architectures, with its options."""

    cnn14: Cnn14Config | None = None
    htsat: HtsatConfig | None = None
    compact: CompactConfig | None = None
    yamnet: YamnetConfig | None = None

    def __post_init__(self) -> None:
        given = [name for name in _ARCHITECTURES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of {', '.join(_ARCHITECTURES)} (given: {given or 'none'})"
            )

    @property
    def n_mels(self) -> int:
        """Mel bins of the encoder's input."""
        chosen = self.cnn14 or self.htsat or self.compact or self.yamnet
        assert chosen is not None  # exactly one is given
        return chosen.n_mels


# Activations of text towers that have one meaning in transformers and in ONNX.
ACTIVATIONS = (
    "gelu",
    "gelu_new",
    "gelu_fast",
    "gelu_pytorch_tanh",
    "relu",
    "silu",
    "swish",
    "tanh",
)
_TEXT_SIZES = {
    **dict.fromkeys(("hidden_size", "n_embd", "intermediate_size", "n_inner"), (1, MAX_WIDTH)),
    **dict.fromkeys(("num_hidden_layers", "n_layer"), (1, MAX_LAYERS)),
    **dict.fromkeys(("num_attention_heads", "n_head"), (1, MAX_WIDTH)),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), (1, MAX_TOKENS)),
    "vocab_size": (1, MAX_VOCABULARY), "type_vocab_size": (1, MAX_VOCABULARY),
    "pad_token_id": (0, MAX_VOCABULARY),
}  # fmt: skip
_TEXT_RATES = (
    "layer_norm_eps", "layer_norm_epsilon", "hidden_dropout_prob", "attention_probs_dropout_prob",
    "resid_pdrop", "embd_pdrop", "attn_pdrop",
)  # fmt: skip


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
        within("max_tokens", self.max_tokens, MAX_TOKENS)
        within("pad_id", self.pad_id, MAX_VOCABULARY, least=0)
        for name, value in self.options.items():
            if name in _TEXT_SIZES:
                least, most = _TEXT_SIZES[name]
                if type(value) is not int and not (name == "n_inner" and value is None):
                    raise ValueError(f"options.{name} is {value!r}, must be a whole number")
                within(f"options.{name}", value or least, most, least)
            elif name in _TEXT_RATES:
                within(f"options.{name}", value, 1.0, least=0.0)
            elif name in ("hidden_act", "activation_function") and value not in ACTIVATIONS:
                raise ValueError(f"options.{name} is {value!r}, must be one of {ACTIVATIONS}")


@dataclass(frozen=True)
class ProjectionConfig:
    """From a tower's vector into the joint space.

    Attributes:
        kind: ``linear``; ``mlp`` (Linear-ReLU-Linear, LAION); ``residual`` (Linear, then
            GELU-Linear-Dropout added to it, LayerNorm; msclap); ``none`` (the vector as it is: its
            width must be the dimension).
        dropout: used by ``residual`` only, in training.
    """

    kind: Literal["linear", "mlp", "residual", "none"]
    dropout: float = 0.0


@dataclass(frozen=True)
class ClapConfig:
    """A whole CLAP model.

    Attributes:
        audio: sample rate, window, fill rule and mel parameters: training, evaluation, export and
            runtime all prepare audio from this one record.
        calibration: multi-label calibration, fitted on validation data; left out if never fitted.
        licence: of the weights, copied to the bundle.
        bridge: for a model made of a tagger and a text encoder. The projections then end in
            ``bridge.text_dim``, and ``embedding_dim`` is ``bridge.dim``.
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
    bridge: BridgeConfig | None = None

    def __post_init__(self) -> None:
        mel, audio = self.audio.mel, self.audio
        within("embedding_dim", self.embedding_dim, MAX_WIDTH)
        within("audio.sample_rate", audio.sample_rate, MAX_SAMPLE_RATE)
        within("audio.window_samples", audio.window_samples, MAX_SECONDS * audio.sample_rate)
        within("audio.mel.sample_rate", mel.sample_rate, MAX_SAMPLE_RATE)
        within("audio.mel.n_fft", mel.n_fft, MAX_DFT, least=2)
        within("audio.mel.hop_length", mel.hop_length, audio.window_samples)
        within("audio.mel.n_mels", mel.n_mels, MAX_MELS)
        within("audio.mel.f_min", mel.f_min, mel.sample_rate, least=0)
        within("audio.mel.f_max", mel.f_max, mel.sample_rate, least=0)
        within("audio.mel.amin", mel.amin, 1.0, least=1e-30)
        if mel.f_min >= mel.f_max:
            raise ValueError(f"audio.mel: f_min {mel.f_min} is not below f_max {mel.f_max}")
        n_mels = mel.n_mels
        if n_mels != self.audio_encoder.n_mels:
            raise ValueError(
                f"audio.mel has {n_mels} mel bins, the audio encoder {self.audio_encoder.n_mels}"
            )
        if self.audio_encoder.yamnet is not None:
            self._check_yamnet()
        if self.bridge is not None and self.embedding_dim != self.bridge.dim:
            raise ValueError(
                f"embedding_dim is {self.embedding_dim}, the bridge has {self.bridge.dim}"
            )
        if self.bridge is not None and self.audio.long_clips == "fusion":
            raise ValueError(
                "a bridge hears one window at a time: audio.long_clips must be 'windows'"
            )
        htsat = self.audio_encoder.htsat
        if (self.audio.long_clips == "fusion") != (htsat is not None and htsat.fusion):
            raise ValueError(
                f"audio.long_clips is {self.audio.long_clips!r}: 'fusion' goes together with an "
                "HTSAT whose option 'fusion' is true"
            )
        if self.default_template.count("{}") != 1:
            raise ValueError(f"default_template {self.default_template!r} must hold one {{}}")

    def _check_yamnet(self) -> None:
        audio = self.audio
        if audio.mel != YAMNET_MEL or audio.sample_rate != YAMNET_MEL.sample_rate:
            raise ValueError(f"YAMNet hears {YAMNET_MEL.sample_rate} Hz by {YAMNET_MEL}")
        least = (YAMNET_PATCH - 1) * YAMNET_MEL.hop_length + 400
        within("audio.window_samples", audio.window_samples, MAX_SECONDS * 16_000, least)

    @classmethod
    def from_dict(cls, data: object, where: str) -> ClapConfig:
        """Read strictly; see :func:`runtime.schema.read`."""
        return schema.read(cls, data, where)

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`from_dict` reads back to an equal config."""
        return schema.to_plain(self)
