"""A CLAP checkpoint of transformers as transformers.js takes it: one ONNX graph for both towers.

python benchmarks/js/peer_model.py CHECKPOINT OUT
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import torch
from transformers import ClapModel


class BothTowers(torch.nn.Module):
    """What the pipeline asks for: cosines of sounds and texts, times the logit scale."""

    def __init__(self, model: ClapModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, input_features: torch.Tensor
    ) -> torch.Tensor:
        longer = torch.zeros((input_features.shape[0], 1), dtype=torch.bool)
        return self.model(
            input_ids=input_ids, attention_mask=attention_mask, input_features=input_features,
            is_longer=longer,
        ).logits_per_audio  # fmt: skip


def main(checkpoint: Path, out: Path) -> None:
    model = ClapModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    (out / "onnx").mkdir(parents=True)
    for name in ("config.json", "preprocessor_config.json", "tokenizer.json"):
        shutil.copy(checkpoint / name, out / name)
    settings = {
        "tokenizer_class": "RobertaTokenizer", "model_max_length": 77, "pad_token": "<pad>",
        "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
    }  # fmt: skip
    (out / "tokenizer_config.json").write_text(json.dumps(settings))
    texts = torch.ones((3, 9), dtype=torch.int64)
    sounds = torch.zeros((2, 1, 1001, 64))
    torch.onnx.export(
        BothTowers(model), (texts, torch.ones_like(texts), sounds), out / "onnx" / "model.onnx",
        input_names=["input_ids", "attention_mask", "input_features"],
        output_names=["logits_per_audio"], opset_version=17, dynamo=False,
        dynamic_axes={
            "input_ids": {0: "texts", 1: "tokens"}, "attention_mask": {0: "texts", 1: "tokens"},
            "input_features": {0: "sounds"}, "logits_per_audio": {0: "sounds", 1: "texts"},
        },
    )  # fmt: skip


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
