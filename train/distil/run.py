"""``python -m train distil``: a run from its config, kept on disk after every epoch."""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import Checkpoint, load, native
from clap_export.model.clap import ClapModel
from runtime import schema
from runtime.errors import ClapError
from train.config.distil import DistilConfig, TextLessonConfig
from train.data import texts
from train.data.vocabulary import learn_wordpiece
from train.distil import cache as distil_cache
from train.distil import recordings as distil_audio
from train.distil import student as distil_student
from train.distil import text_lesson as distil_text
from train.distil.audio_lesson import AudioLesson
from train.distil.cache import CacheKey
from train.distil.course import Course
from train.distil.stretches import Stretches
from train.distil.text_lesson import TextLesson
from train.machine.device import pick_device

log = logging.getLogger(__name__)

LAST = "last.pt"
METRICS = "metrics.jsonl"
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
    device = pick_device(config.device)
    source = config.teacher
    teacher = load(source.checkpoint, source.family, source.tokenizer)
    sentences, content = _read(config, teacher)
    tokenizer = Tokenizer.from_str(content)  # truncation and padding get set on it, not on content
    student = distil_student.start(config.student, teacher, tokenizer, config.seed).to(device)
    space = teacher.space_id()  # of the weights while they are on the CPU
    found = distil_audio.find(config.audio.listings, config.audio.files)
    specs = [config.student.audio, teacher.model.config.audio]
    stretches = Stretches(
        distil_audio.Recordings(found, specs), config.student.audio, teacher.model
    )
    log.info("%d recordings, %d stretches", len(stretches.recordings), len(stretches))
    heard = stretches.key(space)
    teacher.model.to(device)
    targets = None
    if config.audio.cache is not None:
        targets = stretches.targets(Path(config.audio.cache), heard, device)
    courses: list[Course] = []
    if config.texts is not None:
        read = CacheKey.of(space, sentences)
        target = _text_targets(config.texts, teacher, sentences, read, device)
        lesson = TextLesson(
            student, tokenizer, sentences, target, config.texts.batch_size, config.seed, device
        )
        courses.append(Course(lesson, config.texts.epochs, config.texts.learning_rate, config.seed))
    lesson = AudioLesson(
        student, stretches, targets, config.augment, config.audio.batch_size, config.seed, device
    )
    courses.append(Course(lesson, config.audio.epochs, config.audio.learning_rate, config.seed))
    _teach(config.folder, student, courses, _fingerprint(config, heard, sentences), device)
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
    if config.texts.vocabulary is None:
        distil_student.check_tokenizer(config.student, teacher)
        return sentences, teacher.tokenizer
    return sentences, learn_wordpiece([*captions, *labels], config.texts.vocabulary).to_str()


def _text_targets(
    config: TextLessonConfig, teacher: Checkpoint, sentences: list[str], key: CacheKey,
    device: torch.device,
) -> np.ndarray:  # fmt: skip
    cache = None if config.cache is None else Path(config.cache)
    if cache is not None and (stored := distil_cache.read(cache, key)) is not None:
        return stored
    # A tokenizer of its own: truncation and padding are set on it.
    tokenizer = Tokenizer.from_str(teacher.tokenizer)
    found = distil_text.embed(teacher.model, tokenizer, sentences, device).astype(np.float16)
    return found if cache is None else distil_cache.write(cache, key, found)


def _fingerprint(config: DistilConfig, heard: CacheKey, sentences: list[str]) -> str:
    """Hash of all that a run's numbers depend on, so that a state of another one is not gone on
    with."""
    plain = schema.to_plain(config)
    for key in ("out", "device", "threads", "teacher"):
        del plain[key]
    plain["audio"] |= {"listings": heard.items, "files": heard.teacher}
    plain["texts"] = plain["texts"] and {**plain["texts"], "cache": None, "sources": sentences}
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _teach(
    folder: Path, student: ClapModel, courses: list[Course], fingerprint: str, device: torch.device
) -> None:
    """Every epoch of every course that the folder's state does not have yet."""
    folder.mkdir(parents=True, exist_ok=True)
    history = _resume(folder / LAST, student, courses, fingerprint, device)
    done = len(history)
    for course in courses:
        skipped = min(done, course.epochs)
        done -= skipped
        for epoch in range(skipped, course.epochs):
            found = course.run(epoch)
            history.append(asdict(found))
            _save(folder, student, course, history, fingerprint)
            log.info(
                "%s epoch %d/%d: loss %.4f, held-out cosine %.4f, %.0f s",
                found.tower, found.epoch, course.epochs, found.loss, found.cosine, found.seconds,
            )  # fmt: skip


def _resume(
    path: Path, student: ClapModel, courses: list[Course], fingerprint: str, device: torch.device
) -> list[dict[str, Any]]:
    """Load the last state if there is one; returns the records of its epochs."""
    if not path.is_file():
        return []
    state = torch.load(path, map_location=device, weights_only=True)
    if state["fingerprint"] != fingerprint:
        raise ClapError(
            f"{path} is the state of a run with another config, teacher or other clips: give "
            "another 'out', or delete it."
        )
    student.load_state_dict(state["student"])
    history: list[dict[str, Any]] = state["history"]
    now = next(c for c in courses if c.lesson.name == history[-1]["tower"])
    now.optimiser.load_state_dict(state["optimiser"])
    _write_metrics(path.parent, history)  # a kill may have come between the two files
    log.info("resumed after %s epoch %d", history[-1]["tower"], history[-1]["epoch"])
    return history


def _save(
    folder: Path, student: ClapModel, course: Course, history: list[dict[str, Any]],
    fingerprint: str,
) -> None:  # fmt: skip
    """Replace the resumable state in one rename, then the metrics."""
    part = folder / f"{LAST}.part"
    state = {
        "fingerprint": fingerprint, "history": history, "student": student.state_dict(),
        "optimiser": course.optimiser.state_dict(),
    }  # fmt: skip
    torch.save(state, part)
    part.replace(folder / LAST)
    _write_metrics(folder, history)


def _write_metrics(folder: Path, history: list[dict[str, Any]]) -> None:
    part = folder / f"{METRICS}.part"
    part.write_text("".join(json.dumps(record) + "\n" for record in history), encoding="utf-8")
    part.replace(folder / METRICS)
