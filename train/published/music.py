"""Readers of music: GTZAN music/speech and genres, Mridangam, Beijing Opera percussion.

None of them publishes folds. Those for supervised set-ups are this project's
(:func:`train.published.dataset.spread_folds`), in the numbers that HEAR (Turian et al. 2022) uses.
"""

from __future__ import annotations

from collections.abc import Sequence

from train.published.dataset import Dataset, spread_folds
from train.published.layout import Layout

GENRES = (
    "blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock",
)  # fmt: skip
STROKES = ("bheem", "cha", "dheem", "dhin", "num", "ta", "tha", "tham", "thi", "thom")
# Spelling of the file names, and as it is read.
TONICS = {"b": "B", "c": "C", "csh": "C#", "d": "D", "dsh": "D#", "e": "E"}
PERCUSSION = ("bangu", "daluo", "naobo", "xiaoluo")


def gtzan_music_speech(layout: Layout, _train: bool) -> Dataset:
    """``music_wav/*.wav`` and ``speech_wav/*.wav`` of ``music_speech.tar.gz``, 64 each.

    The archive of marsyas.info unpacks as ``music_speech``.
    """
    names = [*layout.audio_in("music_wav/*.wav"), *layout.audio_in("speech_wav/*.wav")]
    return _folded(layout, ("music", "speech"), names, [n.split("_wav/")[0] for n in names], 10)


def gtzan_genres(layout: Layout, _train: bool) -> Dataset:
    """``<genre>/<genre>.NNNNN.au`` of ``genres.tar.gz``, 100 each.

    The archive of marsyas.info holds ``.au``. The copies that mirdata (``gtzan_genre/genres``),
    torchaudio (``genres``) and TensorFlow's catalogue read hold the same names as ``.wav``.
    """
    names = layout.audio_in("*/*.au", "*/*.wav")
    return _folded(layout, GENRES, names, [name.split("/")[0] for name in names], 10)


def mridangam_stroke(layout: Layout, _train: bool) -> Dataset:
    """Strokes of ``mridangam_stroke_1.5``; see :func:`_mridangam`."""
    names, parts = _mridangam(layout)
    return _folded(layout, STROKES, names, [part[0] for part in parts], 5)


def mridangam_tonic(layout: Layout, _train: bool) -> Dataset:
    """Tonics of ``mridangam_stroke_1.5``; a sharp is spelled ``sh`` in the names of files."""
    names, parts = _mridangam(layout)
    tonics = [TONICS.get(part[1], part[1]) for part in parts]
    return _folded(layout, tuple(TONICS.values()), names, tonics, 5)


def beijing_opera(layout: Layout, _train: bool) -> Dataset:
    """``205971__ajaysm__daluo-01.wav``: the instrument stands before the number.

    The 236 files of the archive (zenodo.org/record/1285212) lie in one folder of its name,
    ``beijing_opera_percussion_instrument_1.0``; so HEAR's preparation of this data set reads it.
    """
    names = layout.audio_in("*.wav")
    return _folded(layout, PERCUSSION, names, [_last(name).split("-")[0] for name in names], 5)


def _mridangam(layout: Layout) -> tuple[list[str], list[list[str]]]:
    """``<tonic>/224030__akshaylaya__bheem-b-001.wav``: files, and their stroke, tonic and number.

    Freesound's number, the uploader, then stroke, tonic and number (zenodo.org/record/4068196; its
    index in mirdata). How the folders are called does not matter: the file's name holds both.
    """
    names = layout.audio_in("*/*.wav")
    return names, [(_last(name) + "--").split("-") for name in names]


def _last(name: str) -> str:
    """What Freesound's uploader called a file: behind its id and the user's name."""
    return name.rsplit("/", 1)[-1].rsplit("__", 1)[-1].rsplit(".", 1)[0]


def _folded(
    layout: Layout, labels: Sequence[str], names: list[str], of: list[str], folds: int
) -> Dataset:
    where = spread_folds(of, folds)
    return layout.dataset(
        labels, ((name, [x], fold) for name, x, fold in zip(names, of, where, strict=True))
    )
