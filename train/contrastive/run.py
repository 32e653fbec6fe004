"""A run from its config: vocabulary, text tower, contrastive training, each stage kept on disk."""

from __future__ import annotations

import logging
import math
import os
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
from train.contrastive.loop import train
from train.contrastive.text_stage import distil, teacher_embeddings
from train.data import texts
from train.data.clips import ClipStore
from train.data.listing import read_listing
from train.data.vocabulary import learn_wordpiece, with_vocabulary
from train.losses import SIGMOID_SCALE
from train.machine.device import pick_device
from train.machine.distributed import Ranks, processes
from train.machine.free_memory import free_memory
from train.zero_shot.calibrate import apply
from train.zero_shot.task import ClipStoreFactory, Task, read_candidates

log = logging.getLogger(__name__)

TEXT_STAGE = "text.safetensors"


def run(config: TrainConfig) -> Path:
    """Run or resume; returns the path of the finished checkpoint.

    Stages whose result is already in the output folder are not repeated. Started by torchrun, this
    is one process of several: the first one writes, and makes what the others then read.

    Raises:
        ClapError: anything in the config that does not fit the files it names.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    device = pick_device(config.device)
    with processes(device) as ranks:
        if not ranks.first:
            logging.getLogger().setLevel(logging.WARNING)
        return _run(config, device, ranks)


def _run(config: TrainConfig, device: torch.device, ranks: Ranks) -> Path:
    config.folder.mkdir(parents=True, exist_ok=True)
    clips = [clip for listing in config.listings for clip in read_listing(listing)]
    torch.manual_seed(config.seed)
    with ranks.first_one_first():
        model, tokenizer = start_model(config, device)
    model.to(device)
    ranks.broadcast(model.state_dict().values())
    memory = _memory(config.data.memory, ranks, device)
    store = ClipStore(clips, model.config.audio, config.threads, memory, config.data.bad_share)
    tasks: list[Task] = []
    if ranks.first:
        factory = ClipStoreFactory(model.config.audio)
        tasks = [Task(task, factory) for task in config.tasks]
        store.write_report(config.folder)
    best = train(model, tokenizer, store, tasks, config, device, ranks)
    finished = config.folder / "model.safetensors"
    if ranks.first:
        store.write_report(config.folder)
        if tasks:
            apply(best, [task.run(best, tokenizer) for task in tasks])
        native.save(finished, best, tokenizer.to_str())
    return finished


def _memory(limit: int | None, ranks: Ranks, device: torch.device) -> int:
    """Bytes for the waveforms of one process: its part of the limit, or of half of what is free.

    All processes must hold their clips or all decode them when drawn, or bad clips would have
    another effect here than there; so the first one's part counts.
    """
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    everything = free_memory() // 2 if limit is None else limit
    share = torch.tensor(everything // here, device=device)
    ranks.broadcast([share])
    return int(share)


def start_model(config: TrainConfig, device: torch.device) -> tuple[ClapModel, Tokenizer]:
    """The model that contrastive training starts from.

    It is ``init``; or a fresh one, with a text tower from ``text_init`` or distilled, and an audio
    tower from ``audio_init`` if that is given.

    Raises:
        ClapError: a file that cannot be used, or no text tower at all.
    """
    if config.init is not None:
        found = load(config.init)
        if found.model.config.audio.long_clips == "fusion":
            raise ClapError(
                f"init {config.init} has feature fusion, which training cannot teach: a run draws "
                "clips of one window, so the part that hears long ones would only be forgotten."
            )
        return found.model, Tokenizer.from_str(found.tokenizer)
    assert config.model is not None  # TrainConfig holds one of the two
    if config.text_init is not None and Path(config.text_init).is_file():
        model, tokenizer = _with_text_of(Path(config.text_init), config, config.model)
    elif config.text_init is not None:
        text = pretrained.read_text(config.text_init, config.model.text_encoder)
        torch.manual_seed(config.seed)
        model, tokenizer = ClapModel(pretrained.with_text(config.model, text)), text.tokenizer
        pretrained.fill_text(model, text)
    else:
        model, tokenizer = _own_text(config, config.model, device)
    if config.audio_init is not None:
        pretrained.fill_audio(model, Path(config.audio_init))
    if config.loop.loss == "sigmoid":
        with torch.no_grad():
            model.logit_scale.fill_(math.log(SIGMOID_SCALE))
    return model, tokenizer


def _own_text(
    config: TrainConfig, shape: ClapConfig, device: torch.device
) -> tuple[ClapModel, Tokenizer]:
    """A fresh model with the text tower of the text stage, which is made if it is not there."""
    stage = config.folder / TEXT_STAGE
    if not stage.is_file():
        if config.text is None:
            raise ClapError(
                "the config has neither 'init' nor a [text] table nor 'text_init' to take a text "
                "tower from."
            )
        return _text_stage(config, shape, config.text, device, stage)
    return _with_text_of(stage, config, shape)


def _with_text_of(
    path: Path, config: TrainConfig, shape: ClapConfig
) -> tuple[ClapModel, Tokenizer]:
    """A fresh model with the text tower and the projection of texts of another one."""
    found = load(path)
    tokenizer = Tokenizer.from_str(found.tokenizer)
    torch.manual_seed(config.seed)  # loading has drawn random numbers too
    model = ClapModel(with_vocabulary(shape, tokenizer.get_vocab_size()))
    parts = ("text_encoder.", "text_projection.")
    state = {k: v for k, v in found.model.state_dict().items() if k.startswith(parts)}
    try:
        model.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ClapError(f"{path} does not fit the config's model: {error}") from error
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
