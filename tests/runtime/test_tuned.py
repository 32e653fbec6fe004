"""What was quickest here is taken by those who ask for nothing, and by nobody else."""

from __future__ import annotations

import json
import logging
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime import Encoder, tuned
from runtime.bundle import Bundle
from runtime.cores import usable_cores
from runtime.errors import SchemaError
from runtime.tuned import Machine, Timing, Tuned
from tests.tiny import bundle as tinybundle

pytest.importorskip("openvino", reason="OpenVINO is optional: pip install clap-export[openvino]")


@pytest.fixture
def folder(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "tiny"))


def choice_for(folder: Path, **changed: Any) -> Tuned:
    manifest = Bundle(folder).manifest
    whole = Tuned(
        format=tuned.FORMAT, format_version=1,
        audio_sha256=manifest.files[manifest.audio_graph.file].sha256, precision="fp32",
        machine=Machine.here(), provider="openvino", threads=None, batch_size=7,
        timings=(Timing("openvino", None, False, 1, 2.5),),
    )  # fmt: skip
    return replace(whole, **changed)


def test_an_encoder_takes_it(folder: Path) -> None:
    path = tuned.write(folder, choice_for(folder))
    assert path == folder.parent / "tiny.tuned.json"  # beside it: the folder is as it was exported
    assert tuned.read(path) == choice_for(folder)
    with Encoder(folder) as encoder:
        assert (encoder.providers, encoder.batch_size) == (("openvino",), 7)
        assert encoder.text_batch_size == 16
        assert encoder.open_audio().provider == "openvino"
        found = encoder.embed_audio(tinybundle.clip(1, 900), tinybundle.RATE)
    with Encoder(folder, providers=("cpu",)) as encoder:
        wanted = encoder.embed_audio(tinybundle.clip(1, 900), tinybundle.RATE)
    assert abs(found - wanted).max() < 1e-5


def test_what_is_asked_for_comes_first(folder: Path) -> None:
    tuned.write(folder, choice_for(folder, threads=1))
    asked = Encoder(folder, providers=("cpu",))
    assert (asked.providers, asked.batch_size) == (("cpu",), 4)
    assert asked.many_at_once == Encoder(folder, providers=("cpu",)).many_at_once
    assert Encoder(folder, batch_size=3).batch_size == 3


def threads_of(encoder: Encoder) -> int:
    """Of ONNX Runtime's session itself; 0 is one a core."""
    backend: Any = encoder.open_audio()
    return int(backend._session.get_session_options().intra_op_num_threads)


def test_its_threads_are_those_of_a_single_recording(folder: Path) -> None:
    tuned.write(folder, choice_for(folder, provider="cpu", threads=1))
    assert threads_of(Encoder(folder)) == 1
    assert threads_of(Encoder(folder, threads=2)) == 2
    # Many recordings get a core each, as ever.
    assert Encoder(folder).many_at_once == usable_cores()


def test_it_is_looked_for_anew_where_an_encoder_is_unpickled(folder: Path) -> None:
    tuned.write(folder, choice_for(folder))
    packed = pickle.dumps(Encoder(folder)), pickle.dumps(Encoder(folder, providers=("openvino",)))
    tuned.path_of(folder).unlink()  # as on another machine
    assert [pickle.loads(one).providers for one in packed] == [("cpu",), ("openvino",)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "Other 9000"}, "on the CPU Other 9000, and this is"),
        ({"instructions": "0" * 16}, "of other instruction sets"),
        ({"cores": 999}, "with 999 cores, and"),
        ({"engines": {"cpu": "1.0"}}, "with cpu 1.0, and here is cpu"),
    ],
)
def test_a_choice_of_another_machine_is_ignored_and_said(
    folder: Path, changed: dict[str, Any], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    there = replace(Machine.here(), **changed)
    tuned.write(folder, choice_for(folder, machine=there))
    with caplog.at_level(logging.WARNING):
        encoder = Encoder(folder)
    assert (encoder.providers, encoder.batch_size) == (("cpu",), 4)
    (record,) = caplog.records
    assert said in record.getMessage()
    assert f"clap-export tune {folder}" in record.getMessage()


def test_a_choice_for_another_graph_is_ignored(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for other in ({"audio_sha256": "0" * 64}, {"precision": "bf16"}):
        caplog.clear()
        tuned.write(folder, choice_for(folder, **other))
        assert Encoder(folder).providers == ("cpu",)
        assert "of another audio graph" in caplog.text


@pytest.mark.parametrize("spoil", ["{", "[]", "null", '{"format": "clap-export-tuned"}'])
def test_a_damaged_file_is_said_and_passed_over(
    folder: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    tuned.path_of(folder).write_text(spoil)
    assert Encoder(folder).providers == ("cpu",)
    assert "it is not used" in caplog.text


def test_it_is_read_strictly(folder: Path) -> None:
    path = tuned.write(folder, choice_for(folder))
    plain = json.loads(path.read_text())
    for wrong in ({"provider": "cuda"}, {"threads": 0}, {"batch_size": "4"}, {"more": 1}):
        path.write_text(json.dumps({**plain, **wrong}))
        with pytest.raises(SchemaError, match=next(iter(wrong))):
            tuned.read(path)


def test_a_machine_is_told_by_its_first_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files of the kernel's: the order of the flags says nothing, their set does."""
    cpuinfo = tmp_path / "cpuinfo"
    monkeypatch.setattr(tuned, "CPUINFO", cpuinfo)
    seen = []
    for flags in ("sse avx amx_bf16", "amx_bf16 avx sse", "sse avx"):
        cpuinfo.write_text(
            f"processor\t: 0\nmodel name\t: Xeon\nflags\t\t: {flags}\n\n"
            "processor\t: 1\nmodel name\t: never read\n"
        )
        seen.append(Machine.here())
    assert {machine.cpu for machine in seen} == {"Xeon"}
    assert seen[0] == seen[1]
    assert seen[0].unlike(seen[1]) == ""
    assert "other instruction sets" in seen[0].unlike(seen[2])
