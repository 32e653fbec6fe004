"""The paper's corpora, from small copies of their files in the official layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runtime.errors import ClapError
from train.config.data import ListingConfig
from train.data.corpora import plain
from train.data.listing import read_listing


@pytest.fixture
def fsd50k(tmp_path: Path) -> Path:
    """``dev.csv`` of three clips, and all that lies around it."""
    truth, metadata = tmp_path / "FSD50K.ground_truth", tmp_path / "FSD50K.metadata"
    truth.mkdir()
    metadata.mkdir()
    (truth / "vocabulary.csv").write_text("0,Bark,/m/1\n1,Dog,/m/2\n2,Rain,/m/3\n")
    (truth / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Bark,Dog","/m/1,/m/2",train\n16399,Rain,/m/3,val\n'
        "7,Rain,/m/3,train\n"
    )
    about = {
        "64760": {"title": "Dog.wav", "description": "My <b>dog</b>\r\n barks &amp; barks.",
                  "tags": ["dog"], "license": "CC0", "uploader": "ann"},
        "16399": {"title": "rain on roof", "description": "", "tags": [], "license": "CC0",
                  "uploader": "bob"},
        "7": {"title": "drops", "description": "Drops.", "tags": [], "license": "CC0",
              "uploader": "ann"},
    }  # fmt: skip
    (metadata / "dev_clips_info_FSD50K.json").write_text(json.dumps(about))
    return truth / "dev.csv"


def test_fsd50k_is_described_by_what_freesound_says(fsd50k: Path) -> None:
    clips = read_listing(ListingConfig(str(fsd50k), kind="fsd50k"))
    root = fsd50k.parent.parent
    assert [clip.path for clip in clips] == [
        root / "FSD50K.dev_audio" / f"{name}.wav" for name in ("64760", "16399", "7")
    ]
    assert [clip.captions for clip in clips] == [
        ("Dog.wav. My dog barks & barks",), ("rain on roof",), ("drops. Drops",),
    ]  # fmt: skip
    assert [clip.recording for clip in clips] == ["64760", "16399", "7"]
    assert all(clip.names == () for clip in clips)


def test_fsd50k_labels_can_be_names_and_rows_chosen(fsd50k: Path) -> None:
    config = ListingConfig(
        str(fsd50k), kind="fsd50k", audio="clips/{fname}.flac", names=("labels",),
        where={"split": ("train",)}, exclude={"labels": ("Rain",)}, recording="uploader",
    )  # fmt: skip
    (clip,) = read_listing(config)
    assert clip.path == fsd50k.parent.parent / "clips" / "64760.flac"
    assert clip.names == ("Bark", "Dog")
    assert clip.captions == ()
    assert clip.recording == "ann"


def test_fsd50k_problems_are_all_listed(fsd50k: Path) -> None:
    with fsd50k.open("a") as file:
        file.write("99,Rain,/m/3,train\n7,Snow,/m/9,train\n")
    with pytest.raises(ClapError) as caught:
        read_listing(ListingConfig(str(fsd50k), kind="fsd50k"))
    assert "dev.csv: line 5: no metadata of clip 99" in str(caught.value)
    assert "line 6: not in the vocabulary: Snow" in str(caught.value)
    fsd50k.with_name("vocabulary.csv").unlink()
    with pytest.raises(ClapError, match=r"vocabulary .* cannot be read"):
        read_listing(ListingConfig(str(fsd50k), kind="fsd50k"))


def clotho(folder: Path) -> Path:
    header = "file_name," + ",".join(f"caption_{i}" for i in range(1, 6))
    rows = [f"{name}.wav," + ",".join(f"{name} {i}." for i in range(5)) for name in ("Bell", "Sea")]
    path = folder / "clotho_captions_development.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_clotho_clips_have_five_captions(tmp_path: Path) -> None:
    clips = read_listing(ListingConfig(str(clotho(tmp_path)), kind="clotho", weight=2.0))
    assert [clip.path for clip in clips] == [
        tmp_path / "development" / name for name in ("Bell.wav", "Sea.wav")
    ]
    assert clips[0].captions == tuple(f"Bell {i}." for i in range(5))
    assert clips[0].label == "Bell 0."
    assert clips[0].recording is None
    assert clips[0].weight == 2.0


def test_clotho_metadata_gives_the_freesound_ids(tmp_path: Path) -> None:
    path = clotho(tmp_path)
    metadata = tmp_path / "clotho_metadata_development.csv"
    metadata.write_bytes(
        "file_name,keywords,sound_id\nSea.wav,mer é,42\nBell.wav,bell,7\n".encode("latin-1")
    )
    clips = read_listing(ListingConfig(str(path), kind="clotho"))
    assert [clip.recording for clip in clips] == ["7", "42"]
    metadata.write_text("file_name,keywords,sound_id\nSea.wav,sea,42\n")
    with pytest.raises(ClapError, match=r"line 2: not in clotho_metadata_development\.csv"):
        read_listing(ListingConfig(str(path), kind="clotho"))


def test_audiocaps_files_are_named_by_a_pattern(tmp_path: Path) -> None:
    path = tmp_path / "test.csv"
    path.write_text(
        "audiocap_id,youtube_id,start_time,caption\n1,abc,30,A dog barks\n2,xyz,0,Rain\n"
        '3,abc,30,"A dog, barking"\n'
    )
    config = ListingConfig(str(path), "wav/Y{youtube_id}_{start_time}.wav", kind="audiocaps")
    clips = read_listing(config)
    assert [(clip.path, clip.captions, clip.recording) for clip in clips] == [
        (tmp_path / "wav/Yabc_30.wav", ("A dog barks", "A dog, barking"), "abc"),
        (tmp_path / "wav/Yxyz_0.wav", ("Rain",), "xyz"),
    ]
    with pytest.raises(ClapError, match="line 2: no column id"):
        read_listing(ListingConfig(str(path), "{id}.wav", kind="audiocaps"))
    with pytest.raises(ClapError, match="no pattern of columns"):
        read_listing(ListingConfig(str(path), "{id.wav", kind="audiocaps"))
    with pytest.raises(ValueError, match="'audiocaps' needs 'audio'"):
        ListingConfig(str(path), kind="audiocaps")


def test_macs_clips_have_a_sentence_of_each_annotator(tmp_path: Path) -> None:
    path = tmp_path / "MACS.yaml"
    path.write_text(
        "files:\n- filename: airport-lisbon-1.wav\n  annotations:\n"
        "  - {annotator_id: 1, sentence: People talk., tags: [adults_talking, footsteps]}\n"
        "  - {annotator_id: 2, sentence: 'Steps, and talk.', tags: [footsteps]}\n"
        "- filename: park-rome-2.wav\n  annotations:\n"
        "  - {annotator_id: 3, sentence: Birds sing., tags: [birds_singing]}\n"
    )
    clips = read_listing(ListingConfig(str(path), kind="macs"))
    assert [(clip.path, clip.captions) for clip in clips] == [
        (tmp_path / "audio/airport-lisbon-1.wav", ("People talk.", "Steps, and talk.")),
        (tmp_path / "audio/park-rome-2.wav", ("Birds sing.",)),
    ]
    config = ListingConfig(str(path), kind="macs", captions=("sentences",), names=("tags",),
                           where={"scene": ("airport",)})  # fmt: skip
    (clip,) = read_listing(config)
    assert clip.names == ("adults_talking", "footsteps", "footsteps")


def test_macs_entries_that_are_not_as_described_are_all_listed(tmp_path: Path) -> None:
    path = tmp_path / "MACS.yaml"
    path.write_text("files:\n- {filename: a.wav}\n- {annotations: []}\n")
    with pytest.raises(ClapError, match="file 1: no 'annotations'; file 2: no 'filename'"):
        read_listing(ListingConfig(str(path), kind="macs"))
    for text, message in (("files: []", "no list 'files'"), ("a: [", "cannot be read")):
        path.write_text(text)
        with pytest.raises(ClapError, match=message):
            read_listing(ListingConfig(str(path), kind="macs"))


def test_markup_is_taken_out_of_descriptions() -> None:
    assert plain('See <a href="x">here</a>:\r\n\r\n 5 &lt; 6') == "See here : 5 < 6"
