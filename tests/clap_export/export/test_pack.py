"""A bundle is there whole or not at all, says what the checkpoint said, and runs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

import clap_export
from clap_export.checkpoints import Checkpoint
from clap_export.export import pack
from clap_export.export.pack import write_bundle
from runtime import Encoder, schema
from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.manifest import FileEntry, TextSpec
from tests import tiny
from train.data.texts import encode

CHECKPOINT = tiny.checkpoint()


def test_holds_four_files_and_nothing_else(exported_bundle: Path) -> None:
    names = sorted(path.name for path in exported_bundle.iterdir())
    assert names == ["audio.onnx", "manifest.json", "text.onnx", "tokenizer.json"]
    assert (exported_bundle / "tokenizer.json").read_text("utf-8") == CHECKPOINT.tokenizer
    assert [path.name for path in exported_bundle.parent.iterdir()] == [exported_bundle.name]


def test_can_be_read_by_whom_the_umask_lets(exported_bundle: Path) -> None:
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(exported_bundle.stat().st_mode) == 0o777 & ~mask


def test_manifest_equals_the_config(exported_bundle: Path) -> None:
    manifest = Bundle(exported_bundle).manifest  # checks sizes and hashes
    config, model = CHECKPOINT.model.config, CHECKPOINT.model
    for field in ("name", "embedding_dim", "audio", "default_template", "calibration"):
        assert getattr(manifest, field) == getattr(config, field), field
    assert manifest.source == CHECKPOINT.source
    assert manifest.space_id == CHECKPOINT.space_id()
    assert math.isclose(manifest.logit_scale, math.exp(model.logit_scale.item()), rel_tol=1e-6)
    assert manifest.text == TextSpec(
        "tokenizer.json", tiny.TOKENS, 0, ("input_ids", "attention_mask", "token_type_ids"), ""
    )
    assert manifest.parity is None  # not verified yet
    assert {g.precision for g in (manifest.audio_graph, manifest.text_graph)} == {"fp32"}
    for name in ("audio.onnx", "text.onnx", "tokenizer.json"):
        raw = (exported_bundle / name).read_bytes()
        assert manifest.files[name] == FileEntry(hashlib.sha256(raw).hexdigest(), len(raw))
    assert len(manifest.files) == 3
    assert manifest.tools["clap-export"] == clap_export.__version__
    assert manifest.tools["torch"] == metadata.version("torch")


def test_text_spec_follows_the_text_encoder() -> None:
    spec = pack.text_spec(tiny.config(text="gpt2-last"))
    assert spec.inputs == ("input_ids", "attention_mask")
    assert spec.suffix == " end"
    assert spec.max_tokens == tiny.TOKENS


def test_runtime_gives_the_models_embeddings(exported_bundle: Path) -> None:
    encoder, model = Encoder(exported_bundle), CHECKPOINT.model
    waveform = tiny.waveforms(3)
    texts = [*tiny.SENTENCES, "dog", "A text of so many words that the last ones are cut off " * 2]
    batch = encode(tiny.tokenizer(), texts, model.config.text_encoder)
    assert batch["input_ids"].shape == (len(texts), tiny.TOKENS)
    with torch.no_grad():
        audio = model.embed_audio(waveform).numpy()
        text = model.embed_text(**batch).numpy()
    assert np.abs(encoder.embed_audio(list(waveform.numpy()), tiny.RATE) - audio).max() < 1e-5
    assert np.abs(encoder.embed_text(texts) - text).max() < 1e-5


def test_nothing_is_left_when_an_export_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []

    def audio(_model: object, path: Path) -> None:
        path.write_bytes(b"graph")

    def fail(*_: object) -> None:
        (part,) = tmp_path.iterdir()
        assert [path.name for path in part.rglob("*.onnx")] == ["audio.onnx"]
        raise RuntimeError("the exporter broke")

    monkeypatch.setattr(pack, "export_audio", audio)
    monkeypatch.setattr(pack, "export_text", fail)
    with pytest.raises(RuntimeError, match="the exporter broke"):
        write_bundle(CHECKPOINT, tmp_path / "out", stages.append)
    assert list(tmp_path.iterdir()) == []
    assert stages == ["audio graph", "text graph"]


def refused(out: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The message of a refusal that came before any export."""
    with monkeypatch.context() as patch:
        patch.setattr(pack, "export_audio", lambda *_: pytest.fail("it exported first"))
        with pytest.raises(ClapError) as caught:
            write_bundle(CHECKPOINT, out)
    return str(caught.value)


def test_out_that_exists_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, file, link = tmp_path / "folder", tmp_path / "file", tmp_path / "link"
    folder.mkdir()
    file.write_text("mine")
    link.symlink_to(tmp_path / "nowhere")
    for out in (folder, file, link):
        assert f"{out} exists already" in refused(out, monkeypatch)
    assert file.read_text() == "mine"
    assert list(folder.iterdir()) == []


def test_parent_that_is_missing_or_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("mine")
    for parent in ("missing", "file"):
        message = refused(tmp_path / parent / "out", monkeypatch)
        assert f"the folder {tmp_path / parent} does not exist" in message
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_parent_that_cannot_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o500)
    assert "cannot be written" in refused(tmp_path / "out", monkeypatch)
    tmp_path.chmod(0o700)


def test_a_folder_that_appears_meanwhile_is_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def audio(_model: object, path: Path) -> None:
        path.write_bytes(b"graph")

    def text(_model: object, _spec: object, path: Path) -> None:
        path.write_bytes(b"graph")
        out.mkdir()
        (out / "mine").write_text("kept")

    monkeypatch.setattr(pack, "export_audio", audio)
    monkeypatch.setattr(pack, "export_text", text)
    with pytest.raises(ClapError, match="cannot be written"):
        write_bundle(CHECKPOINT, out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (out / "mine").read_text() == "kept"


def test_a_scale_above_100_is_written_as_100(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def graph(*arguments: object) -> None:
        Path(arguments[-1]).write_bytes(b"graph")

    monkeypatch.setattr(pack, "export_audio", graph)
    monkeypatch.setattr(pack, "export_text", graph)
    given = tiny.checkpoint()
    assert isinstance(given, Checkpoint)
    with torch.no_grad():
        given.model.logit_scale.fill_(9.0)
    manifest = write_bundle(given, tmp_path / "out")
    assert manifest.logit_scale == pytest.approx(100.0, rel=1e-6)
    stored = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert stored == schema.to_plain(manifest)
