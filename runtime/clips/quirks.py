"""What the original packages do otherwise with a recording or a text, by family.

Vectors that were made with msclap, laion_clap or transformers are matched by doing the same. Their
random crop of a long recording cannot be: a crop at the start or in the middle stands for it.

==============  =====================  ====================  ================  =================
what            here                   msclap 1.3.4          laion_clap 1.1.7  transformers
==============  =====================  ====================  ================  =================
sample rate     soxr, length rounded   torchaudio's short    librosa: soxr,    librosa, by users
                to the nearest         windowed sinc         length rounded    and in its
                                                             up                examples
channels        mean                   one after the other   mean              mean
longer than     all windows, or        a random window       as msclap, or     as LAION
the window      feature fusion                               random chunks
short clip,     heard once             (no feature fusion)   heard once        a lone one is
feature fusion                                                                 heard as if long
long texts      cut, with a warning    not cut               cut               not cut
==============  =====================  ====================  ================  =================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from runtime.errors import ClapError

Resampler = Literal["soxr", "torchaudio", "librosa"]
Channels = Literal["mean", "strung"]


@dataclass(frozen=True)
class Quirks:
    """What an original does otherwise; the defaults are what is done here.

    Attributes:
        resampler: ``soxr``; ``torchaudio``'s default, which lets much of what it should remove
            through; or ``librosa``'s, which is soxr with a length of ``ceil(n * ratio)``.
        channels: their ``mean``; or ``strung`` one after the other, each resampled alone.
        always_longer: with feature fusion, a clip that fits into a window is called longer, too.
        whole_texts: texts are not cut to the tokens that the model was trained with.
    """

    resampler: Resampler = "soxr"
    channels: Channels = "mean"
    always_longer: bool = False
    whole_texts: bool = False


def quirks(family: str, fused: bool) -> Quirks:
    """Those of a family's own package.

    Args:
        family: of the bundle's source.
        fused: the model has feature fusion.

    Raises:
        ClapError: no such package is known.
    """
    if family == "msclap":
        return Quirks("torchaudio", "strung", whole_texts=True)
    if family == "laion":
        return Quirks("librosa")
    if family == "transformers":
        return Quirks("librosa", always_longer=fused, whole_texts=True)
    raise ClapError(
        f"windows='faithful': this model's family is '{family}', and there is no other package "
        "whose vectors could be matched. Choose 'default'."
    )
