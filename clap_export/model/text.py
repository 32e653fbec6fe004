"""Text towers: a transformers model built from its config, and a pooling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from clap_export.model.config import TextEncoderConfig
from runtime.errors import ClapError

# exp(-1e4) is 0 in float32; finite in float16.
_MASKED = -1e4


class TextEncoder(nn.Module):
    """Token ids to one vector per text.

    Attention is computed in its plain ("eager") form, which exports to standard ONNX operations.

    Raises:
        ClapError: transformers does not know one of the options.
    """

    def __init__(self, config: TextEncoderConfig) -> None:
        super().__init__()
        from transformers import AutoConfig, AutoModel

        self.config = config
        defaults = AutoConfig.for_model(config.model_type).to_dict()
        unknown = sorted(set(config.options) - set(defaults))
        if unknown:
            raise ClapError(
                f"text_encoder.options: {config.model_type} has no {', '.join(unknown)}"
            )
        pooler = config.pooling == "pooler"
        extra = {} if config.model_type == "gpt2" else {"add_pooling_layer": pooler}
        try:
            options = AutoConfig.for_model(config.model_type, **config.options)
            options._attn_implementation = "eager"
            self.transformer = AutoModel.from_config(options, **extra)
        except Exception as error:  # what does not fit together, in many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise ClapError(
                f"text_encoder.options: transformers makes no {config.model_type} of them "
                f"({reason})."
            ) from error
        self.width: int = options.hidden_size

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None
    ) -> Tensor:
        """``[batch, tokens]`` int64 ids and mask (1 real, 0 padding) to ``[batch, width]``."""
        inputs = {"input_ids": input_ids, "attention_mask": self._additive_mask(attention_mask)}
        if self.config.token_type_ids and token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        output = self.transformer(**inputs)
        if self.config.pooling == "pooler":
            return output.pooler_output
        states = output.last_hidden_state
        if self.config.pooling == "cls":
            return states[:, 0]
        mask = attention_mask.to(states.dtype)
        if self.config.pooling != "mean":
            real = attention_mask
            if self.config.pooling == "last_unpadded":
                real = (input_ids != self.config.pad_id).long()
            # One-hot instead of an index: a weighted sum exports without GatherND.
            position = torch.arange(mask.shape[1], device=mask.device)
            last = real.sum(dim=1, keepdim=True) - 1
            mask = (position[None, :] == last).to(states.dtype)
        weights = mask / mask.sum(dim=1, keepdim=True)
        return (states * weights.unsqueeze(-1)).sum(dim=1)

    def _additive_mask(self, attention_mask: Tensor) -> Tensor:
        """What attention scores get added: ``[batch, 1, 1 or tokens, tokens]`` float32.

        Made here because transformers' own mask exports with index arithmetic, and with a minimum
        that is infinite in half precision.
        """
        hidden = (1.0 - attention_mask.float())[:, None, None, :] * _MASKED
        if self.config.model_type != "gpt2":
            return hidden
        tokens = attention_mask.shape[1]
        future = torch.ones(tokens, tokens, device=attention_mask.device).triu(1)
        return (hidden + future * _MASKED).clamp(min=_MASKED)
