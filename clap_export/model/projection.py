"""From a tower's vector into the joint space."""

from __future__ import annotations

from torch import Tensor, nn

from clap_export.model.config import ProjectionConfig


class Projection(nn.Module):
    """``[batch, width]`` to ``[batch, dim]``; see :class:`ProjectionConfig` for the kinds."""

    def __init__(self, config: ProjectionConfig, width: int, dim: int) -> None:
        super().__init__()
        self.kind = config.kind
        if config.kind == "none":
            if width != dim:
                raise ValueError(f"a projection of kind 'none' makes no {dim} of {width}")
        elif config.kind == "linear":
            self.linear1 = nn.Linear(width, dim)
        elif config.kind == "mlp":
            self.linear1 = nn.Linear(width, dim)
            self.activation = nn.ReLU()
            self.linear2 = nn.Linear(dim, dim)
        else:
            self.linear1 = nn.Linear(width, dim, bias=False)
            self.activation = nn.GELU()
            self.linear2 = nn.Linear(dim, dim, bias=False)
            self.dropout = nn.Dropout(config.dropout)
            self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Project; not normalised."""
        if self.kind == "none":
            return x
        first = self.linear1(x)
        if self.kind == "linear":
            return first
        second = self.linear2(self.activation(first))
        return second if self.kind == "mlp" else self.norm(first + self.dropout(second))
