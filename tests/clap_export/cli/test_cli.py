"""Every verb through click: exit codes, what is printed, and that nothing is half-written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from clap_export.cli import main
from runtime import LabelBank
from runtime.bundle import Bundle
from runtime.manifest import read_manifest
from tests import originals, tiny
from tests.places import ROOT


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def refused(*arguments: object) -> str:
    """Exit code 2 and one short message; returns it."""
    result = call(*arguments)
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    (line,) = [text for text in result.stderr.splitlines() if text.startswith("Error: ")]
    return line


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tmp_path_factory.mktemp("ckpt") / "model.safetensors")


@pytest.fixture(scope="module")
def bundle(ckpt: Path) -> Path:
    out = ckpt.parent / "bundle"
    result = call("--ckpt", ckpt, "--target", "onnx", "--out", out)
    assert result.exit_code == 0, result.output
    assert "verified" in result.output
    return out


@pytest.fixture(scope="module")
def clip(ckpt: Path) -> Path:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 20_000).astype(np.float32)
    return tiny.write_wav(ckpt.parent / "clip.wav", samples)


def test_export_leaves_a_verified_bundle_and_nothing_else(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert {p.name for p in bundle.iterdir()} == {"manifest.json", *manifest.files}
    assert not [p for p in bundle.parent.iterdir() if ".part" in p.name]


def test_out_defaults_to_name_and_target(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("--ckpt", ckpt, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(Path("model-onnx/manifest.json").read_text())


@pytest.mark.slow
def test_a_checkpoint_without_a_tokenizer_takes_one_from_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    ckpt, folder = originals.small_laion(tmp_path / "any-name"), tmp_path / "tokenizer"
    out = tmp_path / "bundle"
    assert "Give --tokenizer FOLDER" in refused("--ckpt", ckpt, "--out", out)
    originals.tokenizer_folder(folder)
    result = call("--ckpt", ckpt, "--tokenizer", folder, "--out", out)
    assert result.exit_code == 0, result.output
    manifest = read_manifest(out)
    assert manifest.source.family == "laion"
    assert manifest.parity is not None
    assert manifest.parity.passed
    file = folder / "tokenizer.json"
    assert file.is_file()  # taken as well as its folder
    again = call("verify", out, "--ckpt", ckpt, "--family", "laion", "--tokenizer", file)
    assert again.exit_code == 0, again.output
    # --family is obeyed, and what does not fit is named.
    wrong = refused("--ckpt", ckpt, "--family", "msclap", "--out", tmp_path / "no")
    assert "not tensors by name in the state dict: epoch, name, best, state_dict" in wrong
    assert "leave --tokenizer out" in refused(
        "--ckpt", tiny.save(tmp_path / "own.pt"), "--tokenizer", folder, "--out", tmp_path / "no"
    )


def test_export_refuses_before_it_works(ckpt: Path, bundle: Path, tmp_path: Path) -> None:
    assert "exists already" in refused("--ckpt", ckpt, "--out", bundle)
    missing = refused("--ckpt", ckpt, "--out", tmp_path / "no" / "where")
    assert "does not exist" in missing
    out = tmp_path / "out"
    assert "does not exist" in refused("--ckpt", tmp_path / "none.pt", "--out", out)
    (tmp_path / "noise.pt").write_bytes(b"not a checkpoint at all, by any reading")
    assert "noise.pt" in refused("--ckpt", tmp_path / "noise.pt", "--out", out)
    torch.save({"weight": torch.ones(2)}, tmp_path / "other.pt")
    assert "no family" in refused("--ckpt", tmp_path / "other.pt", "--out", out)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["noise.pt", "other.pt"]


def test_a_pickle_with_code_is_refused_and_its_code_does_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "was-here"

    class Payload:
        def __reduce__(self) -> tuple[object, tuple[str, ...]]:
            return Path.touch, (mark,)  # type: ignore[return-value]

    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Payload()))
    line = refused("--ckpt", tmp_path / "evil.pt", "--out", tmp_path / "out")
    assert "could run code" in line
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


def test_every_verb_is_where_the_group_looks_for_it() -> None:
    from click import Context

    from clap_export.cli import VERBS

    text = call("--help").output
    for name in VERBS:
        command = main.get_command(Context(main), name)
        assert command is not None
        assert command.name == name
        assert f"  {name}" in text
    assert main.get_command(Context(main), "other") is None


def test_the_help_names_the_exit_codes_and_the_rule_for_labels() -> None:
    text = " ".join(call("--help").output.split())
    assert "0 done; 1 a gate failed; 2 bad input" in text
    text = " ".join(call("classify", "--help").output.split())
    assert "@FILE" in text
    assert "never by what is on the disk" in text


def test_group_options_do_not_go_with_verbs(ckpt: Path, bundle: Path) -> None:
    assert "do not go with" in refused("--ckpt", ckpt, "inspect", bundle)
    assert "--json" in refused("--json", "inspect", bundle)
    assert "--ckpt is missing" in refused("--out", "x")
    assert "--ckpt is missing" in refused("--family", "laion")


def test_without_arguments_the_help_is_shown() -> None:
    result = call()
    assert result.exit_code == 0
    assert "--ckpt" in result.output


def test_inspect(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    text = call("inspect", bundle).output
    assert manifest.space_id in text
    assert "audio.onnx" in text
    assert "passed" in text
    plain = json.loads(call("inspect", bundle, "--json").stdout)
    assert plain == json.loads((bundle / "manifest.json").read_text())


@pytest.mark.parametrize("name", ["audio.onnx", "text.onnx", "tokenizer.json"])
def test_one_flipped_byte_is_found(bundle: Path, tmp_path: Path, clip: Path, name: str) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    content = bytearray((broken / name).read_bytes())
    content[len(content) // 2] ^= 1
    (broken / name).write_bytes(content)
    for arguments in (["inspect", broken], ["classify", broken, clip, "--labels", "a,b"]):
        line = refused(*arguments)
        assert name in line
        assert "SHA-256" in line


def test_verify(bundle: Path, ckpt: Path, clip: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    result = call("verify", copy, "--ckpt", ckpt, "--clip", clip, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["passed"] is True
    other = tiny.save(tmp_path / "other.safetensors", seed=9)
    assert "other weights" in refused("verify", copy, "--ckpt", other)


def test_verify_of_a_bundle_that_cannot_be_written_says_the_result(
    bundle: Path, ckpt: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    before = (copy / "manifest.json").read_bytes()
    for path in (*copy.iterdir(), copy):
        path.chmod(0o555)
    drop = []
    if os.access(copy, os.W_OK):  # root may write everywhere, unless it gives that up
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        if shutil.which("setpriv") is None:
            pytest.skip("nothing here that its user may not write")
    done = subprocess.run(
        [*drop, sys.executable, "-m", "clap_export", "verify", str(copy), "--ckpt", str(ckpt)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    copy.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert "audio embedding, max abs" in done.stdout
    assert "was not kept in the bundle's manifest" in done.stderr
    assert (copy / "manifest.json").read_bytes() == before
    assert {p.name for p in copy.iterdir()} == {p.name for p in bundle.iterdir()}


@pytest.mark.slow
def test_a_full_disk_names_the_path_that_was_asked_for(ckpt: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["--ckpt", str(ckpt), "--out", str(out)]
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # of each file, in bytes
from clap_export.cli import main
main({arguments!r})
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"Error: '{out}")
    assert "cannot be written: File too large" in last
    assert ".part" not in last
    assert list(tmp_path.iterdir()) == []


def test_a_demonstration_replaces_its_own_bundle_and_no_other_folder(
    ckpt: Path, bundle: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "out" / "bundle"
    mine.mkdir(parents=True)
    (mine / "thesis.txt").write_text("all of it")
    assert "something else than a bundle" in refused("demo", "--ckpt", ckpt, "--out", mine.parent)
    assert (mine / "thesis.txt").read_text() == "all of it"
    shutil.rmtree(mine)
    shutil.copytree(bundle, mine)
    (mine / "audio.onnx").write_bytes(b"old")
    result = call("demo", "--ckpt", ckpt, "--out", mine.parent)
    assert result.exit_code == 0, result.output
    assert "clock_tick.wav" in result.output
    assert Bundle(mine).manifest.parity is not None
    assert sorted(p.name for p in mine.parent.iterdir()) == ["bundle", "sounds"]


def test_a_failed_gate_exits_1_and_keeps_the_bundle(
    ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clap_export.parity import checkpoint as module

    name = "audio embedding, max abs"
    monkeypatch.setitem(module.LIMITS["fp32"], name, (-1.0, ""))  # a gate that nothing can pass
    out = tmp_path / "out"
    result = call("--ckpt", ckpt, "--out", out)
    assert result.exit_code == 1
    assert "NOT within the limits" in result.output
    parity = read_manifest(out).parity
    assert parity is not None
    assert [c.name for c in parity.checks if not c.passed] == [name]
    assert "FAILED" in call("inspect", out).output


@pytest.fixture(scope="module")
def listing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listing")
    for i, wave in enumerate(tiny.waveforms(20, 9000, seed=3).numpy()):  # 20 to calibrate with
        tiny.write_wav(folder / f"{i}.wav", wave)
    rows = "".join(f"{i}.wav,{('rain', 'a bell')[i % 2]}\n" for i in range(6))
    (folder / "list.csv").write_text("path,label\n" + rows)
    return folder / "list.csv"


def test_an_export_in_int8_and_its_evaluation(
    ckpt: Path, bundle: Path, listing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clap_export.parity import fp32, tolerances

    # Random weights keep less than trained ones.
    monkeypatch.setitem(tolerances.COSINE, "int8", 0.9)
    for gate, value in (("LOST", 1.0), ("AGREEMENT", 0.0)):
        monkeypatch.setattr(fp32, gate, value)
    out = tmp_path / "int8"
    given = ["--calibrate", listing.parent, "--listing", listing]
    result = call("--ckpt", ckpt, "--out", out, "--precision", "int8", *given)
    assert result.exit_code == 0, result.output
    assert "audio.onnx, int8" in result.output
    assert "top-1 accuracy lost to FP32" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["int8"]
    text = call("eval", out, "--listing", listing, "--against", bundle)
    assert "6 recordings, 2 labels" in text.output
    assert "both give the same best label to" in text.output
    plain = json.loads(call("eval", out, "--listing", listing, "--json").stdout)
    assert plain["clips"] == 6
    assert 0 <= plain["top1"] <= plain["top5"] == 1


def test_an_export_in_fp16_needs_no_recordings(ckpt: Path, tmp_path: Path) -> None:
    out = tmp_path / "fp16"
    result = call("--ckpt", ckpt, "--out", out, "--precision", "fp16")
    assert result.exit_code == 0, result.output
    assert "audio.onnx, fp16" in result.output
    again = call("verify", out, "--ckpt", ckpt)
    assert again.exit_code == 0, again.output
    assert "1 - cosine to FP32" in again.output  # what the export measured is kept


def test_precision_and_its_recordings_go_together(ckpt: Path, tmp_path: Path, clip: Path) -> None:
    out = tmp_path / "out"
    for given in (["--precision", "int8"], ["--calibrate", clip], ["--listing", "x.csv"]):
        result = call("--ckpt", ckpt, "--out", out, *given)
        assert result.exit_code == 2
        assert "--calibrate" in result.output
    missing = refused("--ckpt", ckpt, "--out", out, "--precision", "auto", "--calibrate", "gone")
    assert "gone does not exist" in missing
    assert "--listing is missing" in call("eval", out).output
    assert not out.exists()


def test_families_of_the_option_are_those_of_the_loader() -> None:
    from clap_export.checkpoints.families import FAMILIES
    from clap_export.cli import main

    (option,) = (o for o in main.params if o.name == "family")
    assert tuple(option.type.choices) == FAMILIES


def test_classify_prints_a_table_and_json_of_the_same(bundle: Path, clip: Path) -> None:
    arguments = ["classify", bundle, clip, "--labels", "dog, rain ,bell", "--top-k", "2"]
    line = json.loads(call(*arguments, "--json").stdout)
    found = line["predictions"]
    assert len(found) == 2
    assert found[0]["score"] >= found[1]["score"]
    assert {p["label"] for p in found} < {"dog", "rain", "bell"}
    table = call(*arguments).output
    assert f"{found[0]['score']:.3f}" in table
    assert found[0]["label"] in table


def test_classify_timeline(bundle: Path, clip: Path) -> None:
    arguments = ["classify", bundle, clip, "--labels", "a,b", "--timeline", "--hop", "0.5"]
    line = json.loads(call(*arguments, "--json").stdout)
    starts = [segment["start"] for segment in line["segments"]]
    assert starts == [0.0, 0.5, 1.0, 1.5]  # 2.5 s in windows of 1 s
    assert line["segments"][-1]["end"] == 2.5
    assert "1.5-2.5 s" in call(*arguments).output
    assert "needs --timeline" in refused("classify", bundle, clip, "--labels", "a", "--hop", "1")


def test_one_bad_file_does_not_lose_the_others(bundle: Path, clip: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF....WAVEnonsense")
    for extra in ([], ["--timeline"]):
        result = call("classify", bundle, clip, bad, clip, "--labels", "a,b", "--json", *extra)
        assert result.exit_code == 2
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        assert ["error" in line for line in lines] == [False, True, False]
        assert lines[0] == lines[2]
        assert "bad.wav" in lines[1]["error"]
    table = call("classify", bundle, clip, bad, "--labels", "a,b")
    assert table.exit_code == 2
    assert "could not be used" in table.output


def test_none_of_these(bundle: Path, clip: Path) -> None:
    output = call("classify", bundle, clip, "--labels", "a,b", "--min-similarity", "0.9999").output
    assert "none of these" in output


def test_labels_makes_a_bank_that_classify_takes(bundle: Path, clip: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.txt"
    names.write_text("# my labels\ndog\n\nrain\nbell\n", "utf-8")
    bank = tmp_path / "bank.npz"
    result = call(
        "labels", bundle, names, "-o", bank, "--template", "{}", "--template", "a sound of {}."
    )
    assert result.exit_code == 0
    loaded = LabelBank.load(bank)
    assert loaded.names == ("dog", "rain", "bell")
    assert loaded.templates == ("{}", "a sound of {}.")
    templates = ["--template", "{}", "--template", "a sound of {}."]
    by_bank = call("classify", bundle, clip, "--labels", bank, "--json").stdout
    by_file = call("classify", bundle, clip, "--labels", names, *templates, "--json").stdout
    assert json.loads(by_bank) == json.loads(by_file)
    assert "must end in .npz" in refused("labels", bundle, names, "-o", bank.with_suffix(""))
    assert "exists" in refused("labels", bundle, names, "-o", bank)
    assert call("labels", bundle, names, "-o", bank, "--overwrite").exit_code == 0


def test_where_nothing_can_be_written_is_said_before_the_work(
    bundle: Path, clip: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone" / "file"
    assert "does not exist" in refused("labels", "no bundle", "no file", "-o", gone)
    assert "is a folder" in refused("labels", "no bundle", "no file", "-o", tmp_path)
    for option in ("--json", "--markdown", "--plot"):
        assert "does not exist" in refused("bench", "no bundle", option, gone)


def test_a_bank_of_another_space_is_refused(
    bundle: Path, tiny_bundle: Path, clip: Path, tmp_path: Path
) -> None:
    names = tmp_path / "names.txt"
    names.write_text("dog\n", "utf-8")
    bank = tmp_path / "bank.npz"
    assert call("labels", tiny_bundle, names, "-o", bank).exit_code == 0
    line = refused("classify", bundle, clip, "--labels", bank)
    assert read_manifest(bundle).space_id in line
    assert read_manifest(tiny_bundle).space_id in line


def test_labels_that_cannot_be_used(bundle: Path, clip: Path, tmp_path: Path) -> None:
    assert "labels.txt" in refused("classify", bundle, clip, "--labels", tmp_path / "labels.txt")
    assert "no labels" in refused("classify", bundle, clip, "--labels", ",").lower()
    assert "'dog'" in refused("classify", bundle, clip, "--labels", "dog,dog")
    wrong = refused("classify", bundle, clip, "--labels", "dog", "--template", "no place")
    assert "{}" in wrong


def test_wrong_bundle_version(bundle: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    plain = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps({**plain, "format_version": 99}))
    assert "99" in refused("inspect", copy)
    assert "no bundle" in refused("inspect", tmp_path / "nothing")


def test_multilabel_needs_a_calibration(bundle: Path, clip: Path) -> None:
    line = refused("classify", bundle, clip, "--labels", "a,b", "--scores", "multilabel")
    assert "calibration" in line


def test_cuda_is_refused_where_there_is_none(bundle: Path, clip: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    line = refused("classify", bundle, clip, "--labels", "a,b", "--provider", "cuda")
    assert "onnxruntime-gpu" in line
