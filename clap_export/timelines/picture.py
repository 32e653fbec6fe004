"""A recording as a picture: its spectrogram, and below it when each label was heard."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.figure import new, save
from clap_export.timelines.activity import Activity
from clap_export.timelines.regions import Sharing
from clap_export.timelines.spectrum import BANDS, Spectrum, to_mel
from clap_export.timelines.timeline import Timeline
from runtime import Segment
from runtime.plain_text import printable

MOST_ROWS = 24  # labels
LETTERS = 30  # of a label
WIDTH, SPECTROGRAM, ROW = 12.0, 2.6, 0.21  # inches
RANGE, SILENCE = 75.0, -95.0  # dB: shown below the loudest, and what is quieter than anything
# Seconds between ticks.
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
TICKS = 12  # at most, before days begin
# Fonts with the signs that matplotlib's own lacks, where they are installed.
FONTS = (
    "Noto Sans", "Noto Sans CJK JP", "Noto Sans CJK SC", "WenQuanYi Zen Hei", "Noto Sans Arabic",
    "Noto Sans Devanagari", "Hiragino Sans", "Microsoft YaHei", "Arial Unicode MS",
)  # fmt: skip


class Picture:
    """Listens to a recording while it is classified; its memory is the same for any length.

    Args:
        rate: of the samples that come, in Hz.
        low: lowest frequency of the spectrogram, in Hz.
        high: the highest.
        labels: how many there are.
        measure: what a score is: ``softmax``, ``cosine`` or ``multilabel``.
    """

    def __init__(self, rate: int, low: float, high: float, labels: int, measure: str) -> None:
        self._spectrum = Spectrum(rate, low, high if low < high <= rate / 2 else rate / 2)
        self._activity, self._sharing = Activity(labels), Sharing()
        self._labels, self._measure = labels, measure
        self._rate, self._samples = rate, 0

    def hear(self, blocks: Iterable[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        """Samples float32 ``[n]`` on their way to the classifier."""
        for block in blocks:
            self._spectrum.push(block)
            self._samples += len(block)
            yield block

    def see(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        """Windows on their way to whoever writes them."""
        for segment in segments:
            for share in self._sharing.push(segment):
                self._activity.add(share)
            yield segment

    def draw(self, timeline: Timeline, path: Path, overwrite: bool) -> None:
        """Draw what was heard.

        Args:
            timeline: of the recording.
            path: of the picture; its ending chooses PNG, SVG or PDF.
            overwrite: replace a file that is there.

        Raises:
            ClapError: matplotlib is not installed, or the file cannot be written.
        """
        self._spectrum.finish()
        for share in self._sharing.finish():
            self._activity.add(share)
        seconds = max(self._samples / self._rate, timeline.end, 1e-3)
        rows = self._activity.best(MOST_ROWS)
        height = SPECTROGRAM + ROW * max(len(rows), 2)
        figure = new(WIDTH, height + 1.1)
        above, below = figure.subplots(
            2, 1, sharex=True, height_ratios=[SPECTROGRAM, height - SPECTROGRAM]
        )
        self._spectrogram(figure, above)
        self._heat(figure, below, rows)
        _time_axis(below, seconds)
        name = printable(Path(timeline.file).name if timeline.file != "-" else "standard input")
        title = f"{_cut(name, 90)}  ({_clock(seconds)})"
        above.set_title(title, loc="left", fontsize=11, parse_math=False, fontfamily=_fonts())
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph", UserWarning)  # a box is shown in its place
            save(figure, path, overwrite=overwrite)

    def _spectrogram(self, figure: Any, axes: Any) -> None:
        from matplotlib.ticker import FixedLocator, FuncFormatter

        found = self._spectrum.decibels()
        top = max(float(found.max(initial=SILENCE)), SILENCE + 20)
        image = axes.imshow(
            found.T, cmap="magma", origin="lower", aspect="auto", vmin=top - RANGE, vmax=top,
            interpolation="nearest", extent=(0, len(found) * self._spectrum.seconds, 0, BANDS),
        )  # fmt: skip
        if found.max(initial=SILENCE) <= SILENCE:
            axes.text(
                0.5, 0.5, "silence", color="w", ha="center", va="center", transform=axes.transAxes
            )
        bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=14)
        bar.set_label("dB of full scale", fontsize=8)
        bar.ax.tick_params(labelsize=8)
        low, high = to_mel(self._spectrum.edges[0]), to_mel(self._spectrum.edges[-1])
        marks = [h for h in (200, 500, 1000, 2000, 4000, 8000, 16000) if low < to_mel(h) < high]
        places = {float((to_mel(h) - low) / (high - low) * BANDS): h for h in marks}
        axes.yaxis.set_major_locator(FixedLocator(list(places)))
        names = {round(p, 6): f"{h // 1000} k" if h >= 1000 else f"{h}" for p, h in places.items()}
        axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: names.get(round(y, 6), "")))
        axes.set_ylabel("Hz (mel scale)", fontsize=9)
        axes.tick_params(labelsize=8)

    def _heat(self, figure: Any, axes: Any, rows: list[Any]) -> None:
        axes.set_facecolor("#e8e8e8")  # where nothing was said
        values = np.array([row.scores for row in rows]) if rows else np.full((1, 1), np.nan)
        heard = values[np.isfinite(values)]
        low, high = 0.0, 1.0
        if self._measure == "cosine" and len(heard):
            low, high = float(heard.min()), max(float(heard.max()), float(heard.min()) + 1e-3)
        image = axes.imshow(
            np.ma.masked_invalid(values), cmap="viridis", aspect="auto", vmin=low, vmax=high,
            interpolation="nearest",
            extent=(0, values.shape[1] * self._activity.seconds, len(values), 0),
        )  # fmt: skip
        thickness = SPECTROGRAM / 14 / (ROW * max(len(rows), 2))
        bar = figure.colorbar(image, ax=axes, pad=0.01, fraction=0.03, aspect=1 / thickness)
        bar.set_label(self._measure, fontsize=8)
        bar.ax.tick_params(labelsize=8)
        names = [f"{_cut(printable(row.label), LETTERS)}  {row.peak:.2f}" for row in rows]
        axes.set_yticks(
            np.arange(len(names)) + 0.5, names, parse_math=False, fontsize=8.5, fontfamily=_fonts()
        )
        axes.tick_params(axis="y", length=0)
        axes.tick_params(axis="x", labelsize=8)
        for line in range(1, len(rows)):
            axes.axhline(line, color="w", linewidth=0.6)
        if not rows:
            axes.text(0.5, 0.5, "none of these", ha="center", va="center", transform=axes.transAxes)
        whole = "1 label, with its peak" if self._labels == 1 else f"{self._labels} labels"
        said = f"{len(rows)} of {whole}" if len(rows) < self._labels else whole
        best = ", best first, with their peaks" * (self._labels > 1)
        axes.set_title(f"{said}{best}", loc="left", fontsize=9, color="#444444")


def _time_axis(axes: Any, seconds: float) -> None:
    """Ticks at round times, in the unit in which the recording's length is said."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    axes.set_xlim(0, seconds)
    step = next((s for s in STEPS if seconds / s <= TICKS), STEPS[-1])
    while seconds / step > TICKS:
        step *= 3  # 8 h, a day, three days, …
    axes.xaxis.set_major_locator(MultipleLocator(step))
    unit = "s" if seconds < 120 else "min" if seconds < 7200 else "h"

    def shown(x: float, _: object) -> str:
        if unit == "s":
            return f"{x:g}"
        big, small = divmod(round(x if unit == "min" else x / 60), 60)
        return f"{big}:{small:02d}"

    axes.xaxis.set_major_formatter(FuncFormatter(shown))
    axes.set_xlabel({"s": "seconds", "min": "minutes:seconds", "h": "hours:minutes"}[unit])


def _clock(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"


def _fonts() -> list[str]:
    """The font that matplotlib brings, and those here that have what it lacks."""
    from matplotlib.font_manager import get_font_names

    here = set(get_font_names())
    return ["DejaVu Sans", *(name for name in FONTS if name in here)]
