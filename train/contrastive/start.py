"""The model that training starts from: a checkpoint, or fresh towers with pretrained weights."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig
from runtime.errors import ClapError
from train.config.contrastive import TrainConfig
from train.config.teaching import TextConfig
from train.contrastive import pretrained
from train.contrastive.text_stage import learn, teacher_embeddings
from train.data import texts
from train.data.vocabulary import learn_wordpiece, with_vocabulary
from train.losses import SIGMOID_SCALE
from train.machine import package
from train.machine.random_streams import seed_weights
from train.machine.run import Run
from train.zero_shot.task import read_candidates

log = logging.getLogger(__name__)

TEXT_STAGE = "text.safetensors"


def start_model(run: Run[TrainConfig]) -> tuple[ClapModel, Tokenizer]:
    """The model of a run before its first step, and the tokenizer of its text tower.

    It is ``init``; or a fresh one, with a text tower from ``text_init`` or from the text stage, and
    an audio tower from ``audio_init`` if that is given.

    Raises:
        ClapError: a file that cannot be used, or no text tower at all.
    """
    config = run.config
    if config.init is not None:
        found = load(config.init)
        _check_fusion(config, found.model.config.audio.long_clips == "fusion")
        return found.model, Tokenizer.from_str(found.tokenizer)
    assert config.model is not None  # TrainConfig holds one of the two
    _check_fusion(config, config.model.audio.long_clips == "fusion")
    if config.text_init is not None and Path(config.text_init).is_file():
        model, tokenizer = _with_text_of(Path(config.text_init), config.seed, config.model)
    elif config.text_init is not None:
        text = pretrained.read_text(config.text_init, config.model.text_encoder)
        seed_weights(config.seed)
        model, tokenizer = ClapModel(pretrained.with_text(config.model, text)), text.tokenizer
        pretrained.fill_text(model, text)
    else:
        model, tokenizer = _own_text(run, config.model)
    if config.audio_init is not None:
        pretrained.fill_audio(model, Path(config.audio_init))
    if config.loop.loss == "sigmoid":
        with torch.no_grad():
            model.logit_scale.fill_(math.log(SIGMOID_SCALE))
    return model, tokenizer


def _check_fusion(config: TrainConfig, fused: bool) -> None:
    """A part that hears long clips is taught by long clips, and no other model takes them."""
    if fused and not config.loop.long_share:
        raise ClapError(
            "the model has feature fusion, and clips of one window alone would let it forget how "
            "to hear long ones: set loop.long_share, such as 0.5."
        )
    if config.loop.long_share and not fused:
        raise ClapError(
            "loop.long_share is for models with feature fusion, which this one has not: leave it "
            "out; long clips are heard window by window."
        )
    if fused and (config.teachers is not None or config.tagger is not None):
        raise ClapError(
            "teachers and taggers hear one window, and a model with feature fusion is trained on "
            "longer clips too: leave [teachers] and [tagger] out."
        )


def _own_text(run: Run[TrainConfig], shape: ClapConfig) -> tuple[ClapModel, Tokenizer]:
    """A fresh model with the text tower of the text stage, which is made if it is not there."""
    stage = run.config.folder / TEXT_STAGE
    if stage.is_file():
        return _with_text_of(stage, run.seed, shape)
    if run.config.text is None:
        raise ClapError(
            "the config has neither 'init' nor a [text] table nor 'text_init' to take a text "
            "tower from."
        )
    model, tokenizer = _text_stage(run, shape, run.config.text)
    native.save(stage, model, tokenizer.to_str())
    return model, tokenizer


def _with_text_of(path: Path, seed: int, shape: ClapConfig) -> tuple[ClapModel, Tokenizer]:
    """A fresh model with the text tower and the projection of texts of another one."""
    found = load(path)
    tokenizer = Tokenizer.from_str(found.tokenizer)
    seed_weights(seed)  # loading has drawn random numbers too
    model = ClapModel(with_vocabulary(shape, tokenizer.get_vocab_size()))
    parts = ("text_encoder.", "text_projection.")
    state = {k: v for k, v in found.model.state_dict().items() if k.startswith(parts)}
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ClapError(f"{path} does not fit the config's model: {error}") from error
    return model, tokenizer


def _text_stage(
    run: Run[TrainConfig], shape: ClapConfig, text: TextConfig
) -> tuple[ClapModel, Tokenizer]:
    config = run.config
    captions, labels, tokenizer = _read(config, text)
    spans = texts.spans(captions, text.spans, config.seed)
    everything = list(dict.fromkeys([*captions, *labels, *spans]))
    log.info("text stage: %d texts, %d tokens", len(everything), tokenizer.get_vocab_size())
    target = teacher_embeddings(text.teacher, everything, config.folder / "teacher.npz")
    model = ClapModel(with_vocabulary(shape, tokenizer.get_vocab_size())).to(run.device)
    learn(model, tokenizer, everything, target, text, run.device)
    return model, tokenizer


def untaught(
    config: TrainConfig, shape: ClapConfig, text: TextConfig
) -> tuple[ClapModel, Tokenizer]:
    """What the text stage begins with: its tokenizer, and towers that have learned nothing.

    Raises:
        ClapError: the stage's sources cannot be read, or its teacher is a folder that is not there.
    """
    source = str(package.find(text.teacher, "text.teacher"))
    if source != text.teacher and not Path(source).is_dir():
        raise ClapError(f"text.teacher {text.teacher} is not there: {source} is no folder.")
    _, _, tokenizer = _read(config, text)
    return ClapModel(with_vocabulary(shape, tokenizer.get_vocab_size())), tokenizer


def _read(config: TrainConfig, text: TextConfig) -> tuple[list[str], list[str], Tokenizer]:
    """Captions and labels of the text stage, and the vocabulary that is learned from them."""
    captions, labels = texts.collect(text.sources, config.templates)
    labels += texts.in_templates(
        [label for task in config.tasks for label in read_candidates(task.candidates)],
        config.templates,
    )
    return captions, labels, learn_wordpiece([*captions, *labels * 3], text.vocabulary)
