"""A whole distillation: what is learned, kept, resumed, refused, and how the result deploys."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import train.__main__ as command_line
from clap_export.checkpoints import load
from clap_export.cli import main as clap_export
from clap_export.export.pack import write_bundle
from clap_export.model.config import AudioEncoderConfig
from runtime import Encoder, schema
from runtime.errors import ClapError
from runtime.files import owning
from tests import tiny
from tests.tiny import distil as tinydistil
from tests.tiny import run as tinyrun
from train.config.data import ListingConfig
from train.config.distil import DistilConfig, TeacherConfig
from train.distil import run as module
from train.distil.course import Course
from train.distil.run import run
from train.distil.stretches import Stretches


def metrics(config: DistilConfig) -> list[dict[str, Any]]:
    """Records of a run without the time they took."""
    lines = (config.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def weights(config: DistilConfig) -> dict[str, torch.Tensor]:
    return load(config.folder / "model.safetensors").model.state_dict()


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of two similarity matrices."""
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> DistilConfig:
    """A run to its end, both towers; read only."""
    folder = tmp_path_factory.mktemp("learned")
    tinydistil.clips(folder / "sounds", 32)
    config = tinydistil.with_text(folder)
    assert config.texts is not None
    config = replace(
        config,
        audio=replace(config.audio, epochs=40, batch_size=16, cache=str(folder / "audio.npz")),
        texts=replace(config.texts, epochs=40, cache=str(folder / "texts.npz")),
    )
    run(config)
    return config


def test_both_towers_come_near_the_teacher(learned: DistilConfig, tmp_path: Path) -> None:
    found = metrics(learned)
    assert [(r["tower"], r["epoch"]) for r in found] == [
        (tower, epoch) for tower in ("text", "audio") for epoch in range(1, 41)
    ]
    for tower in ("text", "audio"):
        cosines = [r["cosine"] for r in found if r["tower"] == tower]
        assert cosines[0] < 0.5 < 0.75 < cosines[-1], tower
    # On sounds that were no part of the run, against a student that has learned nothing.
    student, teacher = load(learned.folder / "model.safetensors"), load(learned.teacher.checkpoint)
    fresh = tiny.model(student.model.config)
    ours, theirs, before = [], [], []
    for label in tinyrun.LABELS:
        for seed in range(50, 58):
            x = tinyrun.sound(label, seed, tiny.RATE)[None]
            theirs.append(embed(teacher.model, np.resize(x, (1, tiny.WINDOW))))
            y = resampled(x[0])
            ours.append(embed(student.model, y))
            before.append(embed(fresh, y))
    a, b, c = np.concatenate(ours), np.concatenate(theirs), np.concatenate(before)
    assert (a * b).sum(1).mean() > 0.7 > 0.4 > (c * b).sum(1).mean()
    assert correlation(a @ a.T, b @ b.T) > 0.6


def embed(model: Any, window: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.embed_audio(torch.from_numpy(window.astype(np.float32))).numpy()


def resampled(x: np.ndarray) -> np.ndarray:
    """The first 0.75 s at the student's rate, by linear interpolation: ``[1, window]``."""
    at = np.arange(tinydistil.SPEC.window_samples) * tiny.RATE / tinydistil.RATE
    return np.interp(at, np.arange(len(x)), x)[None]


def test_what_comes_from_the_teacher(learned: DistilConfig) -> None:
    found = load(learned.folder / "model.safetensors")
    config = found.model.config
    assert found.model.scale().item() == pytest.approx(np.exp(2.0))
    assert config.default_template == "hear {}"
    assert config.calibration == tinydistil.CALIBRATION
    assert config.licence == "MIT; distilled from wise, whose licence is: CC BY 4.0"
    assert found.tokenizer == tiny.tokenizer().to_str()
    assert (config.name, config.audio) == ("pupil", tinydistil.SPEC)


def test_the_student_exports_and_lies_in_the_teachers_space(
    learned: DistilConfig, tmp_path: Path
) -> None:
    path = str(learned.folder / "model.safetensors")
    arguments = ["--ckpt", path, "--target", "onnx", "--out", str(tmp_path / "student")]
    result = CliRunner().invoke(clap_export, arguments)
    assert result.exit_code == 0, result.output
    write_bundle(load(learned.teacher.checkpoint), tmp_path / "teacher")
    encoders = student, teacher = Encoder(tmp_path / "student"), Encoder(tmp_path / "teacher")
    assert "CC BY 4.0" in student.manifest.source.licence
    texts = [*tiny.SENTENCES, "dog", "a bell", "wind falls", "street rain", "tin sea", "twice"]
    clips = [tinyrun.sound(label, seed, 6000) for label in tinyrun.LABELS for seed in range(60, 68)]
    rate = tiny.RATE
    audio = [np.stack([e.embed_audio(c, sample_rate=rate) for c in clips]) for e in encoders]
    audio = [a.reshape(len(clips), -1) for a in audio]
    text = [e.embed_text(texts) for e in encoders]
    assert (audio[0] * audio[1]).sum(1).mean() > 0.7
    assert (text[0] * text[1]).sum(1).mean() > 0.7
    # What labels are chosen by. In one space, towers may even be exchanged.
    similar = [a @ t.T for a in audio for t in text]
    for other in similar[:-1]:
        assert correlation(other, similar[-1]) > 0.6
    assert student.manifest.space_id != teacher.manifest.space_id


@pytest.mark.parametrize("live", [False, True])
def test_resumed_run_has_the_numbers_of_one_that_was_not_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, live: bool
) -> None:
    config = tinydistil.with_text(tmp_path)
    if not live:
        config = replace(config, audio=replace(config.audio, cache=str(tmp_path / "a.npz")))
    run(config)
    broken = replace(config, out=str(tmp_path / "broken"))
    original, calls = Course.run, []

    def killed(self: Course, epoch: int) -> Any:
        calls.append((self.lesson.name, epoch))
        if len(calls) in (2, 4):  # in the text tower's second epoch, then in the audio tower's
            next(self.lesson.losses(epoch)).backward()
            raise KeyboardInterrupt
        return original(self, epoch)

    monkeypatch.setattr(Course, "run", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            run(broken)
        assert not (broken.folder / "model.safetensors").exists()
    # A kill between the state and the metrics, too.
    (broken.folder / "metrics.jsonl").write_text("half a li")
    run(broken)
    assert [name for name, _ in calls] == ["text"] * 3 + ["audio"] * 3
    assert [epoch for _, epoch in calls] == [0, 1, 1, 0, 0, 1]
    assert metrics(broken) == metrics(config)
    one, two = weights(config), weights(broken)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not list(broken.folder.glob("*.part"))
    # Once more: nothing is left to learn.
    run(broken)
    assert len(calls) == 6
    assert metrics(broken) == metrics(config)


def test_the_teachers_text_tower_can_stay(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    run(config)
    student, teacher = weights(config), load(config.teacher.checkpoint).model.state_dict()
    for name, value in teacher.items():
        if name.startswith(("text_", "logit_scale")):
            assert torch.equal(student[name], value), name
    assert {record["tower"] for record in metrics(config)} == {"audio"}


def test_the_cache_spares_the_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tinydistil.config(tmp_path)
    config = replace(config, audio=replace(config.audio, cache=str(tmp_path / "kept.npz")))
    run(config)
    monkeypatch.setattr(Stretches, "embed", None)  # would be called, and fail
    again = replace(config, out=str(tmp_path / "again"))
    run(again)
    assert metrics(again) == metrics(config)


def test_a_cache_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    config = tinydistil.with_text(tmp_path)
    assert config.texts is not None
    config = replace(
        config,
        audio=replace(config.audio, cache=str(tmp_path / "a.npz"), epochs=1),
        texts=replace(config.texts, cache=str(tmp_path / "t.npz"), epochs=1),
    )
    run(config)
    fresh = replace(config, out=str(tmp_path / "fresh"))
    assert fresh.texts is not None
    other = replace(fresh, teacher=TeacherConfig(str(tinydistil.teacher(tmp_path, seed=1))))
    with pytest.raises(ClapError, match=r"a\.npz holds the embeddings of another teacher"):
        run(other)
    # As many clips of the same names, one of them another; as many texts.
    sound = tmp_path / "sounds" / "tone3.wav"
    bits = sound.read_bytes()
    tiny.write_wav(sound, tinyrun.sound("tone", 77, 6000))
    with pytest.raises(ClapError, match=r"a\.npz holds .* of other clips or texts"):
        run(fresh)
    sound.write_bytes(bits)
    path = Path(fresh.texts.sources[0].path)
    path.write_text(path.read_text().replace("dog", "cat", 1))
    with pytest.raises(ClapError, match=r"t\.npz holds .* of other clips or texts"):
        run(fresh)
    assert not fresh.folder.exists()


def test_a_tokenizer_of_its_own(tmp_path: Path) -> None:
    config = tinydistil.with_text(tmp_path)
    assert config.texts is not None
    run(replace(config, texts=replace(config.texts, vocabulary=45, epochs=8)))
    found = load(config.folder / "model.safetensors")
    assert found.model.config.text_encoder.options["vocab_size"] <= 45
    assert found.tokenizer != tiny.tokenizer().to_str()
    assert metrics(config)[7]["cosine"] > 0.5


def test_what_does_not_fit_the_teacher_is_refused(tmp_path: Path) -> None:
    config = tinydistil.with_text(tmp_path)
    wrong = replace(config, student=replace(config.student, embedding_dim=8))
    with pytest.raises(ClapError, match=r"student\.embedding_dim is 8, .* 12 dimensions; set it"):
        run(wrong)
    assert config.student.text_encoder is not None
    padded = replace(config.student.text_encoder, pad_id=1)
    with pytest.raises(ClapError, match=r"pad_id 1 .* goes with 0 .* set texts\.vocabulary"):
        run(replace(config, student=replace(config.student, text_encoder=padded)))
    with pytest.raises(ClapError, match=r"none\.pt does not exist"):
        run(replace(config, teacher=TeacherConfig("none.pt")))


def test_another_config_does_not_go_on_with_a_runs_state(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    run(config)
    kept = (config.folder / "last.pt").read_bytes()
    for other in (
        replace(config, seed=6),
        replace(config, audio=replace(config.audio, learning_rate=2e-2)),
        replace(config, teacher=TeacherConfig(str(tinydistil.teacher(tmp_path, seed=1)))),
    ):
        with pytest.raises(ClapError, match=r"last\.pt is the state of a run with another config"):
            run(other)
    assert (config.folder / "last.pt").read_bytes() == kept


def test_other_draws_do_not_go_on_with_a_runs_state(tmp_path: Path) -> None:
    """The same clips, but drawn as often as others, or held out by other groups."""
    config = tinydistil.config(tmp_path)
    listing = tmp_path / "clips.csv"
    files = sorted((tmp_path / "sounds").glob("*.wav"))
    listing.write_text("file,take\n" + "".join(f"{f},{i // 3}\n" for i, f in enumerate(files)))
    listed = ListingConfig(str(listing), "file", recording="take")
    config = replace(config, audio=replace(config.audio, files=(), listings=(listed,), epochs=1))
    run(config)
    half = [replace(listed, where={"take": [str(i) for i in range(8)]}, weight=9.0), listed]
    for other in (half, [replace(listed, recording=None)]):
        audio = replace(config.audio, listings=tuple(other))
        with pytest.raises(ClapError, match=r"last\.pt is the state of a run with another config"):
            run(replace(config, audio=audio))


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    wild = replace(config, audio=replace(config.audio, learning_rate=1e6, epochs=3))
    with pytest.raises(ClapError, match=r"the loss became (nan|inf) in audio epoch \d; .* Lower"):
        run(wild)
    assert not (config.folder / "model.safetensors").exists()


def test_a_student_that_cannot_hear_a_stretch_is_refused(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    encoder = config.student.audio_encoder.cnn14
    assert encoder is not None
    patches = replace(encoder, patch_frames=30)  # of 20 ms: 0.6 s
    audio = AudioEncoderConfig(cnn14=patches)
    student = replace(config.student, audio_encoder=audio)
    short = replace(config, student=student, audio=replace(config.audio, seconds=0.5))
    with pytest.raises(ClapError, match=r"audio\.seconds is 0\.5: .* at least 30 frames"):
        run(short)


def test_a_text_tower_with_fewer_places_than_tokens_is_refused(tmp_path: Path) -> None:
    config = tinydistil.with_text(tmp_path)
    encoder = config.student.text_encoder
    assert encoder is not None
    few = replace(encoder, options={**encoder.options, "max_position_embeddings": 4})
    with pytest.raises(ClapError, match=r"the \[student\] cannot be built as it is described"):
        run(replace(config, student=replace(config.student, text_encoder=few)))


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_average_is_resumed_and_is_the_result(
    ema: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped after each epoch of both towers, the result is that of a run at once."""
    config = tinydistil.with_text(tmp_path, out=str(tmp_path / "a"))
    assert config.texts is not None
    config = replace(
        config, audio=replace(config.audio, ema=ema), texts=replace(config.texts, ema=ema)
    )
    run(config)
    whole, apart = weights(config), replace(config, out=str(tmp_path / "b"))
    epoch = Course.run

    def once(course: Course, number: int) -> object:
        monkeypatch.setattr(Course, "run", stop)
        return epoch(course, number)

    def stop(*_: object) -> object:
        raise KeyboardInterrupt

    for _ in range(3):
        monkeypatch.setattr(Course, "run", once)
        with pytest.raises(KeyboardInterrupt):
            run(apart)
    monkeypatch.setattr(Course, "run", epoch)
    run(apart)
    for name, value in weights(apart).items():
        assert torch.equal(value, whole[name]), name


def test_a_damaged_state_is_said_and_kept(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    run(config)
    path = config.folder / "last.pt"
    good = torch.load(path, weights_only=True)
    whole = path.read_bytes()
    for name in ("student", "history", "course"):
        for value in (None, {}, [], "text", [{"tower": "nose"}]):
            torch.save({**good, name: value}, path)
            bad = path.read_bytes()
            with pytest.raises(ClapError, match=r"last\.pt is damaged"):
                run(config)
            assert path.read_bytes() == bad
    for content in (whole[:-100], b"", b"no archive"):
        path.write_bytes(content)
        with pytest.raises(ClapError, match="cannot be read"):
            run(config)
        assert path.read_bytes() == content
    torch.save([1], path)
    with pytest.raises(ClapError, match="state of a run with another config"):
        run(config)


def test_two_runs_in_one_folder_are_refused(tmp_path: Path) -> None:
    config = tinydistil.config(tmp_path)
    config.folder.mkdir()
    with owning(config.folder), pytest.raises(ClapError, match="by another process"):
        run(config)
    assert not list(config.folder.iterdir())


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [
        ("audio", "window_samples", 2**62), ("audio", "hop_samples", 0),
        ("encoder", "channels", (6, 0, 12)), ("encoder", "width", -1),
        ("encoder", "head_dropout", 2.0), ("mel", "hop_length", 0), ("mel", "n_fft", 0),
        ("mel", "f_max", 0.5), ("mel", "sample_rate", 1),
        ("text", "hidden_size", "wide"), ("text", "num_attention_heads", 0),
        ("text", "max_position_embeddings", -1),
    ],
)  # fmt: skip
def test_a_student_that_cannot_be_is_one_sentence(
    tmp_path: Path, table: str, name: str, value: Any
) -> None:
    """Its tables are the user's numbers: no kind of exception of torch or transformers gets out."""
    config = tinydistil.with_text(tmp_path)
    plain = schema.to_plain(config)
    student = plain["student"]
    place = {
        "audio": student["audio"], "mel": student["audio"]["mel"],
        "encoder": student["audio_encoder"]["cnn14"], "text": student["text_encoder"]["options"],
    }[table]  # fmt: skip
    assert name in place
    place[name] = value
    with pytest.raises(ClapError) as caught:
        run(schema.read(DistilConfig, plain, "run.toml"))
    assert "\n" not in str(caught.value)
    assert not config.folder.exists()


def test_sources_without_a_text_are_refused(tmp_path: Path) -> None:
    config = tinydistil.with_text(tmp_path)
    assert config.texts is not None
    Path(config.texts.sources[0].path).write_text('said\n""\n" "\n')
    with pytest.raises(ClapError, match="hold no text to learn from"):
        run(config)


def test_the_command_runs_a_config_and_says_what_is_wrong_with_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text("out = 3\n")
    monkeypatch.setattr("sys.argv", ["train", "distil", str(path)])
    with pytest.raises(SystemExit) as stopped:
        command_line.entry()
    assert stopped.value.code == 2
    assert "run.toml: 'out' must be str, is int; missing key 'seed'" in capsys.readouterr().err
    asked: list[DistilConfig] = []
    monkeypatch.setattr(module, "run", lambda config: asked.append(config) or Path("done"))
    recipe = Path(command_line.__file__).parent / "recipes" / "clap-mini-half.toml"
    result = CliRunner().invoke(command_line.main, ["distil", str(recipe)])
    assert result.output == "done\n"
    assert [config.student.name for config in asked] == ["clap-mini-half"]
