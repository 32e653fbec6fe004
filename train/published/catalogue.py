"""The benchmarks of the CLAP paper, and two of retrieval.

Numbers are of table 1 of the paper (zero-shot, frozen with a head, fine-tuned). ``clips`` is what
the zero-shot number is taken on: where four digits tell, they are multiples of one over it.
"""

from __future__ import annotations

from train.published import captioned, environment, music, speech, youtube
from train.published.task import (
    EMOTION,
    KEYWORD,
    SOUND,
    SPEAKERS,
    Paper,
    PublishedTask,
    RetrievalTask,
)

TASKS = (
    PublishedTask(
        "esc50", "ESC-50", "sound events", "ESC-50-master", "github.com/karoldvl/ESC-50", SOUND,
        "accuracy", 2000, Paper(0.826, 0.931, 0.967), environment.esc50, also=("ESC-50",),
    ),
    PublishedTask(
        "fsd50k", "FSD50K", "sound events", "FSD50K", "FSD50K (zenodo.org/record/4060432)", SOUND,
        "mAP", 10_231, Paper(0.3024, 0.5905, 0.5859), environment.fsd50k,
    ),
    PublishedTask(
        "urbansound8k", "UrbanSound8K", "sound events", "UrbanSound8K", "UrbanSound8K.tar.gz",
        SOUND, "accuracy", 8732, Paper(0.7324, 0.8389, 0.8796), environment.urbansound8k,
    ),
    PublishedTask(
        "dcase17", "DCASE 2017 task 4", "sound events", "dcase2017_task4",
        "the lists and audio of DCASE 2017 task 4", SOUND, "F1", 1103,
        Paper(0.300, 0.5330, 0.5938), youtube.dcase17, partial=True,
    ),
    PublishedTask(
        "audioset", "AudioSet", "sound events", "audioset", "AudioSet's lists and your clips",
        SOUND, "mAP", 20_371, Paper(0.058, None, None), youtube.audioset, partial=True,
    ),
    PublishedTask(
        "tut2017", "TUT Acoustic Scenes 2017", "acoustic scenes", "TUT-acoustic-scenes-2017",
        "both parts of TUT Acoustic Scenes 2017 (zenodo.org/record/1040168 and 400515)", SOUND,
        "accuracy", 1620, Paper(0.2963, 0.7099, 0.7463), environment.tut2017,
    ),
    PublishedTask(
        "gtzan-music-speech", "GTZAN music/speech", "music", "music_speech",
        "music_speech.tar.gz of GTZAN", SOUND, "accuracy", 128, Paper(1.0, 1.0, 1.0),
        music.gtzan_music_speech,
    ),
    PublishedTask(
        "gtzan-genres", "GTZAN genres", "music", "genres", "genres.tar.gz of GTZAN", SOUND,
        "accuracy", 1000, Paper(0.252, 0.793, 0.913), music.gtzan_genres,
        also=("gtzan_genre/genres", "genres_original"),
    ),
    PublishedTask(
        "mridangam-stroke", "Mridangam stroke", "instruments", "mridangam_stroke_1.5",
        "mridangam_stroke_1.5.zip (zenodo.org/record/4068196)", SOUND, "accuracy", 6977,
        Paper(0.3447, 0.7754, 0.9794), music.mridangam_stroke,
    ),
    PublishedTask(
        "mridangam-tonic", "Mridangam tonic", "instruments", "mridangam_stroke_1.5",
        "mridangam_stroke_1.5.zip (zenodo.org/record/4068196)", SOUND, "accuracy", 6977,
        Paper(0.1965, 0.6391, 0.9534), music.mridangam_tonic,
    ),
    PublishedTask(
        "beijing-opera", "Beijing Opera percussion", "instruments",
        "beijing_opera_percussion_instrument_1.0",
        "beijing_opera_percussion_instrument_1.0.zip (zenodo.org/record/1285212)", SOUND,
        "accuracy", 236, Paper(0.4746, 0.7754, 0.9026), music.beijing_opera,
        also=("beijing_opera",),
    ),
    PublishedTask(
        "crema-d", "CREMA-D", "emotion", "CREMA-D", "github.com/CheyneyComputerScience/CREMA-D",
        EMOTION, "accuracy", 7442, Paper(0.1784, 0.2830, 0.6834), speech.crema_d,
    ),
    PublishedTask(
        "ravdess", "RAVDESS", "emotion", "RAVDESS",
        "Audio_Speech_Actors_01-24.zip and Audio_Song_Actors_01-24.zip of RAVDESS, each into a "
        "folder of its name", EMOTION, "accuracy", 2452, Paper(0.1599, 0.4515, 0.6436),
        speech.ravdess,
    ),
    PublishedTask(
        "speech-commands", "Speech Commands V2", "keyword spotting", "speech_commands",
        "speech_commands_test_set_v0.02.tar.gz (and for training speech_commands_v0.02.tar.gz), "
        "each into a folder of its name", KEYWORD, "accuracy", 4890,
        Paper(0.1063, 0.3708, 0.9683), speech.speech_commands,
    ),
    PublishedTask(
        "vocalsound", "VocalSound", "vocal sounds", "vocalsound", "vs_release_16k.zip", SOUND,
        "accuracy", 3594, Paper(0.4945, 0.8411, 0.9795), speech.vocalsound,
        also=("vs_release_16k", "vs_release_44k"),
    ),
    PublishedTask(
        "libricount", "LibriCount", "speaker counting", "LibriCount10-0dB",
        "LibriCount10-0dB.zip (zenodo.org/record/1216072)", SPEAKERS, "accuracy", 5720,
        Paper(0.1788, 0.5715, 0.7783), speech.libricount,
    ),
)  # fmt: skip

RETRIEVAL = (
    RetrievalTask(
        "audiocaps", "AudioCaps", "audiocaps", "AudioCaps' test list and your clips", 975,
        captioned.audiocaps, partial=True,
    ),
    RetrievalTask(
        "clotho", "Clotho v2", "clotho",
        "the evaluation part of Clotho v2 (zenodo.org/record/4783391)", 1045, captioned.clotho,
    ),
)  # fmt: skip
