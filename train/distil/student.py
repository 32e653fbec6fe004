"""The student: fresh towers in the teacher's space, and what it takes over from the teacher."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint
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
    mean the same. So is the text tower when the config has none.

    Args:
        config: the architecture.
        teacher: whose space it is.
        tokenizer: the student's.
        seed: of the fresh weights.

    Raises:
        ClapError: another dimension, or an architecture that cannot be built and run.
    """
    theirs = teacher.model.config
    if config.embedding_dim != theirs.embedding_dim:
        raise ClapError(
            f"student.embedding_dim is {config.embedding_dim}, the teacher's space has "
            f"{theirs.embedding_dim} dimensions; set it to {theirs.embedding_dim}."
        )
    try:
        shape = _shape(config, teacher)
        if config.text_encoder is not None:
            shape = with_vocabulary(shape, tokenizer.get_vocab_size())
        seed_weights(seed)
        student = ClapModel(shape).eval()
        # Tried on one window and one text: the tables are the user's own numbers.
        embed_clips(student, [np.zeros(shape.audio.window_samples, np.float32)])
        embed_texts(student, tokenizer, ["a sound"])
    except Exception as error:  # of torch and transformers, as many kinds as there are mistakes
        reason = " ".join(str(error).split()[:30])
        raise ClapError(
            f"the [student] cannot be built as it is described ({type(error).__name__}: {reason}): "
            "compare its tables with those of a recipe."
        ) from error
    taken = ("logit_scale",)
    if config.text_encoder is None:
        taken = ("logit_scale", "text_encoder.", "text_projection.")
    state = student.state_dict()
    state |= {k: v for k, v in teacher.model.state_dict().items() if k.startswith(taken)}
    student.load_state_dict(state)
    return student


def _shape(config: StudentConfig, teacher: Checkpoint) -> ClapConfig:
    theirs = teacher.model.config
    return ClapConfig(
        name=config.name,
        licence=licence(config.licence, teacher),
        embedding_dim=config.embedding_dim,
        audio=config.audio,
        audio_encoder=config.audio_encoder,
        audio_projection=config.audio_projection,
        text_encoder=config.text_encoder or theirs.text_encoder,
        text_projection=config.text_projection or theirs.text_projection,
        default_template=theirs.default_template,
        calibration=theirs.calibration,
    )


def licence(own: str, teacher: Checkpoint) -> str:
    """The student's licence with the teacher's beside it: its embeddings are what was learned."""
    name = teacher.model.config.name
    return f"{own}; distilled from {name}, whose licence is: {teacher.source.licence}"


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
