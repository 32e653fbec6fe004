"""The student: fresh towers in the teacher's space, and what it takes over from the teacher."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from clap_export.checkpoints import Checkpoint, load
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig
from runtime.errors import ClapError
from train.config.distil import StudentConfig
from train.data.vocabulary import with_vocabulary
from train.machine.random_streams import seed_weights
from train.zero_shot.embedding import embed_clips, embed_texts


def start(config: StudentConfig, teacher: Checkpoint, tokenizer: Tokenizer, seed: int) -> ClapModel:
    """The student before its first step, on the CPU and in ``eval()``.

    The logit scale, the default prompt and the calibration are the teacher's: in one space they
    mean the same. So is the text tower when the config has none. The student of a bridge is a
    bridge: it learns to tell the teacher's tags, and what texts make of tags is the teacher's.

    Args:
        config: the architecture.
        teacher: whose space it is.
        tokenizer: the student's.
        seed: of the fresh weights.

    Raises:
        ClapError: another dimension, an architecture that cannot be built and run, a text tower of
            its own beside a bridge's, or another audio tower to start with.
    """
    theirs = teacher.model.config
    if theirs.bridge is not None and config.text_encoder is not None:
        raise ClapError(
            f"the teacher {theirs.name} is a bridge, whose texts are read by its own encoder: set "
            "text = 'teacher', and give the bridge a compact text encoder where the student needs "
            "one."
        )
    first = None if config.start is None else load(config.start)
    if config.embedding_dim != theirs.embedding_dim:
        raise ClapError(
            f"student.embedding_dim is {config.embedding_dim}, the teacher's space has "
            f"{theirs.embedding_dim} dimensions; set it to {theirs.embedding_dim}."
        )
    try:
        shape = _shape(config, teacher, first)
        if config.text_encoder is not None:
            shape = with_vocabulary(shape, tokenizer.get_vocab_size())
        seed_weights(seed)
        student = ClapModel(shape).eval()
        # Tried on one window and the longest text: the tables are the user's own numbers.
        embed_clips(student, [np.zeros(shape.audio.window_samples, np.float32)])
        longest = "a sound " * shape.text_encoder.max_tokens
        embed_texts(student, tokenizer, ["a sound", longest])
    except Exception as error:  # of torch and transformers, as many kinds as there are mistakes
        reason = " ".join(str(error).split()[:30])
        raise ClapError(
            f"the [student] cannot be built as it is described ({type(error).__name__}: {reason}): "
            "compare its tables with those of a recipe."
        ) from error
    taken = ("logit_scale",)
    if config.text_encoder is None:
        taken = ("logit_scale", "text_encoder.", "text_projection.", "bridge.")
    state = student.state_dict()
    state |= {
        name: value
        for name, value in teacher.model.state_dict().items()
        if name.startswith(taken) and not name.startswith("bridge.head.")
    }
    if first is not None:
        state |= _audio_tower(first, student)
    student.load_state_dict(state)
    if student.bridge is not None:
        with torch.no_grad():  # every tag as probable as it is, not one half
            student.bridge.head.bias.copy_(student.bridge.usual.clamp(1e-6, 1 - 1e-6).logit())
    return student


def _audio_tower(first: Checkpoint, student: ClapModel) -> dict[str, Tensor]:
    """The tensors of a finished audio tower, which must be the student's in all but its values."""
    theirs, own = first.model.config, student.config
    if (theirs.audio_encoder, theirs.audio.mel) != (own.audio_encoder, own.audio.mel):
        raise ClapError(
            f"student.start {theirs.name} has another audio tower or frontend than the [student]: "
            "copy its tables audio.mel and audio_encoder, or leave 'start' out."
        )
    tower = first.model.state_dict().items()
    return {k: v for k, v in tower if k.startswith(("audio_encoder.", "mel."))}


def _shape(config: StudentConfig, teacher: Checkpoint, first: Checkpoint | None) -> ClapConfig:
    theirs = teacher.model.config
    # Roots have no gradient at 0, where many of a tower's values lie: nothing could be learned.
    bridge = None if theirs.bridge is None else replace(theirs.bridge, root=False)
    return ClapConfig(
        name=config.name,
        licence=licence(config.licence, teacher, first),
        embedding_dim=config.embedding_dim,
        audio=config.audio,
        audio_encoder=config.audio_encoder,
        audio_projection=config.audio_projection,
        text_encoder=config.text_encoder or theirs.text_encoder,
        text_projection=config.text_projection or theirs.text_projection,
        default_template=theirs.default_template,
        calibration=theirs.calibration,
        bridge=bridge,
    )


def licence(own: str, teacher: Checkpoint, first: Checkpoint | None = None) -> str:
    """The student's licence with the teacher's beside it, whose embeddings are what was learned,
    and that of the model it began with."""
    name = teacher.model.config.name
    whole = f"{own}; distilled from {name}, whose licence is: {teacher.source.licence}"
    if first is None:
        return whole
    return f"{whole}; begun with {first.model.config.name}, licence: {first.source.licence}"


def check_tokenizer(config: StudentConfig, teacher: Checkpoint) -> None:
    """Whether a student's text encoder reads the teacher's tokens as they are made.

    Raises:
        ClapError: another padding token or suffix than the teacher's.
    """
    own, theirs = config.text_encoder, teacher.model.config.text_encoder
    if own is not None and (own.pad_id, own.suffix) != (theirs.pad_id, theirs.suffix):
        raise ClapError(
            f"student.text_encoder has pad_id {own.pad_id} and suffix {own.suffix!r}, the "
            f"teacher's tokenizer goes with {theirs.pad_id} and {theirs.suffix!r}: use those, or "
            "set texts.vocabulary for a tokenizer of the student's own."
        )
