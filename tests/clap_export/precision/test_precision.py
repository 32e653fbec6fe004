"""INT8: the arithmetic against its definition, and bundles that keep what they promise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
from onnx import TensorProto, helper, numpy_helper

from clap_export.export.pack import write_bundle
from clap_export.parity import tolerances
from clap_export.parity.accuracy import read_listing
from clap_export.parity.checkpoint import verify
from clap_export.parity.phrases import PHRASES
from clap_export.precision import fp16, int8, lower, probe, race, ranges
from clap_export.precision.choose import check_possible, choose, recordings
from runtime import ClapError, Encoder, tuned
from runtime.backends import open_backend
from runtime.manifest import read_manifest
from tests import tiny

RNG = np.random.default_rng(0)


def test_steps_of_an_even_spread_use_the_whole_range() -> None:
    steps = ranges.choose(np.linspace(-1, 3, 10_001).astype(np.float32))
    assert steps.scale == pytest.approx(4 / 255, rel=1e-6)
    assert steps.zero_point == 64


def test_an_outlier_is_clipped_and_zero_stays_exact() -> None:
    values = np.append(RNG.standard_normal(100_000), 40.0).astype(np.float32)
    steps = ranges.choose(values)
    assert steps.scale * (255 - steps.zero_point) < 39
    positive = ranges.choose(np.linspace(2, 3, 100).astype(np.float32))
    assert positive.zero_point == 0  # the range holds zero even if the values do not
    assert ranges.choose(np.zeros(10, np.float32)) == ranges.Steps(1.0, 0)


def model() -> onnx.ModelProto:
    """x @ a -> ReLU -> Gemm with a transposed matrix, plus a row of a table."""
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("Gemm", ["positive", "b", "c"], ["product"], transB=1),
        helper.make_node("Gather", ["table", "ids"], ["row"]),
        helper.make_node("Add", ["product", "row"], ["y"]),
    ]
    made = {
        "a": RNG.standard_normal((6, 8)) * np.logspace(-2, 2, 8),  # columns of unlike sizes
        "b": RNG.standard_normal((4, 8)), "c": RNG.standard_normal(4),
        "table": RNG.standard_normal((int8.TABLE_ROWS, 4)) * 30,
    }  # fmt: skip
    graph = helper.make_graph(
        nodes, "layers",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6]),
         helper.make_tensor_value_info("ids", TensorProto.INT64, ["n"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in made.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def rounded(x: np.ndarray, steps: ranges.Steps) -> np.ndarray:
    """By the definition of ONNX's QuantizeLinear and back."""
    q = np.clip(np.rint(x / np.float32(steps.scale)) + steps.zero_point, 0, 255)
    return (q - steps.zero_point) * np.float32(steps.scale)


def rounded_weight(w: np.ndarray) -> np.ndarray:
    """Per column, 127 steps to either side."""
    scale = np.abs(w).max(axis=0) / np.float32(127)
    return np.rint(w / scale) * scale


def test_an_int8_graph_computes_what_its_definition_says() -> None:
    source = model()
    feed = {
        "x": RNG.standard_normal((50, 6)).astype(np.float32),
        "ids": RNG.integers(0, int8.TABLE_ROWS, 50),
    }
    found = int8.layers(source.graph)
    assert [(layer.node, layer.axis, layer.after) for layer in found] == [
        ("hidden", 1, None), ("product", 0, None)
    ]  # fmt: skip
    steps = ranges.observe(source, [layer.data for layer in found], [feed])
    quantised = int8.quantise(source, steps, {"hidden", "product"})
    onnx.checker.check_model(quantised, full_check=True)
    w = {i.name: numpy_helper.to_array(i) for i in source.graph.initializer}
    hidden = rounded(feed["x"], steps["x"]) @ rounded_weight(w["a"])
    product = rounded(np.maximum(hidden, 0), steps["positive"]) @ rounded_weight(w["b"].T) + w["c"]
    want = product + rounded_weight(w["table"].T).T[feed["ids"]]
    got = open_backend(quantised.SerializeToString()).run(feed)["y"]
    exact = open_backend(source.SerializeToString()).run(feed)["y"]
    # A value on the edge of two steps may fall to either side.
    assert np.median(np.abs(got - want)) < 1e-4 * np.abs(want).max()
    assert np.quantile(np.abs(got - want), 0.9) < 0.02 * np.abs(want).max()
    assert np.abs(got - exact).max() > 1e-3  # it is not FP32 any more
    left = {i.name: i.data_type for i in quantised.graph.initializer}
    assert "a" not in left
    assert left["a_q"] == left["b_q"] == left["table_q"] == TensorProto.INT8


def test_layers_that_are_not_chosen_stay_exact() -> None:
    source = model()
    feed = {"x": np.ones((1, 6), np.float32), "ids": np.zeros(1, np.int64)}
    steps = ranges.observe(source, ["x", "positive"], [feed])
    quantised = int8.quantise(source, steps, {"product"})
    names = {i.name for i in quantised.graph.initializer}
    assert {"a", "b_q"} <= names
    assert not {"a_q", "b"} & names


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i, wave in enumerate(tiny.waveforms(12, 3 * tiny.WINDOW, seed=5).numpy()):
        soundfile.write(folder / f"{i}.wav", wave, tiny.RATE)
    rows = "".join(f"{i}.wav,{('rain', 'a bell', 'the sea')[i % 3]}\n" for i in range(12))
    (folder / "list.csv").write_text("path,label\n" + rows)
    return folder


@pytest.fixture(scope="module", params=[("cnn14", "bert-mean"), ("htsat", "gpt2-last")])
def fp32(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp32") / "fp32"
    checkpoint = tiny.checkpoint(*request.param)
    write_bundle(checkpoint, folder)
    assert verify(folder, checkpoint).passed
    return folder


def test_a_bundle_in_int8(fp32: Path, clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    lowered = lower.to_int8(fp32, out, recordings([clips]), read_listing(clips / "list.csv"))
    names = [check.name for check in lowered.parity.checks]
    assert names == [
        "audio embedding, 1 - cosine to FP32",
        "the same of 95 % of all clips, by 6 with 95 % confidence",
        "text embedding, 1 - cosine to FP32",
        "6 clips, other best phrase than FP32",
        "listing, top-1 accuracy lost to FP32",
        "listing, other top-1 label than FP32",
    ]
    manifest = read_manifest(out)
    (few,) = manifest.findings[len(read_manifest(fp32).findings) :]
    assert few.name == "few-recordings"
    assert "measured on 6 recordings" in few.detail
    assert manifest.parity == lowered.parity
    assert manifest.space_id == read_manifest(fp32).space_id
    assert (manifest.audio_graph.precision, manifest.text_graph.precision) == ("int8", "int8")
    graph = onnx.load(out / "audio.onnx").graph
    assert sum(node.op_type == "QuantizeLinear" for node in graph.node) >= 5
    with Encoder(fp32) as exact, Encoder(out) as encoder:
        paths = recordings([clips])
        want, got = exact.embed_audio(paths), encoder.embed_audio(paths)
        assert (want * got).sum(axis=1).min() > 0.98
        assert np.abs(want - got).max() > 1e-4
        # Steps are fixed, so a clip's neighbours in a batch do not matter; but float32 products of
        # another shape may round a value on the edge of two steps to the other one.
        assert np.abs(encoder.embed_audio(paths[:1])[0] - got[0]).max() < 1e-3


def test_layers_are_left_out_until_the_gates_are_passed(
    fp32: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower, "LEFT_OUT", (30.0, 0.0))
    monkeypatch.setattr(lower, "EPSILON", -1.0)  # then 0 times anything leaves all layers out
    monkeypatch.setitem(tolerances.COSINE, "int8", 0.999999)
    # Words are rounded all the same: so few that it is their neighbours which pass.
    monkeypatch.setattr(int8, "TABLE_ROWS", 10**9)
    lowered = lower.to_int8(fp32, tmp_path / "out", recordings([clips]))
    assert lowered.parity.passed
    assert len(lowered.left_out) > 5
    with Encoder(fp32) as exact, Encoder(tmp_path / "out") as encoder:
        clip = clips / "0.wav"
        assert np.abs(exact.embed_audio(clip) - encoder.embed_audio(clip)).max() < 1e-6


def test_the_layer_that_hurts_most_is_left_out_first(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tiny.checkpoint("cnn14")
    write_bundle(checkpoint, tmp_path / "fp32")
    effects = {}
    observe = lower._Encoder.observe

    def spoilt(self: lower._Encoder, *given: object) -> None:
        observe(self, *given)  # type: ignore[arg-type]
        effects[self.name] = dict(self.effects)

    monkeypatch.setattr(lower._Encoder, "observe", spoilt)
    monkeypatch.setattr(lower, "LEFT_OUT", (3.0,))
    lowered = lower.to_int8(tmp_path / "fp32", tmp_path / "int8", recordings([clips]))
    audio = effects["audio.onnx"]
    limit = 3 * np.median([*audio.values()])
    hurt = {node for node, effect in audio.items() if effect > limit}
    assert 0 < len(hurt) < len(audio)
    assert hurt <= set(lowered.left_out)
    # The first convolution hears decibels, which a step of 256 rounds by half of one.
    assert max(audio, key=audio.__getitem__) in hurt


def test_gates_that_fail_are_reported(
    fp32: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lower, "LEFT_OUT", (30.0,))
    monkeypatch.setitem(tolerances.COSINE, "int8", 0.99999999)
    made, parity = choose(fp32, tmp_path, "int8", recordings([clips]))
    assert not parity.passed
    manifest = read_manifest(made)
    assert manifest.parity is not None
    assert not manifest.parity.passed


def test_auto_takes_the_quickest(
    fp32: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "engines", lambda: ("cpu",))
    monkeypatch.setitem(tolerances.COSINE, "int8", 0.9)
    made, parity = choose(fp32, tmp_path, "auto", recordings([clips]))
    entries = read_manifest(made).race
    assert parity.passed
    assert {(entry.precision, entry.provider) for entry in entries} == {
        ("fp32", "cpu"), ("fp16", "cpu"), ("int8", "cpu")
    }  # fmt: skip
    assert [entry.chosen for entry in entries] == [True, False, False]
    assert tuned.read(tuned.path_of(made)).provider == "cpu"
    sums = [entry.single + entry.batched for entry in entries]
    assert sums == sorted(sums)
    assert read_manifest(made).audio_graph.precision == entries[0].precision


def test_auto_without_a_passing_int8_is_fp32(
    fp32: Path, clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(race, "engines", lambda: ("cpu",))
    monkeypatch.setattr(lower, "LEFT_OUT", (30.0,))
    monkeypatch.setitem(tolerances.COSINE, "int8", 1.1)
    monkeypatch.setitem(tolerances.COSINE, "fp16", 1.1)
    made, parity = choose(fp32, tmp_path, "auto", recordings([clips]))
    assert made == fp32
    assert parity.passed


def test_what_int8_cannot_do_is_said(clips: Path, tmp_path: Path, fp32: Path) -> None:
    with pytest.raises(ClapError, match="name some with --calibrate"):
        lower.to_int8(fp32, tmp_path / "out", [])
    with pytest.raises(ClapError, match="at least 12 recordings, 3 were given"):
        lower.to_int8(fp32, tmp_path / "out", recordings([clips])[:3])
    with pytest.raises(ClapError, match=r"nowhere does not exist"):
        recordings([clips, tmp_path / "nowhere"])
    with pytest.raises(ClapError, match="no recordings"):
        recordings([tmp_path])
    lower.to_fp16(fp32, tmp_path / "out")
    with pytest.raises(ClapError, match="is in fp16: give a bundle in fp32"):
        lower.to_int8(tmp_path / "out", tmp_path / "again", recordings([clips]))
    assert not (tmp_path / "again").exists()


def test_recordings_are_found_once_and_nothing_is_passed_over(tmp_path: Path) -> None:
    folder, empty = tmp_path / "clips", tmp_path / "empty"
    (folder / "deep").mkdir(parents=True)
    empty.mkdir()
    for name in ("b.wav", "a.FLAC", "deep/c.opus", "deep/d.caf", ".hidden.wav", "notes.txt"):
        (folder / name).touch()
    found = recordings([folder, folder / "b.wav", folder / "deep"])
    assert [path.name for path in found] == ["a.FLAC", "b.wav", "c.opus", "d.caf"]
    assert recordings([folder / "notes.txt"]) == [folder / "notes.txt"]  # named by the user
    with pytest.raises(ClapError, match=r"no recordings .* were found in .*empty"):
        recordings([folder, empty])


def test_too_few_recordings_are_refused_before_any_work(tmp_path: Path) -> None:
    check_possible("fp16", 0)
    check_possible("int8", 12)
    for precision in ("int8", "auto"):
        with pytest.raises(ClapError, match=r"at least 12 recordings .* 11 were given.* 118"):
            check_possible(precision, 11)


def test_effects_are_those_of_graphs_with_one_layer_in_int8(fp32: Path, clips: Path) -> None:
    manifest = read_manifest(fp32)
    source = onnx.load(fp32 / manifest.audio_graph.file)
    with Encoder(fp32) as encoder:
        feeds = [{"waveform": encoder.windows_of(clip)[:1]} for clip in recordings([clips])[:4]]
    layers = int8.layers(source.graph)
    names = [layer.data for layer in layers] + [x.after for x in layers if x.after]
    steps = ranges.observe(source, names, feeds)
    found = probe.effects(source, steps, feeds)
    assert list(found) == [layer.node for layer in layers]

    def embed(model: onnx.ModelProto) -> np.ndarray:
        backend = open_backend(model.SerializeToString())
        return np.concatenate([backend.run(feed)["embedding"] for feed in feeds]).astype(float)

    exact = embed(source)
    for layer in layers:
        rows = embed(int8.quantise(source, steps, {layer.node}))
        # Values on the edge of two steps fall to either side.
        assert found[layer.node] == pytest.approx(1 - (rows * exact).sum(1).mean(), 0.2, 5e-7)


@pytest.mark.slow
def test_an_int8_bundle_with_feature_fusion(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights keep less than trained ones.
    monkeypatch.setitem(tolerances.COSINE, "int8", 0.9)
    checkpoint = tiny.checkpoint(tiny.FUSION)
    write_bundle(checkpoint, tmp_path / "fp32")
    lowered = lower.to_int8(tmp_path / "fp32", tmp_path / "int8", recordings([clips]))
    assert lowered.parity.passed
    assert any("fusion" in name for name in _integers(tmp_path / "int8" / "audio.onnx"))


def _integers(path: Path) -> list[str]:
    """Names of the int8 weights of a graph."""
    initializers = onnx.load(path).graph.initializer
    return [i.name for i in initializers if i.data_type == TensorProto.INT8]


def test_an_fp16_graph_computes_what_its_types_say() -> None:
    source = model()
    graph = fp16.convert(source)
    onnx.checker.check_model(graph, full_check=True)
    feed = {
        "x": RNG.standard_normal((50, 6)).astype(np.float32),
        "ids": RNG.integers(0, int8.TABLE_ROWS, 50),
    }
    w = {i.name: numpy_helper.to_array(i) for i in source.graph.initializer}
    half = {name: array.astype(np.float16).astype(np.float32) for name, array in w.items()}
    x = feed["x"].astype(np.float16).astype(np.float32)
    hidden = np.maximum(x @ half["a"], 0)
    want = hidden @ half["b"].T + half["c"] + half["table"][feed["ids"]]
    (got,) = open_backend(graph.SerializeToString()).run(feed).values()
    exact = open_backend(source.SerializeToString()).run(feed)["y"]
    scale = np.abs(want).max()
    assert np.abs(got - want).max() < 3e-3 * scale  # the sums' own rounding
    assert np.abs(got - exact).max() > 1e-5 * scale
    kinds = {i.name: i.data_type for i in graph.graph.initializer}
    assert set(kinds.values()) == {TensorProto.FLOAT16}


def test_what_fp16_cannot_hold_stays_in_fp32() -> None:
    nodes = [
        helper.make_node("Mul", ["x", "large"], ["a"]),
        helper.make_node("Add", ["a", "tiny"], ["b"]),
        helper.make_node("Div", ["x", "two"], ["c"]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("Softmax", ["d"], ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["g"]),
        helper.make_node("Neg", ["g"], ["y"]),  # on the way out
    ]
    numbers = {"large": 1e6, "tiny": 1e-12, "two": 2.0, "w": np.eye(3)}
    graph = helper.make_graph(
        nodes, "types",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(np.array(v, np.float32), k) for k, v in numbers.items()],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    made = fp16.convert(source)
    onnx.checker.check_model(made, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(made)
    kinds = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    halves = {name for name in "abcdefg" if kinds[name] == TensorProto.FLOAT16}
    assert halves == {"c", "d", "f", "g"}


def test_a_bundle_in_fp16(fp32: Path, clips: Path, tmp_path: Path) -> None:
    for given in ([], recordings([clips])):  # without recordings the made ones of verify are used
        out = tmp_path / f"fp16-{len(given)}"
        made, parity = choose(fp32, out, "fp16", given)
        assert parity.passed
        assert {c.limit for c in parity.checks} == {0.001}
        manifest = read_manifest(made)
        assert (manifest.audio_graph.precision, manifest.text_graph.precision) == ("fp16", "fp16")
        # Half of the bytes, but for the frontend.
        assert (made / "text.onnx").stat().st_size < 0.75 * (fp32 / "text.onnx").stat().st_size
    graph = onnx.load(made / "audio.onnx").graph
    kinds = {i.name: i.data_type for i in graph.initializer}
    for name in ("framed", "first", "second", "bank"):
        assert kinds[f"model.mel.two_stage.{name}"] == TensorProto.FLOAT
    assert list(kinds.values()).count(TensorProto.FLOAT16) > 5
    with Encoder(fp32) as exact, Encoder(made) as encoder:
        silence = np.zeros(tiny.WINDOW, np.float32)
        for wave in (silence, np.ones_like(silence), clips / "0.wav"):
            want, got = exact.embed_audio(wave, tiny.RATE), encoder.embed_audio(wave, tiny.RATE)
            assert 1e-9 < 1 - (want * got).sum() + 1e-8 < 1e-3


def test_phrases_are_many_and_different() -> None:
    assert len(set(PHRASES)) == len(PHRASES) >= 60
    assert {len(phrase.split()) for phrase in PHRASES} >= {1, 3, 8}
