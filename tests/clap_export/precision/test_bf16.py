"""bfloat16 as a bundle's precision, and the choice of what is quickest."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from clap_export.bench.bundles import BundleSubject
from clap_export.bench.candidate import Candidate, Plan
from clap_export.cli import main
from clap_export.freeze.graph import freeze
from clap_export.parity import tolerances
from clap_export.parity.checkpoint import verify
from clap_export.precision import choose as choosing
from clap_export.precision import lower, race
from clap_export.precision.tune import tune
from runtime import ClapError, Encoder, LabelBank, Tagger, tuned
from runtime.backends import no_bfloat16
from runtime.bundle import Bundle
from runtime.manifest import Parity, amend, read_manifest
from runtime.tuned import Timing
from tests import tiny
from tests.places import ROOT

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install clap-export[openvino]")
WITHOUT = no_bfloat16()
needs_bfloat16 = pytest.mark.skipif(bool(WITHOUT), reason=WITHOUT)


@pytest.fixture(scope="module")
def fp32(exported_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was compared with its checkpoint: lowering one asks for that."""
    folder = tmp_path_factory.mktemp("fp32") / "fp32"
    shutil.copytree(exported_bundle, folder)
    amend(folder, read_manifest(folder), parity=Parity(True, "cpu", ()))
    return folder


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    for i, wave in enumerate(tiny.waveforms(12, 2 * tiny.WINDOW, seed=5).numpy()):
        tiny.write_wav(folder / f"{i:02}.wav", wave)
    return sorted(folder.iterdir())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Races of one round: which engine wins is not what is tested."""
    monkeypatch.setattr(race, "ROUNDS", 1)
    monkeypatch.setattr(race, "WARM_UPS", 1)


@needs_bfloat16
def test_a_bundle_in_bf16_is_the_same_files_and_what_was_measured(
    fp32: Path, tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tolerances.COSINE, "bf16", 0.99)  # random weights keep less
    made, parity = choosing.choose(fp32, tmp_path, "bf16", ())
    assert parity.passed
    assert parity.provider == "openvino"
    checks = {check.name: check for check in parity.checks}
    assert list(checks) == [
        "audio embedding, 1 - cosine to FP32",
        "text embedding, 1 - cosine to FP32",
        "log-mel, bins within 80 dB of the peak",
    ]
    assert checks["audio embedding, 1 - cosine to FP32"].value > 1e-7  # it was computed in it
    assert checks["log-mel, bins within 80 dB of the peak"].limit == 0.05
    manifest = read_manifest(made)
    assert (manifest.audio_graph.precision, manifest.text_graph.precision) == ("bf16", "bf16")
    assert manifest.files == read_manifest(fp32).files
    choice = tuned.read(tuned.path_of(made))
    assert {(t.provider, t.bfloat16) for t in choice.timings} == {
        ("cpu", False), ("openvino", True)
    }  # fmt: skip
    exact = Encoder(fp32).embed_text(["rain"])
    assert np.array_equal(Encoder(made, providers=("cpu",)).embed_text(["rain"]), exact)
    half = Encoder(made, providers=("openvino",)).embed_text(["rain"])
    assert 1e-9 < 1 - (half.astype(float) * exact).sum() < 0.01


@needs_bfloat16
def test_gates_of_bf16_fail_the_export(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tolerances.COSINE, "bf16", 0.99999999)
    made, parity = choosing.choose(fp32, tmp_path, "bf16", ())
    assert not parity.passed
    assert not tuned.path_of(made).exists()


@needs_bfloat16
def test_integers_and_bfloat16_together(
    fp32: Path, clips: list[Path], tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for precision in ("int8", "int8+bf16"):
        monkeypatch.setitem(tolerances.COSINE, precision, 0.9)
    out, parity = choosing.choose(fp32, tmp_path, "int8+bf16", clips)
    names = [check.name for check in parity.checks]
    assert "the same of 95 % of all clips, by 6 with 95 % confidence" in names
    assert names[-1] == tolerances.MEL
    assert (parity.passed, parity.provider) == (True, "openvino")
    assert read_manifest(out).files == read_manifest(tmp_path / "int8").files
    assert "few-recordings" in {found.name for found in read_manifest(out).findings}
    one, two = (Encoder(folder, providers=("openvino",)) for folder in (tmp_path / "int8", out))
    assert (one.open_audio().bfloat16, two.open_audio().bfloat16) == (False, True)
    apart = np.abs(one.embed_audio(clips[0]) - two.embed_audio(clips[0])).max()
    assert 1e-5 < apart < 0.1


@needs_bfloat16
def test_verify_measures_a_bundle_as_it_is_computed(
    fp32: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tolerances.COSINE, "bf16", 0.9)
    lower.to_bf16(fp32, tmp_path / "out")
    parity = verify(tmp_path / "out", tiny.checkpoint("cnn14"))
    values = {check.name: check.value for check in parity.checks}
    assert parity.provider == "openvino"
    assert values["audio embedding, 1 - cosine"] > 1e-7
    assert values[tolerances.MEL] < 0.05


def test_without_bfloat16_an_export_is_refused_in_one_sentence(fp32: Path, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from clap_export.precision.choose import check_possible\n"
        "from runtime.errors import ClapError\n"
        "check_possible('fp16', 0)\n"
        "for p in ('bf16', 'int8+bf16'):\n"
        "    try: check_possible(p, 20)\n"
        "    except ClapError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT,
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"},
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert first.startswith("--precision bf16 is measured as it is computed, and the environment")
    assert "--precision int8+bf16" in second


@pytest.mark.slow
@needs_bfloat16
def test_an_export_in_bf16_leaves_its_choice_beside_it(
    tmp_path: Path, short: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(tolerances.COSINE, "bf16", 0.9)
    ckpt = tiny.save(tmp_path / "m.safetensors")
    out = tmp_path / "out"
    arguments = ["--ckpt", str(ckpt), "--out", str(out), "--precision", "bf16"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "m.safetensors", "out", "out.tuned.json"
    ]  # fmt: skip
    choice = tuned.read(tuned.path_of(out))
    assert Encoder(out).providers == (choice.provider,)
    said = CliRunner().invoke(main, ["inspect", str(out)]).output.replace("\n", " ")
    expected = "in bf16; tuned" if choice.provider == "openvino" else "in bf16 with --provider"
    assert expected in said


def bf16_of(folder: Path, out: Path) -> Bundle:
    """A bundle that says that it may be computed in bfloat16."""
    shutil.copytree(folder, out)
    manifest = read_manifest(out)
    assert manifest.text_graph is not None
    graphs = (manifest.audio_graph, manifest.text_graph)
    audio, text = (replace(graph, precision="bf16") for graph in graphs)
    amend(out, manifest, audio_graph=audio, text_graph=text)
    return Bundle(out)


def test_the_benchmark_names_what_was_computed(tiny_bundle: Path, tmp_path: Path) -> None:
    bf16_of(tiny_bundle, tmp_path / "b")
    subject = BundleSubject(Candidate("bundle", tmp_path / "b", threads=1), Plan((), (1,)))
    assert subject.model.audio_precision == "fp32 for bf16"
    assert subject.model.text_precision == "fp32 for bf16"


def test_a_tagger_is_exact(exported_bundle: Path, tmp_path: Path) -> None:
    """Its cosines are a product: bfloat16 would round them to two digits."""
    bundle = bf16_of(exported_bundle, tmp_path / "b")
    with Encoder(bundle) as encoder:
        bank = LabelBank.build(encoder, ["rain", "a bell"])
    frozen = freeze(bundle, bank, "cosine", None)
    (tmp_path / "t.onnx").write_bytes(frozen.SerializeToString())
    clip = tiny.waveforms(1, tiny.WINDOW).numpy()[0]
    found = {}
    for provider in ("cpu", "openvino"):
        with Tagger(tmp_path / "t.onnx", providers=(provider,)) as tagger:
            found[provider] = {p.label: p.score for p in tagger.predict(clip, tiny.RATE)}
    assert found["cpu"] == pytest.approx(found["openvino"], abs=1e-5)


def test_tune_writes_a_choice_that_holds(
    exported_bundle: Path, tmp_path: Path, short: None
) -> None:
    folder = Path(shutil.copytree(exported_bundle, tmp_path / "b"))
    result = CliRunner().invoke(main, ["tune", str(folder)])
    assert result.exit_code == 0, result.output
    choice = tuned.read(tuned.path_of(folder))
    assert {timing.provider for timing in choice.timings} == {"cpu", "openvino"}
    assert {timing.batch for timing in choice.timings} == {1, 4, 16}
    assert not any(timing.bfloat16 for timing in choice.timings)  # the bundle does not allow it
    assert all(timing.milliseconds > 0 for timing in choice.timings)
    assert choice.stale(Bundle(folder)) == ""
    assert Encoder(folder).providers == (choice.provider,)
    assert f"here: {choice.provider}, in fp32; tuned" in CliRunner().invoke(
        main, ["inspect", str(folder)]
    ).output.replace("\n", " ")
    result = CliRunner().invoke(main, ["tune", "--json", str(folder)])
    (plain,) = json.loads(result.stdout).values()
    assert plain["machine"]["cores"] == choice.machine.cores


def test_what_cannot_be_tuned_is_said(exported_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ClapError, match="is given twice"):
        tune([exported_bundle, exported_bundle / "."])
    with pytest.raises(ClapError, match="no bundle at"):
        tune([tmp_path / "nowhere"])


def entry(folder: Path, provider: str, threads: int | None, *ms: float) -> race.Entry:
    times = zip(race.BATCHES, ms, strict=True)
    timings = tuple(Timing(provider, threads, False, n, t) for n, t in times)  # type: ignore[arg-type]
    return race.Entry(folder, read_manifest(folder), timings)


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        # The quickest engine; batches of four where none is clearly better.
        ([("openvino", None, 5, 5, 4.9), ("cpu", None, 6, 6, 6)], ("openvino", None, 4)),
        ([("cpu", None, 5, 5, 4.0), ("openvino", None, 6, 6, 6)], ("cpu", None, 16)),
        ([("cpu", None, 5, 6, 7)], ("cpu", None, 1)),
        # Fewer threads must be clearly quicker than all of them.
        ([("cpu", 1, 4.9, 5, 5), ("cpu", None, 5, 5, 5)], ("cpu", None, 4)),
        ([("cpu", 1, 4, 4, 4), ("cpu", None, 5, 5, 5)], ("cpu", 1, 4)),
    ],
)
def test_how_a_choice_is_made(
    fp32: Path, entries: list[tuple[str, int | None, float, float, float]],
    chosen: tuple[str, int | None, int],
) -> None:  # fmt: skip
    found = race.decide([entry(fp32, *one) for one in entries])
    assert (found.provider, found.threads, found.batch_size) == chosen
