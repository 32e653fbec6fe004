"""``python -m train distil``: a run from its config, kept on disk after every epoch."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint, load, native
from clap_export.model.clap import ClapModel
from runtime.errors import ClapError
from train.config.distil import DistilConfig
from train.data import texts
from train.data.vocabulary import learn_wordpiece
from train.distil.audio_lesson import AudioLesson
from train.distil.cache import CacheKey, kept
from train.distil.course import Course
from train.distil.recordings import Recordings, find
from train.distil.state import DistilState, fingerprint
from train.distil.stretches import Stretches
from train.distil.student import check_tokenizer, start
from train.distil.text_lesson import Taught, TextLesson
from train.machine.device import pick_device
from train.machine.folder import run_folder
from train.machine.run import Run
from train.zero_shot.embedding import embed_texts

log = logging.getLogger(__name__)

RESULT = "model.safetensors"


def run(config: DistilConfig) -> Path:
    """Run or resume; returns the path of the finished checkpoint.

    The text tower learns first, if it does, then the audio tower; they share nothing but the space.

    Raises:
        ClapError: anything in the config that does not fit the teacher or the files it names, a
            cache of something else, or an output folder of another run.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    here = Run(config, pick_device(config.device))
    source = config.teacher
    teacher = load(source.checkpoint, source.family, source.tokenizer)
    sentences, content = _read(config, teacher)
    tokenizer = Tokenizer.from_str(content)  # truncation and padding get set on it, not on content
    student = start(config.student, teacher, tokenizer, config.seed).to(here.device)
    space = teacher.space_id()  # of the weights while they are on the CPU
    teacher.model.to(here.device)
    stretches = _stretches(config, teacher.model)
    cache, targets = config.audio.cache, None
    if cache is not None:
        targets = stretches.targets(Path(cache), space)
    courses: list[Course] = []
    if config.texts is not None:
        taught = _taught(config, teacher, sentences, CacheKey.of(space, sentences))
        lesson = TextLesson(student, tokenizer, taught, config.texts, config.seed)
        courses.append(Course(lesson, config.texts, config.seed, config.texts.ema))
    lesson = AudioLesson(student, stretches, targets, here)
    courses.append(Course(lesson, config.audio, config.seed, config.audio.ema))
    with run_folder(config.folder):
        state = DistilState(
            student, courses, fingerprint(config, stretches, stretches.key(space), sentences)
        )
        _teach(state, config.folder)
        finished = config.folder / RESULT
        native.save(finished, student.eval(), content)
    return finished


def _read(config: DistilConfig, teacher: Checkpoint) -> tuple[list[str], str]:
    """The texts to learn from (none if the text tower is the teacher's), and the tokenizer."""
    if config.texts is None:
        return [], teacher.tokenizer
    captions, labels = texts.collect(config.texts.sources, config.texts.templates)
    spans = texts.spans(captions, config.texts.spans, config.seed)
    sentences = list(dict.fromkeys([*captions, *labels, *spans]))
    if not sentences:
        raise ClapError("texts.sources hold no text to learn from: name columns that do.")
    if config.texts.vocabulary is None:
        check_tokenizer(config.student, teacher)
        return sentences, teacher.tokenizer
    return sentences, learn_wordpiece([*captions, *labels], config.texts.vocabulary).to_str()


def _stretches(config: DistilConfig, teacher: ClapModel) -> Stretches:
    spec = config.student.audio
    found = find(config.audio.listings, config.audio.files)
    made = Stretches(
        Recordings(found, [spec, teacher.config.audio]), spec, teacher, config.audio.seconds
    )
    log.info("%d recordings, %d stretches", len(made.recordings), len(made))
    return made


def _taught(
    config: DistilConfig, teacher: Checkpoint, sentences: list[str], key: CacheKey
) -> Taught:
    """The sentences with the teacher's embeddings of them."""
    assert config.texts is not None
    cache = None if config.texts.cache is None else Path(config.texts.cache)
    # A tokenizer of its own: truncation and padding are set on it.
    tokenizer, model = Tokenizer.from_str(teacher.tokenizer), teacher.model

    def read() -> np.ndarray:
        return embed_texts(model, tokenizer, sentences).cpu().numpy()

    target = kept(cache, key, model.config.embedding_dim, read)
    return Taught(sentences, target)


def _teach(state: DistilState, folder: Path) -> None:
    """Every epoch of every course that the folder's state does not have yet."""
    state.load(folder)
    done = len(state.history)
    for course in state.courses:
        skipped = min(done, course.epochs)
        done -= skipped
        for epoch in range(skipped, course.epochs):
            found = course.run(epoch)
            state.history.append(asdict(found))
            state.save(folder, course)
            log.info(
                "%s epoch %d/%d: loss %.4f, held-out cosine %.4f, %.0f s",
                found.tower, found.epoch, course.epochs, found.loss, found.cosine, found.seconds,
            )  # fmt: skip
