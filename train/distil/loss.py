"""The loss of distillation: regression on the unit sphere of the teacher's space."""

from __future__ import annotations

from torch import Tensor

# Of the second term; the squared differences of cosines are an order below 1 - cosine.
RELATION = 10.0


def regression_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """1 - cosine, plus the squared difference of the batch's similarity matrices.

    The first term is tinyCLAP's (Paissan & Farella 2023, arXiv 2311.14517). The second keeps the
    relations between items, which is what labels are compared by.

    Args:
        student: ``[batch, dim]`` unit vectors.
        teacher: ``[batch, dim]`` unit vectors, what they should be.
    """
    alike = (student @ student.T - teacher @ teacher.T).square().mean()
    return (1 - (student * teacher).sum(1)).mean() + RELATION * alike
