"""Which windows of a recording are heard, and how one embedding is made of them.

Vectors of one space that were made by different policies do not match each other: a policy is part
of the clip space. Texts and label banks have none.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from runtime.arguments import number, shown
from runtime.clips.quirks import Quirks, quirks
from runtime.errors import BundleError, ClapError
from runtime.schema import Text, Within

if TYPE_CHECKING:
    from runtime.audio_spec import AudioSpec

Choice = Literal["all", "spaced", "past_intro", "head", "middle", "fusion"]
Tail = Literal["aligned", "dropped", "filled"]
Pooling = Literal["mean", "raw_mean", "max", "energy"]

COUNTED = ("spaced", "past_intro", "head", "middle")
INTRO = 45.0  # seconds of a track that are passed over
MOST_WINDOWS = 4096  # of a policy that counts them
MOST_SECONDS = 3600.0  # between windows, in a manifest
LONGEST_HOP = 1 << 60  # samples: longer than any recording, so one window is left


@dataclass(frozen=True)
class Policy:
    """How a recording becomes windows, and their embeddings one.

    Attributes:
        name: of the preset, or any other that a caller likes; no part of the clip space.
        windows: ``all``; ``spaced`` (``count`` of them, evenly from start to end); ``past_intro``
            (evenly from 45 s to the end, as many of ``count`` as fit side by side, one alone at
            45 s; of a recording that ends before, the middle one); ``head`` and ``middle``
            (``count`` of them, ``hop`` apart, from the start or around the middle); or ``fusion``
            (a clip longer than a window is heard at once, by models made for it).
        count: of windows, for ``spaced``, ``past_intro``, ``head`` and ``middle``.
        hop: seconds between the starts of windows; None is the bundle's own ``hop_samples``.
        tail: what is done with samples behind the last window that fits: ``aligned`` (one more
            window ends with the recording), ``filled`` (the next window takes them and is filled
            like a short recording) or ``dropped``. It is for ``all`` and ``head``.
        pooling: ``mean`` of the windows' unit vectors; ``raw_mean``, of the vectors as the encoder
            gives them, before they are scaled to unit norm; ``energy``, the mean of unit vectors
            weighted by the windows' mean squares; ``max``, of each label's scores over the windows,
            for a rare sound in a long recording, which leaves no embedding.
        quirks: of an original package whose vectors are matched; default none.

    Raises:
        ValueError: fields that contradict each other.
    """

    name: Annotated[str, Text(255)]
    windows: Choice = "all"
    count: Annotated[int, Within(1, MOST_WINDOWS)] | None = None
    hop: Annotated[float, Within(1e-6, MOST_SECONDS)] | None = None
    tail: Tail = "aligned"
    pooling: Pooling = "mean"
    quirks: Quirks = field(default_factory=Quirks)

    def __post_init__(self) -> None:
        if (self.count is None) == (self.windows in COUNTED):
            raise ValueError(
                f"windows={self.windows!r} and count={self.count}: a count is for "
                f"{', '.join(map(repr, COUNTED))}, which need one"
            )
        if self.hop is not None and self.windows in ("spaced", "past_intro", "fusion"):
            raise ValueError(f"windows={self.windows!r} have no hop, and it is {self.hop}")

    @classmethod
    def of(cls, spec: AudioSpec) -> Policy:
        """Today's own rule for a model: all windows, the last one aligned, mean of unit vectors; or
        the model's feature fusion."""
        return cls("default", "fusion" if spec.long_clips == "fusion" else "all")

    def hop_samples(self, spec: AudioSpec) -> int:
        """Samples between the starts of windows, at least one."""
        if self.hop is None:
            return spec.hop_samples
        return max(1, round(min(self.hop * spec.sample_rate, LONGEST_HOP)))

    def timeline(self, spec: AudioSpec, hop: float | None) -> Policy:
        """The policy of a timeline: all windows, with a hop in seconds; default the policy's.

        Raises:
            ClapError: hop is no positive time of at least one sample.
        """
        policy = replace(self, windows="all", count=None, tail="aligned", pooling="mean")
        if hop is None:
            return policy
        wanted = "a positive number of seconds"
        seconds = number("hop", hop, wanted)
        if seconds * spec.sample_rate < 1:
            raise ClapError(f"hop={hop}: pass {wanted}, at least one sample.")
        return replace(policy, hop=seconds)

    @property
    def streamed(self) -> str:
        """A sentence: what of this counts where windows come every hop, however long it lasts."""
        kept = ["the resampler"] * (self.quirks.resampler != "soxr")
        kept += ["the rule for channels"] * (self.quirks.channels != "mean")
        counts = f"{' and '.join(kept)} alone" if kept else "nothing"
        return (
            f"Of the windows '{self.name}' {counts} counts here: all windows are heard, one each "
            "hop, and none are pooled."
        )

    @property
    def needs_total(self) -> bool:
        """Whether windows can be chosen only when the length is known."""
        return self.windows in ("spaced", "past_intro", "middle", "fusion")

    def starts(self, spec: AudioSpec, total: int | None = None) -> Iterable[int]:
        """Where windows start, in samples; endless where only the recording's end ends them.

        Args:
            spec: length of a window, and the default hop.
            total: samples of the recording, for a policy that needs it.
        """
        hop = self.hop_samples(spec)
        if self.windows == "all":
            return itertools.count(0, hop)
        count = self.count or 1
        if self.windows == "head":
            return range(0, count * hop, hop)
        last = max(0, (total or 0) - spec.window_samples)
        if self.windows == "spaced":
            # From the first possible start to the last, rounded down; one alone is in the middle.
            if count == 1:
                return [last // 2]
            return sorted({i * last // (count - 1) for i in range(count)})
        if self.windows == "past_intro":
            left = last - round(INTRO * spec.sample_rate)
            if left < 0:
                return [last // 2]
            gaps = min(count - 1, left // spec.window_samples)
            return [last - left + i * left // max(1, gaps) for i in range(gaps + 1)]
        fitting = min(count, last // hop + 1)
        first = (last - (fitting - 1) * hop) // 2
        return range(first, first + fitting * hop, hop)

    def clip_space_id(self, space_id: str, spec: AudioSpec) -> str:
        """Hash of what defines the space of recordings' embeddings: the model's, and this policy.

        Args:
            space_id: of the bundle.
            spec: of the bundle, whose hop counts where the policy names none.
        """
        fields: dict[str, Any] = {**asdict(self), "hop": self.hop_samples(spec)}
        del fields["name"], fields["quirks"]["whole_texts"]  # which move no recording
        text = json.dumps([space_id, fields], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


# What can be asked for by name; docs/recordings.md describes them. ``NAME:COUNT`` changes a count.
PRESETS = {
    policy.name: policy
    for policy in (
        Policy("all"),
        Policy("head", "head", 1),
        Policy("middle", "middle", 1),
        Policy("spaced", "spaced", 3),
        Policy("loudest", pooling="energy"),
        Policy("rare", pooling="max"),
        Policy("back-to-back", tail="dropped", pooling="raw_mean"),
        Policy("past-intro", "past_intro", 1, pooling="raw_mean"),
    )
}  # fmt: skip
# Those that match an original package, by where they take their window: the packages draw it.
FAITHFUL: dict[str, Choice] = {"faithful": "head", "faithful-middle": "middle"}


def chosen(
    wanted: object, bundled: Policy, spec: AudioSpec, gives_norm: bool, family: str
) -> Policy:
    """A policy from what a caller may give.

    Args:
        wanted: a Policy; the name of a preset, with ``:COUNT`` for those that count windows; a
            name of :data:`FAITHFUL`; ``default``, or None, for the bundle's.
        bundled: the bundle's.
        spec: of the bundle.
        gives_norm: its audio graph gives norms.
        family: of its source.

    Raises:
        ClapError: it is none of these.
        BundleError: the bundle cannot follow it.
    """
    policy = _named(wanted, bundled, spec.long_clips == "fusion", family)
    if policy.pooling == "raw_mean" and not gives_norm:
        raise BundleError(
            f"the policy '{policy.name}' pools vectors before they are scaled, and the audio graph "
            "of this older bundle does not give their norms. Export it again."
        )
    if policy.windows == "fusion" and spec.long_clips != "fusion":
        raise BundleError(
            f"the policy '{policy.name}' hears long recordings by feature fusion, which this model "
            "does not have. Choose another."
        )
    return policy


def _named(wanted: object, bundled: Policy, fused: bool, family: str) -> Policy:
    if wanted is None or wanted == "default":
        return bundled
    if isinstance(wanted, Policy):
        return wanted
    if isinstance(wanted, str) and wanted in FAITHFUL:
        found = quirks(family, fused)
        if fused:
            return Policy(wanted, "fusion", quirks=found)
        return Policy(wanted, FAITHFUL[wanted], 1, quirks=found)
    name, colon, count = wanted.partition(":") if isinstance(wanted, str) else ("", "", "")
    preset = PRESETS.get(name)
    if preset is not None and preset.windows == "past_intro" and family == "msclap":
        # The collections that it matches were made with torchaudio, of the mean of the channels.
        preset = replace(preset, quirks=Quirks("torchaudio"))
    if preset is not None and not colon:
        return preset
    counted = preset is not None and preset.count is not None and re.fullmatch("[0-9]{1,9}", count)
    if preset is not None and counted and 1 <= int(count) <= MOST_WINDOWS:
        return replace(preset, name=f"{name}:{int(count)}", count=int(count))
    raise ClapError(
        f"windows={shown(wanted)}: pass a Policy, 'default', or one of "
        f"{', '.join((*PRESETS, *FAITHFUL))}; those "
        f"that count windows also as in 'spaced:3', with 1 to {MOST_WINDOWS}."
    )
