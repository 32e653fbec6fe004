"""What a graph may hold, and that ours hold nothing else."""

from __future__ import annotations

import dataclasses
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, TensorProto, helper, numpy_helper

from runtime import Encoder, onnx_file
from runtime.bundle import sha256_file
from runtime.errors import BundleError
from runtime.manifest import FileEntry, read_manifest, write_manifest
from tests.tiny import bundle as tinybundle

X = helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", tinybundle.WINDOW])
Y = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", tinybundle.DIM])


def model(nodes: list[Any], constants: Sequence[Any] = (), *opsets: Any) -> Any:
    graph = helper.make_graph(nodes, "g", [X], [Y], list(constants))
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17), *opsets], ir_version=8
    )


def good() -> Any:
    return helper.make_model(
        tinybundle.audio_graph(), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


def refused(made: Any) -> str:
    data = made if isinstance(made, bytes) else made.SerializeToString()
    with pytest.raises(BundleError) as caught:
        onnx_file.check(data, "audio.onnx")
    assert str(caught.value).startswith("'audio.onnx' is not used: ")
    return str(caught.value)


def test_what_it_finds() -> None:
    found = onnx_file.check(good().SerializeToString(), "audio.onnx")
    assert found.inputs == {"waveform": (None, tinybundle.WINDOW)}
    assert found.outputs == {"embedding": (None, tinybundle.DIM), "norm": (None,)}
    assert [node[0] for node in found.nodes][:2] == ["Reshape", "Mul"]
    assert found.tensors["blocks"].values == (0, 8, 1000)
    text = helper.make_model(tinybundle.text_graph()).SerializeToString()
    found = onnx_file.check(text, "text.onnx")
    assert found.rows("input_ids") == len(tinybundle.VOCABULARY)
    assert found.rows("attention_mask") is None


def external(location: str, **more: int) -> Any:
    made = good()
    tensor = next(t for t in made.graph.initializer if t.name == "matrix")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return made


@pytest.mark.parametrize(
    "location", ["weights.bin", "../x", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", ""]
)
def test_weights_outside_the_file(location: str) -> None:
    assert "outside the file" in refused(external(location, offset=0x414141414140, length=256))
    only_marked = good()
    only_marked.graph.initializer[0].data_location = TensorProto.EXTERNAL
    assert "outside the file" in refused(only_marked)
    inside_an_operation = model([helper.make_node("Constant", [], ["embedding"], value=external(
        location).graph.initializer[1])])  # fmt: skip
    assert "outside the file" in refused(inside_an_operation)


def loop() -> Any:
    scalar = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Sin", ["a"], ["a2"])], "b",
        [scalar("i", TensorProto.INT64, []), scalar("c", TensorProto.BOOL, []),
         scalar("a", TensorProto.FLOAT, [])],
        [scalar("c2", TensorProto.BOOL, []), scalar("a2", TensorProto.FLOAT, [])],
    )  # fmt: skip
    return helper.make_node("Loop", ["n", "t", "s"], ["embedding"], body=body)


def hidden(kind: str) -> Any:
    """An allowed operation that brings a graph along."""
    node = helper.make_node("Identity", ["waveform"], ["embedding"])
    attribute = node.attribute.add()
    attribute.name, attribute.type = "body", AttributeProto.FLOAT
    if kind == "g":
        attribute.g.CopyFrom(tinybundle.audio_graph())
    elif kind == "graphs":
        attribute.graphs.add().CopyFrom(tinybundle.audio_graph())
    elif kind == "sparse":
        attribute.sparse_tensor.dims.append(3)
    else:
        attribute.ref_attr_name = "x"
    return node


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([loop()], "operation 'Loop', which is not on the list|a graph inside an operation"),
        ([helper.make_node("If", ["waveform"], ["embedding"])], "'If'"),
        ([helper.make_node("RandomNormal", [], ["embedding"], shape=[1])], "'RandomNormal'"),
        ([helper.make_node("ConstantOfShape", ["n"], ["embedding"])], "'ConstantOfShape'"),
        ([helper.make_node("Evil", ["waveform"], ["embedding"], domain="evil")], "Evil"),
        ([helper.make_node("EPContext", ["waveform"], ["embedding"], domain="com.microsoft")],
         "EPContext"),
        ([helper.make_node("Add", ["waveform"], ["embedding"], domain="com.microsoft")],
         "an operation of 'com.microsoft'"),
        ([hidden("g")], "a graph inside an operation"),
        ([hidden("graphs")], "graphs inside an operation"),
        ([hidden("sparse")], "a sparse constant"),
        ([hidden("ref")], "a function's attribute"),
        ([], "makes its output 'embedding'"),
        ([helper.make_node("Identity", ["waveform"], ["y"])] * 20_001, "more than 20000"),
    ],
)  # fmt: skip
def test_operations_that_are_not_run(nodes: list[Any], message: str) -> None:
    said = refused(model(nodes))
    assert any(part in said for part in message.split("|")), said


def test_other_domains_functions_and_sparse_constants() -> None:
    node = helper.make_node("Identity", ["waveform"], ["embedding"])
    assert "'evil'" in refused(model([node], [], helper.make_opsetid("evil", 1)))
    made = good()
    made.functions.add().name = "f"
    assert "functions" in refused(made)
    made = good()
    made.training_info.add()
    assert "training" in refused(made)
    made = good()
    made.graph.sparse_initializer.add().dims.append(2)
    assert "sparse" in refused(made)


def sized(**changes: Any) -> Any:
    made = good()
    tensor = next(t for t in made.graph.initializer if t.name == "matrix")
    for name, value in changes.items():
        if name == "dims":
            tensor.dims[:] = value
        else:
            setattr(tensor, name, value)
    return made


@pytest.mark.parametrize(
    "changes",
    [
        {"dims": [2**40, 8]},
        {"dims": [8, 9]},
        {"dims": [-8, -8]},
        {"dims": [1] * 9},
        {"dims": []},
        {"raw_data": b""},
        {"raw_data": bytes(255)},
        {"data_type": TensorProto.STRING},
        {"data_type": TensorProto.DOUBLE},
        {"data_type": 0},
        {"data_type": 99},
    ],
)
def test_bytes_that_do_not_fit_the_shape(changes: dict[str, Any]) -> None:
    assert "constant 'matrix'" in refused(sized(**changes)) or "elements" in refused(
        sized(**changes)
    )


@pytest.mark.parametrize(
    ("dtype", "values"),
    [(np.float32, [1.5, 2]), (np.int64, [-1, 2**62]), (np.int32, [-7, 7]), (np.float16, [0.5, 1]),
     (np.int8, [-1, 1]), (np.uint8, [0, 255]), (np.bool_, [True, False]), (np.float64, [1, 2])],
)  # fmt: skip
def test_numbers_in_typed_fields_are_counted(dtype: Any, values: list[float]) -> None:
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    array = np.array(values, dtype)
    for tensor in (
        helper.make_tensor("c", kind, [2], array.tolist() if dtype != np.float16 else array),
        numpy_helper.from_array(array, "c"),
    ):
        node = helper.make_node("Identity", ["waveform"], ["embedding"])
        found = onnx_file.check(model([node], [tensor]).SerializeToString(), "x")
        assert found.tensors["c"].dims == (2,)
        if dtype == np.int64:
            assert found.tensors["c"].values == tuple(values)
    tensor.dims[:] = [3]
    assert "holds 2 numbers" in refused(model([node], [tensor]))


def test_shapes_that_ask_for_all_memory() -> None:
    for operation, shape in (("Expand", [2**20, 2**20]), ("Tile", [2**40]), ("Reshape", [2**62])):
        constant = numpy_helper.from_array(np.array(shape), "n")
        node = helper.make_node(operation, ["waveform", "n"], ["embedding"])
        assert "is asked for" in refused(model([node], [constant]))
        inline = helper.make_node("Constant", [], ["n"], value=constant)
        assert "is asked for" in refused(model([inline, node]))
    constant = numpy_helper.from_array(np.array(2**40), "n")
    node = helper.make_node("Range", ["n", "n", "n"], ["embedding"])
    assert "range" in refused(model([node], [constant]))


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def test_what_protobuf_would_let_through() -> None:
    data = good().SerializeToString()
    graph = good().graph.SerializeToString()
    assert "two graphs" in refused(data + field(7, graph))  # merged by protobuf
    assert "not known" in refused(data + field(99, b"x"))
    assert "not known" in refused(data + varint(7 << 3 | 3))  # a group
    assert "not known" in refused(data + varint(7 << 3 | 0) + b"\1")  # another wire type
    assert "cut short" in refused(data + varint(2 << 3 | 2) + varint(2**40))
    assert "cut short" in refused(data + varint(5 << 3) + b"\xff" * 11)
    assert "UTF-8" in refused(b"\x08\x08" + field(7, field(1, field(4, b"\xff"))))
    assert "too long" in refused(b"\x08\x08" + field(7, field(1, field(4, b"A" * 5000))))


@pytest.mark.parametrize("data", [b"", b"nothing", bytes(100), b"<net/>", b"PK\3\4"])
def test_other_files(data: bytes) -> None:
    assert "no ONNX model" in refused(data) or "no graph" in refused(data)


@pytest.mark.parametrize("mark", [b"ORTM", b"TFL3"])
def test_a_file_that_an_engine_takes_for_another_format(mark: bytes) -> None:
    made = b"\x08\x08" + field(2, mark + b"x") + field(7, good().graph.SerializeToString())
    assert made[4:8] == mark
    assert "no ONNX model" in refused(made)


def test_names_are_shown_escaped() -> None:
    node = helper.make_node("Ev\x1b[2Jil", ["waveform"], ["embedding"])
    assert r"Ev\x1b[2Jil" in refused(model([node]))


def test_a_large_file_takes_no_time_and_no_memory() -> None:
    weights = numpy_helper.from_array(np.zeros((64 << 20) // 4, np.float32), "w")
    nodes = [helper.make_node("Identity", ["waveform"], ["embedding"])] * 500
    data = model(nodes, [weights]).SerializeToString()
    start = time.thread_time()  # other tests' engines may have threads that still run
    onnx_file.check(data, "x")
    assert time.thread_time() - start < 0.05  # seconds; it is 0.01


def test_damaged_graphs_are_refused_or_read_and_nothing_else() -> None:
    rng, data = random.Random(0), bytearray(good().SerializeToString())
    for _ in range(3000):
        made = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            made[rng.randrange(len(made))] = rng.randrange(256)
        made = made[: rng.randint(0, len(made))] if rng.random() < 0.3 else made
        try:
            onnx_file.check(bytes(made), "x")
        except BundleError:
            continue


# In a bundle


def put(folder: Path, name: str, data: bytes, **changes: Any) -> Path:
    """Put a file into a bundle, with its hash in the manifest."""
    (folder / name).write_bytes(data)
    manifest = read_manifest(folder)
    entry = FileEntry(sha256_file(folder / name), len(data))
    files = {**manifest.files, name: entry}
    write_manifest(folder, dataclasses.replace(manifest, files=files, **changes))
    return folder


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
@pytest.mark.parametrize("check_hashes", [True, False])
def test_no_engine_sees_what_is_refused(tmp_path: Path, provider: str, check_hashes: bool) -> None:
    folder = tinybundle.build(tmp_path / "b")
    put(folder, "audio.onnx", model([loop()]).SerializeToString())
    put(folder, "text.onnx", external("weights.bin").SerializeToString())
    with Encoder(folder, providers=(provider,), check_hashes=check_hashes) as encoder:
        with pytest.raises(BundleError, match=r"audio\.onnx' is not used"):
            encoder.embed_windows(np.zeros((1, tinybundle.WINDOW), np.float32))
        with pytest.raises(BundleError, match=r"text\.onnx' is not used.*outside the file"):
            encoder.embed_text("dog")


def test_windows_of_another_length(tmp_path: Path) -> None:
    longer = dataclasses.replace(tinybundle.MANIFEST.audio, window_samples=9000)
    folder = tinybundle.build(tmp_path / "b", audio=longer)
    with pytest.raises(BundleError, match="takes windows of 8000 samples, the manifest says 9000"):
        Encoder(folder).open_audio()


def test_embeddings_that_are_not_of_unit_norm(tmp_path: Path) -> None:
    graph = tinybundle.audio_graph()
    last = next(node for node in graph.node if node.output[0] == "embedding")
    graph.node.append(helper.make_node("Add", ["unit", "unit"], [last.output[0]]))
    last.output[0] = "unit"
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = put(tinybundle.build(tmp_path / "b"), "audio.onnx", made.SerializeToString())
    with pytest.raises(BundleError, match="not of unit norm"):
        Encoder(folder).embed_windows(np.ones((1, tinybundle.WINDOW), np.float32))


# Ours


def test_an_exported_bundle_passes(exported_bundle: Path) -> None:
    for name in ("audio.onnx", "text.onnx"):
        onnx_file.check((exported_bundle / name).read_bytes(), name)


@pytest.mark.slow  # an export takes seconds
@pytest.mark.parametrize("name", ["cnn14", "htsat", "compact", "htsat-fusion", "bert-cls",
    "bert-mean", "bert-pooler", "roberta-mean", "roberta-pooler", "gpt2-last"])  # fmt: skip
def test_every_encoder_passes_in_every_precision(tmp_path: Path, name: str) -> None:
    from clap_export.export.graph import export_audio, export_text
    from clap_export.export.pack import text_spec
    from clap_export.precision import fp16
    from tests import tiny

    path = tmp_path / "graph.onnx"
    if name in tiny.TEXT:
        made = tiny.model(tiny.config(text=name))
        export_text(made, text_spec(made.config), path)
    else:
        export_audio(tiny.model(tiny.config(audio=name)), path)
    data = path.read_bytes()
    found = onnx_file.check(data, name)
    half = fp16.convert(onnx.load_model_from_string(data)).SerializeToString()
    assert onnx_file.check(half, name).rows("input_ids") == found.rows("input_ids")
    if name in tiny.TEXT:
        assert found.rows("input_ids") == tiny.tokenizer().get_vocab_size()
