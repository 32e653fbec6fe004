"""TensorRT-RTX parses and builds the graphs of every family ahead of time, on any machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from clap_export.engine import layers, profiles
from clap_export.engine.build import EngineSource, build
from clap_export.engine.options import BuildOptions
from clap_export.export.graph import export_audio, export_text
from clap_export.export.pack import text_spec
from clap_export.model.clap import ClapModel
from clap_export.model.cnn14 import Cnn14Config
from clap_export.model.config import (
    AudioEncoderConfig,
    ClapConfig,
    ProjectionConfig,
    TextEncoderConfig,
)
from clap_export.model.htsat import HtsatConfig
from clap_export.precision import fp16
from runtime.audio_spec import AudioSpec, Mel
from runtime.backends.trt.dialect import Dialect
from runtime.content import Content
from runtime.engines import Profile
from runtime.errors import BackendError
from runtime.manifest import Manifest, read_manifest
from tests import tiny
from tests.originals import families
from tests.tiny import bundle as tinybundle

OPTIONS = BuildOptions(max_batch=4, compute_capabilities=("8.9",))

# Each family's own frontend, window, pooling and projections, around narrow and shallow towers:
# all that decides which operations its graphs have.
MSCLAP = Mel(44_100, 1024, 320, 64, 50.0, 14_000.0, "slaney", "slaney", 1e-10)
LAION = replace(MSCLAP, sample_rate=48_000, hop_length=480)
CNN14 = AudioEncoderConfig(cnn14=Cnn14Config(64, 32, (4, 8, 8, 8, 8, 8)))
HTSAT = AudioEncoderConfig(htsat=HtsatConfig(embed_dim=16, depths=(2, 1), num_heads=(2, 4)))
FUSED = AudioEncoderConfig(
    htsat=HtsatConfig(embed_dim=16, depths=(2, 1), num_heads=(2, 4), fusion=True)
)
GPT2 = replace(tiny.TEXT["gpt2-last"], pooling="last_unpadded", suffix=" <|endoftext|>")


def config(
    spec: AudioSpec,
    encoder: AudioEncoderConfig,
    projection: ProjectionConfig,
    text: TextEncoderConfig,
) -> ClapConfig:
    return replace(
        tiny.config(), audio=spec, audio_encoder=encoder, audio_projection=projection,
        text_encoder=replace(text, options=text.options | {"vocab_size": 90}),
        text_projection=projection,
    )  # fmt: skip


def msclap(
    seconds: int, mel: Mel, encoder: AudioEncoderConfig, text: TextEncoderConfig
) -> ClapConfig:
    rate = 44_100
    spec = AudioSpec(rate, seconds * rate, seconds * rate, "repeat", False, mel)
    residual = ProjectionConfig("residual", 0.5)
    return config(spec, encoder, residual, text)


def laion(encoder: AudioEncoderConfig, fused: bool = False) -> ClapConfig:
    mel = replace(LAION, scale="htk", norm=None) if fused else LAION
    spec = AudioSpec(
        48_000, 480_000, 480_000, "repeatpad", True, mel, "fusion" if fused else "windows"
    )
    return config(spec, encoder, ProjectionConfig("mlp"), tiny.TEXT["roberta-pooler"])


SMALL = {
    "msclap-2022": msclap(5, MSCLAP, CNN14, tiny.TEXT["bert-cls"]),
    "msclap-2023": msclap(7, replace(MSCLAP, sample_rate=32_000), HTSAT, GPT2),
    "laion-tiny": laion(HTSAT),
    "laion-fused": laion(FUSED, fused=True),
    "laion-pann": laion(CNN14),
    "own": tiny.config("compact", "bert-mean"),
}
# Families whose graphs differ from another's in widths alone.
SAME = {
    "laion-base": "laion-tiny", "transformers": "laion-tiny", "transformers-fused": "laion-fused",
}  # fmt: skip
# The three text towers that published families share, and one of our own.
TEXTS = ("msclap-2022", "msclap-2023", "laion-tiny", "own")
FULL = replace(
    SMALL["laion-tiny"],
    audio_encoder=AudioEncoderConfig(htsat=HtsatConfig()),
    text_encoder=TextEncoderConfig(
        "roberta",
        {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5},
        "pooler", max_tokens=77, pad_id=1,
    ),
    embedding_dim=512,
)  # fmt: skip


@pytest.fixture
def dialect(tensorrt_rtx: Dialect) -> Dialect:
    """TensorRT-RTX, always strongly typed: what it parses and types, TensorRT 10 and 11 do too."""
    return tensorrt_rtx


def parsed(dialect: Dialect, graph: Path) -> tuple[Any, ...]:
    """A network, after what must outlive it."""
    builder = dialect.builder()
    network = dialect.network(builder)
    parser = dialect.parser(network)
    assert parser.parse(graph.read_bytes())
    return builder, parser, network


def manifest(made: ClapConfig) -> Manifest:
    return replace(tinybundle.MANIFEST, audio=made.audio, text=text_spec(made))


def audio_graph(made: ClapConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    export_audio(ClapModel(made), folder / "audio.onnx")
    return folder / "audio.onnx"


def text_graph(made: ClapConfig, folder: Path) -> Path:
    torch.manual_seed(0)
    export_text(ClapModel(made), text_spec(made), folder / "text.onnx")
    return folder / "text.onnx"


def in_half(graph: Path) -> Path:
    path = graph.with_name(f"half-{graph.name}")
    onnx.save(fp16.convert(onnx.load(graph)), path)
    return path


def assert_builds_in_both_precisions(
    dialect: Dialect, graph: Path, served: tuple[Profile, ...]
) -> None:
    """As FP32 without any FP16, and as FP16 but for the frontend."""
    exact = build(dialect, EngineSource(Content.read(graph), served, False), OPTIONS)
    assert "HALF" not in exact.layers
    assert exact.layers["FLOAT"] > 10
    half = in_half(graph)
    made = build(dialect, EngineSource(Content.read(half), served, True), OPTIONS)
    assert made.layers["HALF"] > 10
    assert len(made.plan) > 10_000
    *_keep, network = parsed(dialect, half)
    assert layers.half_products(network) >= layers.SHARE
    frontend = layers.of_frontend(network)
    assert bool(frontend) == (graph.name == "audio.onnx")
    assert "HALF" not in frontend
    assert not frontend or frontend["FLOAT"] > 10


def test_every_family_is_among_those_built() -> None:
    assert {*SMALL, *SAME} == {*families.GET, "own"}
    assert set(SAME.values()) <= set(SMALL)


IN_CI = ("laion-fused", "own")  # the largest graph and the smallest; all take a minute


@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=() if f in IN_CI else pytest.mark.slow) for f in SMALL]
)
def test_the_audio_graph_of_a_family_builds(dialect: Dialect, family: str, tmp_path: Path) -> None:
    made = SMALL[family]
    served = profiles.audio_profiles(manifest(made), OPTIONS)
    assert_builds_in_both_precisions(dialect, audio_graph(made, tmp_path), served)


@pytest.mark.parametrize("family", TEXTS)
def test_the_text_graph_of_a_family_builds(dialect: Dialect, family: str, tmp_path: Path) -> None:
    made = SMALL[family]
    served = profiles.text_profiles(manifest(made), OPTIONS)
    assert_builds_in_both_precisions(dialect, text_graph(made, tmp_path), served)


@pytest.mark.slow
@pytest.mark.parametrize("text", sorted(set(tiny.TEXT) - {"bert-cls", "bert-mean"}))
def test_the_text_graph_of_every_pooling_builds(
    dialect: Dialect, text: str, tmp_path: Path
) -> None:
    made = tiny.config(text=text)
    served = profiles.text_profiles(manifest(made), OPTIONS)
    assert_builds_in_both_precisions(dialect, text_graph(made, tmp_path), served)


@pytest.mark.slow
def test_htsat_tiny_and_roberta_build_at_full_size(dialect: Dialect, tmp_path: Path) -> None:
    given = manifest(FULL)
    audio, text = audio_graph(FULL, tmp_path), text_graph(FULL, tmp_path)
    assert_builds_in_both_precisions(dialect, audio, profiles.audio_profiles(given, OPTIONS))
    assert_builds_in_both_precisions(dialect, text, profiles.text_profiles(given, OPTIONS))


def test_an_fp32_graph_is_not_passed_off_as_fp16(dialect: Dialect, exported_bundle: Path) -> None:
    served = profiles.audio_profiles(read_manifest(exported_bundle), OPTIONS)
    graph = exported_bundle / "audio.onnx"
    with pytest.raises(BackendError, match=r"not in FP16 .*FLOAT.*: the engine was thrown away"):
        build(dialect, EngineSource(Content.read(graph), served, True), OPTIONS)


def test_a_graph_with_other_inputs_is_refused(dialect: Dialect, exported_bundle: Path) -> None:
    served = profiles.text_profiles(read_manifest(exported_bundle), OPTIONS)
    with pytest.raises(BackendError, match=r"'audio\.onnx' has inputs \['waveform'\]; \['atten"):
        build(
            dialect,
            EngineSource(Content.read(exported_bundle / "audio.onnx"), served, False),
            OPTIONS,
        )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"garbage", "Failed to parse the ONNX model"),
        (b"<html>not found</html>", "holds no graph"),  # the parser takes these for empty graphs
        (b"", "holds no graph"),
    ],
)
def test_a_file_that_is_no_graph_is_refused(
    dialect: Dialect, tmp_path: Path, content: bytes, words: str
) -> None:
    graph = tmp_path / "garbage.onnx"
    graph.write_bytes(content)
    with pytest.raises(BackendError, match=rf"cannot parse 'garbage\.onnx': .*{words}"):
        build(dialect, EngineSource(Content.read(graph), (), False), OPTIONS)


def test_an_operation_that_the_library_lacks_is_named_in_the_parsers_words(
    dialect: Dialect, tmp_path: Path
) -> None:
    x, y = (onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [4]) for n in "xy")
    node = onnx.helper.make_node("NoSuchOperation", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "strange", [x], [y])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "strange.onnx")
    with pytest.raises(BackendError, match=r"cannot parse 'strange\.onnx': .*NoSuchOperation"):
        build(dialect, EngineSource(Content.read(tmp_path / "strange.onnx"), (), False), OPTIONS)


def test_an_unknown_gpu_is_refused_with_those_that_are_known(
    dialect: Dialect, exported_bundle: Path
) -> None:
    options = replace(OPTIONS, compute_capabilities=("8.9", "1.0"))
    served = profiles.text_profiles(read_manifest(exported_bundle), options)
    with pytest.raises(BackendError, match=r"compute capability 8\.9, 1\.0; it knows .*8\.9"):
        build(
            dialect,
            EngineSource(Content.read(exported_bundle / "text.onnx"), served, False),
            options,
        )
