"""A run from its config: vocabulary, text tower, contrastive training, each stage kept on disk."""

from __future__ import annotations

import logging
from pathlib import Path

import torch
from tokenizers import Tokenizer

from clap_export.checkpoints import load, native
from clap_export.model.clap import ClapModel
from clap_export.model.config import ClapConfig
from runtime.errors import ClapError
from train import texts
from train.calibrate import apply
from train.config import TextConfig, TrainConfig, with_vocabulary
from train.distil import distil, teacher_embeddings
from train.evaluate import ClipStoreFactory, Task, read_candidates
from train.listing import read_listing
from train.loop import train
from train.vocabulary import learn_wordpiece

log = logging.getLogger(__name__)

TEXT_STAGE = "text.safetensors"


def run(config: TrainConfig) -> Path:
    """Run or resume; returns the path of the finished checkpoint.

    Stages whose result is already in the output folder are not repeated.

    Raises:
        ClapError: anything in the config that does not fit the files it names.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    config.folder.mkdir(parents=True, exist_ok=True)
    clips = [clip for listing in config.listings for clip in read_listing(listing)]
    torch.manual_seed(config.seed)
    model, tokenizer = start_model(config, device)
    factory = ClipStoreFactory(model.config.audio)
    store = factory(clips)
    tasks = [Task(task, factory) for task in config.tasks]
    best = train(model, tokenizer, store, tasks, config, device)
    if tasks:
        apply(best, [task.run(best, tokenizer, device) for task in tasks])
    finished = config.folder / "model.safetensors"
    native.save(finished, best, tokenizer.to_str())
    return finished


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda`` as a device.

    Raises:
        ClapError: CUDA asked for where there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise ClapError("device = 'cuda' was asked for, but torch finds no CUDA device; use 'cpu'.")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def start_model(config: TrainConfig, device: torch.device) -> tuple[ClapModel, Tokenizer]:
    """The model that contrastive training starts from: ``init``, or a distilled text tower."""
    if config.init is not None:
        found = load(config.init)
        if found.model.config.audio.long_clips == "fusion":
            raise ClapError(
                f"init {config.init} has feature fusion, which training cannot teach: a run draws "
                "clips of one window, so the part that hears long ones would only be forgotten."
            )
        return found.model, Tokenizer.from_str(found.tokenizer)
    assert config.model is not None  # TrainConfig holds one of the two
    stage = config.folder / TEXT_STAGE
    if not stage.is_file():
        if config.text is None:
            raise ClapError(
                "the config has neither 'init' nor a [text] table to make a text tower from."
            )
        return _text_stage(config, config.model, config.text, device, stage)
    found = load(stage)
    tokenizer = Tokenizer.from_str(found.tokenizer)
    torch.manual_seed(config.seed)  # loading has drawn random numbers too
    model = ClapModel(with_vocabulary(config.model, tokenizer.get_vocab_size()))
    parts = ("text_encoder.", "text_projection.")
    state = {k: v for k, v in found.model.state_dict().items() if k.startswith(parts)}
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ClapError(f"{stage} does not fit the config's model: {error}") from error
    return model, tokenizer


def _text_stage(
    config: TrainConfig, shape: ClapConfig, text: TextConfig, device: torch.device, path: Path
) -> tuple[ClapModel, Tokenizer]:
    captions, labels = texts.collect(text.sources, config.templates)
    labels += texts.in_templates(
        [label for task in config.tasks for label in read_candidates(task.candidates)],
        config.templates,
    )
    tokenizer = learn_wordpiece([*captions, *labels * 3], text.vocabulary)
    spans = texts.spans(captions, text.spans, config.seed)
    everything = list(dict.fromkeys([*captions, *labels, *spans]))
    log.info("text stage: %d texts, %d tokens", len(everything), tokenizer.get_vocab_size())
    target = teacher_embeddings(text.teacher, everything, config.folder / "teacher.npz")
    model = ClapModel(with_vocabulary(shape, tokenizer.get_vocab_size())).to(device)
    distil(model, tokenizer, everything, target, text, device)
    native.save(path, model, tokenizer.to_str())
    return model, tokenizer
