"""The original packages' own objects, built without a network; for environments that have them.

Both load their text models and tokenizers by hub name, at construction or at import: local
stand-ins of the same architecture take their places. `make.py` says how to make the environment.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers


def msclap(version: str, tokenizer: str, checkpoint: str | None = None) -> Any:
    """A ``CLAPWrapper``.

    Args:
        version: 2022 or 2023.
        tokenizer: folder of BERT's tokenizer, or of GPT-2's vocab.json and merges.txt.
        checkpoint: a file in the original's format; without one the weights are random.
    """
    from msclap import CLAP
    from msclap.models import clap

    if version == "2022":
        base = transformers.BertModel(transformers.BertConfig())
        made: Any = transformers.AutoTokenizer.from_pretrained(tokenizer)
    else:
        base = transformers.GPT2Model(transformers.GPT2Config())
        made = transformers.GPT2TokenizerFast(f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt")
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.object(clap.AutoModel, "from_pretrained", return_value=base),
        mock.patch("msclap.CLAPWrapper.AutoTokenizer.from_pretrained", return_value=made),
    ):
        if checkpoint is None:
            checkpoint = str(Path(folder) / "empty.pth")
            torch.save({"model": {}}, checkpoint)
        return CLAP(checkpoint, version=version)


@contextmanager
def pinned() -> Iterator[None]:
    """LAION's fusion without its two accidents.

    Each random chunk is the middle one of those it may be; and the overview is shrunk as when the
    models were trained, since torchvision's Resize smooths tensors as well only from 0.17 on.
    """
    import torchvision

    plain = partial(torchvision.transforms.Resize, antialias=False)
    with (
        mock.patch("numpy.random.choice", lambda choices: choices[len(choices) // 2]),
        mock.patch("torchvision.transforms.Resize", plain),
    ):
        yield


def laion(amodel: str, checkpoint: str | None = None, fused: bool = False) -> Any:
    """A ``CLAP_Module`` of HTSAT-tiny, HTSAT-base or PANN-14; its tokenizer is a mock."""
    config = transformers.RobertaConfig(
        vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, layer_norm_eps=1e-5
    )
    stand_in = mock.Mock()
    with (
        mock.patch("transformers.RobertaTokenizer.from_pretrained", stand_in),
        mock.patch("transformers.BertTokenizer.from_pretrained", stand_in),
        mock.patch("transformers.BartTokenizer.from_pretrained", stand_in),
        mock.patch(
            "transformers.RobertaModel.from_pretrained",
            return_value=transformers.RobertaModel(config),
        ),
    ):
        import laion_clap

        module = laion_clap.CLAP_Module(fused, device="cpu", amodel=amodel)
    if checkpoint is not None:
        module.load_ckpt(checkpoint, verbose=False)
    module.model.eval()
    return module
