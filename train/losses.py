"""The two contrastive losses, with more than one positive allowed, and that of teachers.

Every process computes the loss of its own clips against all texts, and of its own texts against all
clips. These shares are scaled such that their mean over the processes is the loss of the whole.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from train.machine.distributed import ALONE, Ranks

# SigLIP's start (Zhai et al. 2023, arXiv 2303.15343, section 3.2): nearly all pairs are negatives,
# and with this bias the first steps do not go into saying so.
SIGMOID_SCALE = 10.0
SIGMOID_BIAS = -10.0


def softmax_loss(
    audio: Tensor, text: Tensor, scale: Tensor, target: Tensor, ranks: Ranks = ALONE
) -> Tensor:
    """Symmetric cross-entropy (Elizalde et al. 2022, arXiv 2206.04769, section 2).

    With one caption for each clip (``target`` the identity) this is the paper's loss. Clips that
    share a text, and texts that belong to no clip of the batch (extra negatives), fit in by the
    target: each row is a distribution over texts; a column, normalised, is one over clips.

    Args:
        audio: ``[clips, dim]`` unit vectors, of all processes.
        text: ``[texts, dim]`` unit vectors, of all processes.
        scale: factor on cosines.
        target: ``[clips, texts]``, rows sum to 1.
        ranks: whose share to compute.

    Returns:
        This process' share, whose mean over processes is the loss.
    """
    logits = scale * ranks.own(audio) @ text.T
    from_audio = F.cross_entropy(logits, ranks.own(target), reduction="sum") / len(audio)
    share = target.sum(dim=0)
    # A text of no clip has a row of zeros, which adds nothing. Leaving it out would be a wait for
    # the device, to learn how many are left.
    per_text = ranks.own((target / share.clamp(min=1e-6)).T)
    logits = scale * ranks.own(text) @ audio.T
    from_text = F.cross_entropy(logits, per_text, reduction="sum") / (share > 0).sum()
    return ranks.world * (from_audio + from_text) / 2


def sigmoid_loss(
    audio: Tensor, text: Tensor, scale: Tensor, bias: Tensor, target: Tensor, ranks: Ranks = ALONE
) -> Tensor:
    """One yes or no for each pair (Zhai et al. 2023, arXiv 2303.15343, section 3.2).

    A row's largest target is a full yes and the others are in proportion, so that several texts
    that fit a clip equally well are all positives, and the fainter sound of a mixture a lesser one.

    Args:
        audio: ``[clips, dim]`` unit vectors, of all processes.
        text: ``[texts, dim]`` unit vectors, of all processes.
        scale: factor on cosines.
        bias: added to the scaled cosines.
        target: ``[clips, texts]``, no row all 0.
        ranks: whose share to compute.

    Returns:
        This process' share, whose mean over processes is the loss: the sum over a clip's texts,
        averaged over clips.
    """
    logits = scale * ranks.own(audio) @ text.T + bias
    own = ranks.own(target)
    wanted = own / own.amax(dim=1, keepdim=True)
    total = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    return ranks.world * total / len(audio)


def teacher_loss(
    own_audio: Tensor, text: Tensor, scale: Tensor, taught: Tensor, clips: int, ranks: Ranks = ALONE
) -> Tensor:
    """Cross-entropy with the teachers' choice among the texts (Hinton et al. 2015, arXiv
    1503.02531, at their own temperature).

    Args:
        own_audio: ``[own clips, dim]`` unit vectors of this process.
        text: ``[texts, dim]`` unit vectors, of all processes.
        scale: factor on cosines.
        taught: ``[own clips, texts]``, rows sum to 1.
        clips: of all processes.
        ranks: whose share to compute.

    Returns:
        This process' share, whose mean over processes is the loss.
    """
    total = F.cross_entropy(scale * own_audio @ text.T, taught, reduction="sum")
    return ranks.world * total / clips
