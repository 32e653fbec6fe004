"""The contrastive loss of CLAP, with more than one positive allowed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def contrastive_loss(audio: Tensor, text: Tensor, scale: Tensor, target: Tensor) -> Tensor:
    """Symmetric cross-entropy (Elizalde et al. 2022, section 2).

    With one caption for each clip (``target`` the identity) this is the paper's loss. Clips that
    share a text, and texts that belong to no clip of the batch (extra negatives), fit in by the
    target: each row is a distribution over texts; a column, normalised, is one over clips.

    Args:
        audio: ``[clips, dim]`` unit vectors.
        text: ``[texts, dim]`` unit vectors.
        scale: factor on cosines.
        target: ``[clips, texts]``, rows sum to 1.
    """
    logits = scale * audio @ text.T
    from_audio = F.cross_entropy(logits, target)
    share = target.sum(dim=0)
    used = share > 0
    per_text = (target / share.clamp(min=1e-6)).T[used]
    from_text = F.cross_entropy(logits.T[used], per_text)
    return (from_audio + from_text) / 2
