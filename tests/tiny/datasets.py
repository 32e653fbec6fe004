"""Small trees in the layouts in which the data sets of the benchmarks are published."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests import tiny

# Relative path, classes as the model reads them, fold (train and test, or a name).
Expected = list[tuple[str, tuple[str, ...], str]]


def sound(path: Path, seed: int = 0) -> None:
    """A recording of 0.2 s."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = tiny.waveforms(1, tiny.RATE // 5, seed)[0].numpy()
    tiny.write_wav(path, samples.astype(np.float32))


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def esc50(root: Path) -> Expected:
    text(
        root / "meta/esc50.csv",
        "filename,fold,target,category,esc10,src_file,take",
        "1-100032-A-0.wav,1,0,dog,True,100032,A",
        "2-117616-A-48.wav,2,48,vacuum_cleaner,False,117616,A",
        "5-9032-A-0.wav,5,0,dog,True,9032,A",
    )
    return [
        ("audio/1-100032-A-0.wav", ("dog",), "1"),
        ("audio/2-117616-A-48.wav", ("vacuum cleaner",), "2"),
        ("audio/5-9032-A-0.wav", ("dog",), "5"),
    ]


def urbansound8k(root: Path) -> Expected:
    text(
        root / "metadata/UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class",
        "100032-3-0-0.wav,100032,0.0,0.3,1,5,3,dog_bark",
        "100263-2-0-117.wav,100263,58.5,62.5,1,10,2,children_playing",
    )
    return [
        ("audio/fold5/100032-3-0-0.wav", ("dog bark",), "5"),
        ("audio/fold10/100263-2-0-117.wav", ("children playing",), "10"),
    ]


def fsd50k(root: Path) -> Expected:
    truth = root / "FSD50K.ground_truth"
    text(
        truth / "vocabulary.csv",
        "0,Accelerating_and_revving_and_vroom,/m/07q2z82", "1,Bark,/m/05tny_", "2,Dog,/m/0bt9lr",
    )  # fmt: skip
    text(
        truth / "eval.csv",
        "fname,labels,mids", '37199,"Bark,Dog","/m/05tny_,/m/0bt9lr"', "175151,Dog,/m/0bt9lr",
    )  # fmt: skip
    text(
        truth / "dev.csv",
        "fname,labels,mids,split", "64760,Accelerating_and_revving_and_vroom,/m/07q2z82,train",
        "16399,Dog,/m/0bt9lr,val",
    )  # fmt: skip
    return [
        ("FSD50K.eval_audio/37199.wav", ("Bark", "Dog"), "test"),
        ("FSD50K.eval_audio/175151.wav", ("Dog",), "test"),
        ("FSD50K.dev_audio/64760.wav", ("Accelerating and revving and vroom",), "train"),
    ]


def dcase17(root: Path) -> Expected:
    text(
        root / "groundtruth_weak_label_evaluation_set.csv",
        "-abc_30.000_40.000.wav\t0.000\t10.000\tTrain horn",
        "-abc_30.000_40.000.wav\t0.000\t10.000\tAir horn, truck horn",
        "xyz_0.000_10.000.wav\t0.000\t10.000\tCar passing by",
    )
    text(
        root / "groundtruth_weak_label_training_set.csv",
        "tuv_5.000_15.000.wav\t5.000\t15.000\tScreaming",
    )
    training = "unbalanced_train_segments_training_set_audio_formatted_and_segmented_downloads"
    horns = ("Train horn", "Air horn, truck horn")
    evaluation = "evaluation_set_formatted_audio_segments"
    return [
        (f"{evaluation}/Y-abc_30.000_40.000.wav", horns, "test"),
        (f"{evaluation}/Yxyz_0.000_10.000.wav", ("Car passing by",), "test"),
        (f"{training}/Ytuv_5.000_15.000.wav", ("Screaming",), "train"),
    ]


def audioset(root: Path) -> Expected:
    text(
        root / "class_labels_indices.csv",
        "index,mid,display_name",
        '0,/m/09x0r,"Speech"', '1,/m/05zppz,"Male speech, man speaking"', '2,/m/04rlf,"Music"',
    )  # fmt: skip
    head = ["# Segments csv created Sun Mar  5 10:54:25 2017", "# num_ytids=2, num_segs=2",
            "# YTID, start_seconds, end_seconds, positive_labels"]  # fmt: skip
    text(
        root / "eval_segments.csv", *head,
        '--4gqARaEJE, 0.000, 10.000, "/m/09x0r,/m/05zppz"', '-0RWZT-miFs, 420.0, 430.0, "/m/04rlf"',
    )  # fmt: skip
    text(root / "balanced_train_segments.csv", *head, '--PJHxphWEs, 30.0, 40.0, "/m/09x0r"')
    return [
        ("audios/eval_segments/Y--4gqARaEJE.wav", ("Speech", "Male speech, man speaking"), "test"),
        ("audios/eval_segments/Y-0RWZT-miFs.wav", ("Music",), "test"),
        ("audios/balanced_train_segments/Y--PJHxphWEs.wav", ("Speech",), "train"),
    ]


def tut2017(root: Path) -> Expected:
    name = "TUT-acoustic-scenes-2017-{}"
    text(
        root / name.format("evaluation") / "meta.txt",
        "audio/1245.wav\tforest_path\t", "audio/1.wav\tcafe/restaurant\t",
    )  # fmt: skip
    text(root / name.format("development") / "meta.txt", "audio/b020_90_100.wav\tbeach\tb020")
    return [
        (f"{name.format('evaluation')}/audio/1245.wav", ("forest path",), "test"),
        (f"{name.format('evaluation')}/audio/1.wav", ("cafe/restaurant",), "test"),
        (f"{name.format('development')}/audio/b020_90_100.wav", ("beach",), "train"),
    ]


def gtzan_music_speech(_root: Path) -> Expected:
    return [
        ("music_wav/bagpipe.wav", ("music",), "1"), ("music_wav/ballad.wav", ("music",), "2"),
        ("speech_wav/acomic.wav", ("speech",), "1"), ("speech_wav/charles.wav", ("speech",), "2"),
    ]  # fmt: skip


def gtzan_genres(_root: Path) -> Expected:
    numbers = {f"hiphop/hiphop.{i:05}.au": (("hiphop",), str(i % 10 + 1)) for i in range(11)}
    return [("blues/blues.00000.au", ("blues",), "1"), *((n, *x) for n, x in numbers.items())]


def mridangam_stroke(_root: Path) -> Expected:
    return [
        ("B/224030__akshaylaya__bheem-b-001.wav", ("bheem",), "1"),
        ("B/224031__akshaylaya__bheem-b-002.wav", ("bheem",), "2"),
        ("C#/224950__akshaylaya__thom-csh-001.wav", ("thom",), "1"),
    ]


def mridangam_tonic(_root: Path) -> Expected:
    return [
        ("B/224030__akshaylaya__bheem-b-001.wav", ("B",), "1"),
        ("C#/224950__akshaylaya__thom-csh-001.wav", ("C#",), "1"),
        ("C#/224951__akshaylaya__thom-csh-002.wav", ("C#",), "2"),
    ]


def beijing_opera(_root: Path) -> Expected:
    return [
        ("205971__ajaysm__daluo-01.wav", ("daluo",), "1"),
        ("205973__ajaysm__bangu-06.wav", ("bangu",), "1"),
        ("205974__ajaysm__daluo-02.wav", ("daluo",), "2"),
    ]


def crema_d(_root: Path) -> Expected:
    return [
        ("AudioWAV/1001_DFA_ANG_XX.wav", ("anger",), "2"),
        ("AudioWAV/1001_IEO_HAP_HI.wav", ("happy",), "2"),
        ("AudioWAV/1090_IWL_SAD_XX.wav", ("sad",), "1"),
    ]


def ravdess(_root: Path) -> Expected:
    speech, song = "Audio_Speech_Actors_01-24", "Audio_Song_Actors_01-24"
    return [
        (f"{speech}/Actor_01/03-01-08-01-01-01-01.wav", ("surprised",), "2"),
        (f"{speech}/Actor_12/03-01-05-01-02-01-12.wav", ("angry",), "3"),
        (f"{song}/Actor_12/03-02-01-01-02-01-12.wav", ("neutral",), "3"),
    ]


def speech_commands(root: Path) -> Expected:
    test, archive = "speech_commands_test_set_v0.02", "speech_commands_v0.02"
    text(root / archive / "testing_list.txt", "yes/0a7c2a8d_nohash_0.wav")
    text(root / archive / "validation_list.txt", "bird/026290a7_nohash_0.wav")
    for left_out in ("yes/0a7c2a8d_nohash_0.wav", "bird/026290a7_nohash_0.wav"):
        sound(root / archive / left_out)
    return [
        (f"{test}/_silence_/0.wav", ("silence",), "test"),
        (f"{test}/_unknown_/bed_0a7c2a8d_nohash_0.wav", ("unknown",), "test"),
        (f"{test}/yes/0a7c2a8d_nohash_0.wav", ("yes",), "test"),
        (f"{archive}/_background_noise_/pink_noise.wav", ("silence",), "train"),
        (f"{archive}/bird/004ae714_nohash_0.wav", ("unknown",), "train"),
        (f"{archive}/yes/004ae714_nohash_0.wav", ("yes",), "train"),
    ]


def vocalsound(root: Path) -> Expected:
    lists = {"te": ["f0003_0_throatclearing", "m2112_0_sigh"], "tr": ["f0004_0_cough"]}
    for part, names in lists.items():
        rows = [{"wav": f"/data/elsewhere/audio_16k/{n}.wav", "labels": "/m/0"} for n in names]
        text(root / f"datafiles/{part}.json", json.dumps({"data": rows}))
    return [
        ("audio_16k/f0003_0_throatclearing.wav", ("throat clearing",), "test"),
        ("audio_16k/m2112_0_sigh.wav", ("sigh",), "test"),
        ("audio_16k/f0004_0_cough.wav", ("cough",), "train"),
    ]


def libricount(root: Path) -> Expected:
    text(root / "test/10_180.json", "[]")
    return [
        ("test/0_100034.wav", ("0",), "1"), ("test/10_180.wav", ("10",), "1"),
        ("test/10_181.wav", ("10",), "2"),
    ]  # fmt: skip


TREES: dict[str, Callable[[Path], Expected]] = {
    "esc50": esc50, "fsd50k": fsd50k, "urbansound8k": urbansound8k, "dcase17": dcase17,
    "audioset": audioset, "tut2017": tut2017, "gtzan-music-speech": gtzan_music_speech,
    "gtzan-genres": gtzan_genres, "mridangam-stroke": mridangam_stroke,
    "mridangam-tonic": mridangam_tonic, "beijing-opera": beijing_opera, "crema-d": crema_d,
    "ravdess": ravdess, "speech-commands": speech_commands, "vocalsound": vocalsound,
    "libricount": libricount,
}  # fmt: skip


def build(name: str, root: Path) -> Expected:
    """Write a data set's lists and recordings; returns what a reader must find, in its order."""
    root.mkdir(parents=True, exist_ok=True)
    expected = TREES[name](root)
    for seed, (path, _, _) in enumerate(expected):
        if path.endswith(".au"):
            sound(root / "sound.wav", seed)
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / "sound.wav").rename(root / path)  # libsndfile goes by the content
        else:
            sound(root / path, seed)
    return expected


def captions(root: Path) -> None:
    """AudioCaps with two clips, one of them absent, and Clotho with two, below one folder."""
    text(
        root / "audiocaps/dataset/test.csv",
        "audiocap_id,youtube_id,start_time,caption",
        "103549,7fmOlUlwoNg,20,rain falls on a tin roof",
        '103548,6BJ455B1aAs,0,"a dog barks, twice"',
        "103547,7fmOlUlwoNg,20,rain",
    )
    sound(root / "audiocaps/audio/7fmOlUlwoNg.wav")
    text(
        root / "clotho/clotho_captions_evaluation.csv",
        "file_name,caption_1,caption_2,caption_3,caption_4,caption_5",
        "Santa Motor.wav,rain,a bell,the sea,two dogs,wind",
        "Radio Garble.wav,dog,tin,roof,street,end",
    )
    sound(root / "clotho/evaluation/Santa Motor.wav", 1)
    sound(root / "clotho/evaluation/Radio Garble.wav", 2)
