"""``--dry-run`` finds what a run would fail at, and leaves nothing behind."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from runtime.errors import ClapError
from tests import tiny
from tests.tiny import run as tinyrun
from train.__main__ import main
from train.config.contrastive import TrainConfig
from train.config.data import RetrievalConfig, TextSource
from train.config.teaching import TextConfig
from train.contrastive.rehearsal import rehearse
from train.contrastive.run import run

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    start = tiny.save(tmp_path / "start.safetensors")
    base = tinyrun.config(tmp_path, epochs=2, steps_per_epoch=2)
    captions = RetrievalConfig("captions", base.tasks[0].listing)
    return replace(base, init=str(start), model=None, retrieval=(captions,))


def test_it_says_what_there_is_and_leaves_nothing(config: TrainConfig, tmp_path: Path) -> None:
    (tmp_path / "tone0.wav").write_bytes(b"not audio")  # one of twelve, of which two may be bad
    config = replace(config, data=replace(config.data, bad_share=0.2))
    path = tinyrun.write(config, tmp_path / "run.toml")
    before = sorted(tmp_path.rglob("*"))
    done = CliRunner().invoke(main, ["run", str(path), "--dry-run"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert sorted(tmp_path.rglob("*")) == before
    found = rehearse(config)
    assert (found.clips, found.bad, found.labels, found.done) == (11, 1, 3, 0)
    assert found.hours == pytest.approx(11 / 3600, abs=1e-3)
    assert found.measured == {"held-out": 9, "captions": 9}
    every, learning = found.parameters
    assert every == sum(p.numel() for p in tiny.model(tiny.config()).parameters())
    assert 0 < learning <= every
    assert found.step_seconds > 0
    assert found.memory_gb > 0.1
    assert "held in memory; 1 cannot be read" in done.output


def test_what_a_run_would_fail_at_is_said(config: TrainConfig, tmp_path: Path) -> None:
    labels = tmp_path / "labels.txt"
    said = labels.read_text()
    labels.write_text("tone\nnoise\n")
    with pytest.raises(ClapError, match="labels not among the candidates: clicks"):
        rehearse(config)
    labels.write_text(said)
    (tmp_path / "file").write_text("")
    with pytest.raises(ClapError, match="cannot be made a folder"):
        rehearse(replace(config, out=str(tmp_path / "file" / "run")))
    run(replace(config, loop=replace(config.loop, epochs=1, warmup_epochs=0)))
    with pytest.raises(ClapError, match=r"loop\.epochs was 1, is 2"):
        rehearse(config)
    assert rehearse(config, override=True).done == 1


def test_the_text_stage_is_looked_at_and_not_made(tmp_path: Path) -> None:
    base = tinyrun.config(tmp_path, epochs=1, steps_per_epoch=1)
    source = TextSource(base.listings[0].path, ("caption",))
    text = TextConfig("package:nothing/model", 60, (source,), 40, 1, 8, 1e-3)
    encoder = base.model.text_encoder
    options = {k: v for k, v in encoder.options.items() if k != "vocab_size"}
    model = replace(base.model, text_encoder=replace(encoder, options=options))
    config = replace(base, text=text, model=model)
    with pytest.raises(ClapError, match="package nothing is not installed"):
        rehearse(config)
    found = rehearse(replace(config, text=replace(text, teacher="somebody/a-model")))
    assert found.texts > 0
    assert not config.folder.exists()
