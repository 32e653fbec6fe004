"""Labels into an audio graph: from a waveform to scores, without a text encoder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from runtime import schema
from runtime.bundle import Bundle
from runtime.errors import ClapError
from runtime.head import Head
from runtime.labels import LabelBank
from runtime.scores import Ranking
from runtime.tagger_file import (
    BIASES,
    FORMAT_VERSION,
    HEAD_VERSION,
    KEY,
    LABELS,
    MANIFEST_KEY,
    SCALES,
    Frozen,
    TaggerFile,
)

TOP_K = "top_k"  # the constant
AXES_AS_INPUT = 18  # from this opset on, of ReduceMax


def freeze(
    bundle: Bundle, bank: LabelBank, scores: str | None, top_k: int | None
) -> onnx.ModelProto:
    """A tagger of a bundle and labels.

    Args:
        bundle: whose audio graph is used, in its precision.
        bank: the labels.
        scores: ``softmax``, ``cosine`` or ``multilabel``; None for ``softmax``, and of a head for
            its own.
        top_k: length of ``values`` and ``indices``; None for neither.

    Returns:
        a model from ``waveform`` float32 ``[batch, samples]`` to ``scores`` and ``similarity``
        float32 ``[batch, labels]``, and ``embedding`` ``[batch, dim]`` and whatever else the audio
        graph gives; with ``top_k`` also ``values`` float32 and ``indices`` int64
        ``[batch, top_k]``, best first.

    Raises:
        BundleError: the bundle is damaged, or the labels are of another space.
        LabelError: the labels have another number of dimensions.
        ClapError: scores that the bundle cannot give, more labels asked for than there are, or a
            model with feature fusion.
    """
    manifest = bundle.manifest
    ranking = Ranking.of(manifest, scores, None, None, top_k).of_labels(bank.head, scores)
    if manifest.audio.long_clips == "fusion":
        raise ClapError(
            f"{bundle.folder} has feature fusion: its graph takes frames that a reader picks from "
            "a long recording, not a waveform alone, so that it cannot be frozen. Use the bundle."
        )
    bank.check_fits(manifest)
    _check_top_k(top_k, bank)
    content, _ = bundle.graph(manifest.audio_graph, check_hash=True)
    model = onnx.load_from_string(content.data)
    graph = model.graph
    _move_aside(graph)
    opset = max(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    given = list(graph.output)
    del graph.output[:]
    batch, n = given[0].type.tensor_type.shape.dim[0].dim_param or "batch", len(bank)
    graph.output.extend(
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, n])
        for name in ("scores", "similarity")
    )
    graph.output.extend(given)
    graph.initializer.append(_labels(bank))
    graph.node.append(helper.make_node("Gemm", ["embedding", LABELS], ["similarity"], transB=1))
    graph.node.extend(_scores(graph, ranking, opset))
    if top_k is not None:
        _add_top_k(graph, batch, top_k, "similarity" if ranking.head is None else "logits")
    del model.metadata_props[:]
    _describe(model, bundle.manifest_bytes.decode(), bank, ranking.mode, top_k)
    onnx.checker.check_model(model)
    return model


def relabel(tagger: TaggerFile, bank: LabelBank) -> onnx.ModelProto:
    """A tagger with other labels.

    Args:
        tagger: that was made before; its kind of scores and ``top_k`` stay.
        bank: of the same space.

    Raises:
        BundleError: another space.
        LabelError: another number of dimensions.
        ClapError: fewer labels than its ``top_k``, or the labels of either are a head.
    """
    manifest, frozen = tagger.manifest, tagger.frozen
    if frozen.head is not None or bank.head is not None:
        which = "the new labels are" if frozen.head is None else "the tagger has"
        raise ClapError(
            f"{which} a head, whose scores are its own, so that labels cannot be exchanged: freeze "
            "it with the bundle."
        )
    bank.check_fits(manifest)
    _check_top_k(frozen.top_k, bank)
    content, _ = tagger.graph(manifest.audio_graph)
    model = onnx.load_from_string(content.data)
    (old,) = (i for i in model.graph.initializer if i.name == LABELS)
    old.CopyFrom(_labels(bank))
    for output in model.graph.output:
        if output.name in ("scores", "similarity"):
            output.type.tensor_type.shape.dim[1].dim_value = len(bank)
    del model.graph.value_info[:]
    del model.metadata_props[:]
    _describe(model, tagger.manifest_bytes.decode(), bank, frozen.scores, frozen.top_k)
    onnx.checker.check_model(model)
    return model


def _check_top_k(top_k: int | None, bank: LabelBank) -> None:
    if top_k is not None and top_k > len(bank):
        raise ClapError(f"the best {top_k} of {len(bank)} labels were asked for: take fewer.")


def _labels(bank: LabelBank) -> onnx.TensorProto:
    return numpy_helper.from_array(np.ascontiguousarray(bank.embeddings, "<f4"), LABELS)


def _scores(graph: onnx.GraphProto, ranking: Ranking, opset: int) -> list[onnx.NodeProto]:
    """From ``similarity`` to ``scores``, which differ from the runtime's only by rounding."""

    def constant(name: str, value: float) -> str:
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
        return name

    if ranking.head is not None:
        return _head_scores(graph, ranking.head, ranking.mode)
    if ranking.mode == "cosine":
        return [helper.make_node("Identity", ["similarity"], ["scores"])]
    if ranking.mode == "multilabel" and ranking.calibration is not None:
        scale, bias = ranking.calibration
        return [
            helper.make_node("Mul", ["similarity", constant("scale", scale)], ["scaled"]),
            helper.make_node("Add", ["scaled", constant("bias", bias)], ["logits"]),
            helper.make_node("Sigmoid", ["logits"], ["scores"]),
        ]
    # The largest is taken away before the scale is put on: a difference of near numbers is exact,
    # and the logits have no rounding of a large number in them.
    if opset < AXES_AS_INPUT:
        best = helper.make_node("ReduceMax", ["similarity"], ["best"], axes=[1], keepdims=1)
    else:
        graph.initializer.append(numpy_helper.from_array(np.array([1]), "label_axis"))
        best = helper.make_node("ReduceMax", ["similarity", "label_axis"], ["best"], keepdims=1)
    return [
        best,
        helper.make_node("Sub", ["similarity", "best"], ["behind"]),
        helper.make_node("Mul", ["behind", constant("scale", ranking.logit_scale)], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["scores"], axis=1),
    ]


def _head_scores(graph: onnx.GraphProto, head: Head, mode: str) -> list[onnx.NodeProto]:
    """The same with a scale and a bias for each label."""
    for name, values in ((SCALES, head.scales), (BIASES, head.biases)):
        constant = numpy_helper.from_array(np.ascontiguousarray(values, "<f4"), name)
        graph.initializer.append(constant)
    last = helper.make_node("Sigmoid", ["logits"], ["scores"])
    if mode == "softmax":
        last = helper.make_node("Softmax", ["logits"], ["scores"], axis=1)
    return [
        helper.make_node("Mul", ["similarity", SCALES], ["scaled"]),
        helper.make_node("Add", ["scaled", BIASES], ["logits"]),
        last,
    ]


def _add_top_k(graph: onnx.GraphProto, batch: str, top_k: int, by: str) -> None:
    """The best labels by what orders scores that rounding has made equal too."""
    graph.initializer.append(numpy_helper.from_array(np.array([top_k]), TOP_K))
    graph.node.extend([
        helper.make_node("TopK", [by, TOP_K], ["closest", "indices"], axis=1),
        helper.make_node("GatherElements", ["scores", "indices"], ["values"], axis=1),
    ])  # fmt: skip
    shape: Sequence[str | int] = [batch, top_k]
    graph.output.extend([
        helper.make_tensor_value_info("values", TensorProto.FLOAT, shape),
        helper.make_tensor_value_info("indices", TensorProto.INT64, shape),
    ])  # fmt: skip


# Names that are given to what is added.
NAMES = {
    "scores", "similarity", "values", "indices", "closest", "best", "behind", "logits", "scaled",
    "scale", "bias", "label_axis", LABELS, SCALES, BIASES, TOP_K,
}  # fmt: skip


def _move_aside(graph: onnx.GraphProto) -> None:
    """Give other names to values inside the audio graph that are called like what is added."""
    names = {name: f"audio_{name}" for name in NAMES}
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*graph.initializer, *graph.value_info, *graph.output):
        value.name = names.get(value.name, value.name)


def _describe(
    model: onnx.ModelProto, manifest: str, bank: LabelBank, scores: str, top_k: int | None
) -> None:
    about = None if bank.head is None else bank.head.about
    frozen = Frozen(
        FORMAT_VERSION if about is None else HEAD_VERSION,
        bank.names,
        bank.templates,
        scores,  # type: ignore[arg-type] # checked by Ranking.of
        top_k,
        hashlib.sha256(np.ascontiguousarray(bank.embeddings, "<f4").tobytes()).hexdigest(),
        about,
    )
    plain = schema.to_plain(frozen)
    if about is None:
        del plain["head"]
    text = json.dumps(plain, ensure_ascii=False)
    for key, value in ((KEY, text), (MANIFEST_KEY, manifest)):
        model.metadata_props.add(key=key, value=value)
