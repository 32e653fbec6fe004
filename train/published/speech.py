"""Readers of voices: CREMA-D, RAVDESS, Speech Commands V2, VocalSound, LibriCount."""

from __future__ import annotations

from collections.abc import Iterator

from runtime.errors import ClapError
from runtime.schema import read_json
from train.published.dataset import TEST, TRAIN, Dataset, spread_folds
from train.published.layout import Layout, Listed

CREMA_D = {
    "ANG": "anger", "DIS": "disgust", "FEA": "fear", "HAP": "happy", "NEU": "neutral", "SAD": "sad",
}  # fmt: skip
# Third number of a file's name, from 01.
RAVDESS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
RAVDESS_PARTS = ("Audio_Speech_Actors_01-24", "Audio_Song_Actors_01-24")
KEYWORDS = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go")
VOCAL_SOUNDS = {
    "laughter": "laughter", "sigh": "sigh", "cough": "cough", "throatclearing": "throat clearing",
    "sneeze": "sneeze", "sniff": "sniff",
}  # fmt: skip
MOST_SPEAKERS = 10
# Actors are dealt to this many folds, so that nobody is heard in training and test.
ACTOR_FOLDS = 5


def crema_d(layout: Layout, _train: bool) -> Dataset:
    """``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, emotion, level. Folds are of actors.

    Names by the README of github.com/CheyneyComputerScience/CREMA-D: six emotions, 7,442 files.
    """

    def listed() -> Iterator[Listed]:
        for name in layout.audio_in("AudioWAV/*.wav"):
            actor, _, emotion = _parts(layout, name, "_", 3)[:3]
            yield name, [CREMA_D.get(emotion, emotion)], _actor_fold(layout, name, actor)

    return layout.dataset(tuple(CREMA_D.values()), listed())


def ravdess(layout: Layout, _train: bool) -> Dataset:
    """``Audio_{Speech,Song}_Actors_01-24/Actor_NN/03-01-05-01-02-01-12.wav``, 1,440 and 1,012.

    By the record's description (zenodo.org/record/1188976) the third number is the emotion, the
    last the actor, of whom the 18th has no songs. The paper's accuracy is a multiple of
    1 / 2452, not of 1 / 1440: speech and song. Folds are of actors.
    """

    def listed() -> Iterator[Listed]:
        for part in RAVDESS_PARTS:
            for name in layout.audio_in(f"{part}/Actor_*/*.wav"):
                numbers = _parts(layout, name, "-", 7)
                emotion = int(numbers[2]) if numbers[2].isdecimal() else 0
                known = RAVDESS[emotion - 1] if 1 <= emotion <= len(RAVDESS) else numbers[2]
                yield name, [known], _actor_fold(layout, name, numbers[6])

    return layout.dataset(RAVDESS, listed())


def speech_commands(layout: Layout, train: bool) -> Dataset:
    """The 12-class task: ``speech_commands_test_set_v0.02/`` and ``speech_commands_v0.02/``.

    Layout by the archives' README and section 7 of arXiv 1804.03209. The test archive has a folder
    for each keyword, ``_silence_`` and ``_unknown_``. Training takes
    the other archive without what ``testing_list.txt`` and ``validation_list.txt`` name: words that
    are no keyword are unknown, each file of ``_background_noise_`` is one recording of silence.
    """
    labels = (*KEYWORDS, "silence", "unknown")

    def listed() -> Iterator[Listed]:
        for name in layout.audio_in("speech_commands_test_set_v0.02/*/*.wav"):
            yield name, [name.split("/")[1].strip("_")], TEST
        if not train:
            return
        archive = "speech_commands_v0.02"
        kept = {
            name
            for part in ("testing_list", "validation_list")
            for name in layout.lines(f"{archive}/{part}.txt")
        }
        for name in layout.audio_in(f"{archive}/*/*.wav"):
            word = name.split("/")[1]
            if f"{word}/{name.split('/')[2]}" not in kept:
                other = "silence" if word == "_background_noise_" else "unknown"
                yield name, [word if word in KEYWORDS else other], TRAIN

    return layout.dataset(labels, listed())


def vocalsound(layout: Layout, train: bool) -> Dataset:
    """``datafiles/{te,tr}.json`` and ``audio_16k/f0003_0_cough.wav``, whose end is the class.

    Layout by the README of github.com/YuanGongND/vocalsound. The release at 44.1 kHz has
    ``audio_44k`` instead, which is ``data_44k`` in some copies. The lists hold the authors' own
    paths: the names in them are looked for there.
    """
    folder = layout.first("audio_16k", "audio_44k", "data_44k")

    def listed() -> Iterator[Listed]:
        for part, fold in (("te", TEST), ("tr", TRAIN)):
            if fold == TEST or train:
                for name in _listed_names(layout, f"datafiles/{part}.json"):
                    sound = _parts(layout, name, "_", 3)[2]
                    yield f"{folder}/{name}", [VOCAL_SOUNDS.get(sound, sound)], fold

    return layout.dataset(tuple(VOCAL_SOUNDS.values()), listed())


def libricount(layout: Layout, _train: bool) -> Dataset:
    """``test/7_180.wav``: the number of speakers, 0 to 10, and an id. No folds are published.

    By the record (zenodo.org/record/1216072) 5,720 recordings of 5 s, each beside a ``.json`` that
    says who speaks when.
    """
    names = layout.audio_in("test/*.wav")
    counts = [_parts(layout, name, "_", 2)[0] for name in names]
    folds = spread_folds(counts, 5)
    labels = tuple(map(str, range(MOST_SPEAKERS + 1)))
    return layout.dataset(
        labels, ((name, [n], fold) for name, n, fold in zip(names, counts, folds, strict=True))
    )


def _parts(layout: Layout, name: str, between: str, least: int) -> list[str]:
    """What the name of a file is made of."""
    parts = name.rsplit("/", 1)[-1].rsplit(".", 1)[0].split(between)
    if len(parts) < least:
        raise ClapError(
            f"task {layout.task}: the name of {name} has fewer than the {least} parts of the data "
            "set's files. Take the files as published, and no others."
        )
    return parts


def _actor_fold(layout: Layout, name: str, actor: str) -> str:
    if not actor.isdecimal():
        raise ClapError(f"task {layout.task}: the name of {name} has no number of an actor.")
    return str(int(actor) % ACTOR_FOLDS + 1)


def _listed_names(layout: Layout, name: str) -> list[str]:
    path = layout.file(name)
    try:
        return [row["wav"].rsplit("/", 1)[-1] for row in read_json(path)["data"]]
    except (ClapError, KeyError, TypeError, AttributeError) as error:
        raise ClapError(
            f"task {layout.task}: {path} is not a list of recordings as VocalSound's "
            f"({type(error).__name__}: {error}). Take it as published."
        ) from error
