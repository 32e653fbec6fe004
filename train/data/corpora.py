"""The four corpora of the CLAP paper, from their official files as they lie on disk.

Each reader takes the corpus' own listing file and gives columns for :class:`ListingConfig`, so that
``where``, ``names``, ``recording`` and the rest work on them as on any table.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import yaml

from runtime.errors import ClapError
from runtime.problems import listed
from train.config.text_file import parse_json, read_text
from train.data.table import Row, Table, audio_name, columns_of, read_rows


def read_fsd50k(path: Path, audio: str | None = None) -> Table:
    """FSD50K: ``FSD50K.ground_truth/dev.csv`` or ``eval.csv``.

    Beside that folder lie ``FSD50K.dev_audio`` (``eval_audio``) and ``FSD50K.metadata`` with
    ``dev_clips_info_FSD50K.json``: what Freesound says of each clip. Layout: zenodo.org/record/
    4060432 and its README.

    Columns: ``fname`` (the Freesound id), ``labels`` (a list), ``split`` (dev only: train or val),
    ``title``, ``description``, ``tags``, ``license``, ``uploader``, ``caption``: title and
    description in one, as the paper uses them (markup and runs of spaces removed).

    Raises:
        ClapError: a file is missing or damaged, a clip has no metadata, or a label is not in the
            vocabulary (all are listed).
    """
    root, part = path.parent.parent, path.stem
    rows = read_rows(path)
    info = _json(root / "FSD50K.metadata" / f"{part}_clips_info_FSD50K.json")
    vocabulary = _vocabulary(path.with_name("vocabulary.csv"))
    problems: list[str] = []
    found: list[Row] = []
    for number, row in rows:
        name, labels = str(row.get("fname")), str(row.get("labels") or "").split(",")
        about = info.get(name)
        if about is None:
            problems.append(f"line {number}: no metadata of clip {name}")
            continue
        if unknown := sorted(set(labels) - vocabulary):
            problems.append(f"line {number}: not in the vocabulary: {', '.join(unknown)}")
        title, description = (plain(str(about.get(k) or "")) for k in ("title", "description"))
        texts = {"title": title, "description": description, "labels": labels}
        texts["caption"] = f"{title}. {description}".strip(" .") if description else title
        found.append(Row(f"line {number}", {**about, **row, **texts}))
    _refuse(path, problems)
    pattern = audio or f"FSD50K.{part}_audio/{{fname}}.wav"
    return Table(root, found, pattern, captions=("caption",), recording="fname")


def read_clotho(path: Path, audio: str | None = None) -> Table:
    """Clotho v2: ``clotho_captions_development.csv`` (``validation``, ``evaluation``).

    The archive of a split unpacks into a folder of its name; ``clotho_metadata_*.csv``, where it
    lies beside, adds its columns, of which ``sound_id`` is the Freesound id. Layout: zenodo.org/
    record/4783391.

    Columns: ``file_name``, ``caption_1`` to ``caption_5``, and those of the metadata.
    """
    split = path.stem.rpartition("_")[2]
    metadata = path.with_name(f"clotho_metadata_{split}.csv")
    about: dict[str, dict[str, Any]] = {}
    if metadata.is_file():
        # Titles in it hold Latin-1 bytes, as distributed.
        about = {row["file_name"]: row for _, row in read_rows(metadata, "latin-1")}
    rows = [
        Row(f"line {number}", {**about.get(row.get("file_name", ""), {}), **row})
        for number, row in read_rows(path)
    ]
    if about:  # every row then needs the columns that one has
        lacking = [row.where for row in rows if "sound_id" not in row.columns]
        _refuse(path, [f"{where}: not in {metadata.name}" for where in lacking])
    captions = tuple(f"caption_{i}" for i in range(1, 6))
    recording = "sound_id" if about else None
    pattern = audio or f"{split}/{{file_name}}"
    return Table(path.parent, rows, pattern, captions=captions, recording=recording)


def read_audiocaps(path: Path, audio: str) -> Table:
    """AudioCaps: ``train.csv``, ``val.csv`` or ``test.csv``, with audio files of one's own naming.

    The corpus is captions of YouTube clips; whoever downloads them chooses the names. Usual ones:
    ``{youtube_id}.wav``, ``Y{youtube_id}.wav``, ``{youtube_id}_{start_time}.wav``,
    ``{audiocap_id}.wav``. Rows of one audio file become one clip with several captions (val and
    test have five). Columns: ``audiocap_id``, ``youtube_id``, ``start_time``, ``caption`` (a list);
    github.com/cdjkim/audiocaps.
    """
    clips: dict[str, Row] = {}
    needed = columns_of(audio) | {"youtube_id", "caption"}
    for number, row in read_rows(path):
        if absent := sorted(needed - set(row)):
            raise ClapError(f"listing {path}, line {number}: no column {', '.join(absent)}.")
        name = audio_name(audio, row) or f"line {number}"
        if name in clips:
            clips[name].columns["caption"].append(row["caption"])
        else:
            clips[name] = Row(f"line {number}", {**row, "caption": [row["caption"]]})
    rows = list(clips.values())
    return Table(path.parent, rows, audio, captions=("caption",), recording="youtube_id")


def read_macs(path: Path, audio: str | None = None) -> Table:
    """MACS: ``MACS.yaml``, with the development audio of TAU Urban Acoustic Scenes 2019 in
    ``audio`` beside it.

    Layout: ``files`` is a list of ``filename`` and ``annotations``, each with ``annotator_id``,
    ``sentence`` and ``tags``; zenodo.org/record/5114771. Columns: ``filename``, ``sentences`` and
    ``tags`` (lists over the annotators), ``scene`` (the file name up to the first hyphen).

    Raises:
        ClapError: the file cannot be read, or entries are not as described (all are listed).
    """
    try:
        # The C loader where there is one: the file's 3,930 entries take a while.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(read_text(path, "listing"), loader)
    except (ValueError, RecursionError, yaml.YAMLError) as error:  # ValueError: 31st of February
        raise ClapError(f"listing {path} cannot be read: {error}.") from error
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, list) or not files:
        raise ClapError(f"listing {path} has no list 'files'.")
    rows: list[Row] = []
    problems: list[str] = []
    for number, entry in enumerate(files, start=1):
        try:
            said = entry["annotations"]
            columns = {
                "filename": entry["filename"],
                "sentences": [one["sentence"] for one in said],
                "tags": [tag for one in said for tag in one.get("tags", ())],
                "scene": str(entry["filename"]).partition("-")[0],
            }
        except (KeyError, TypeError, AttributeError) as error:
            problems.append(f"file {number}: no {error}")
            continue
        rows.append(Row(f"file {number}", columns))
    _refuse(path, problems)
    pattern = audio or "audio/{filename}"
    return Table(path.parent, rows, pattern, captions=("sentences",))


def plain(text: str) -> str:
    """Text without HTML markup, its spaces collapsed."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", text)).split())


def _vocabulary(path: Path) -> set[str]:
    """Names of the 200 classes: ``index,name,mid`` without a header."""
    lines = read_text(path, "vocabulary").splitlines()
    try:
        return {line.split(",")[1] for line in lines if line.strip()}
    except IndexError as error:
        raise ClapError(
            f"vocabulary {path} cannot be read: it must be 'index,name,mid'."
        ) from error


def _json(path: Path) -> dict[str, dict[str, Any]]:
    try:
        found = parse_json(read_text(path, "metadata"))
    except ValueError as error:
        raise ClapError(f"metadata {path} cannot be read: {error}.") from error
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise ClapError(f"metadata {path} is no JSON object of objects.")
    return found


def _refuse(path: Path, problems: list[str]) -> None:
    if problems:
        raise ClapError(f"listing {path}: {listed(problems)}.")
