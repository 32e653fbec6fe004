"""The two encoders as ONNX graphs: waveform or tokens in, unit vectors (and norms) out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from clap_export.export.passes import OPSET as OPSET
from clap_export.export.passes import fusable_gelu, opset17
from clap_export.model.clap import ClapModel, unit_and_norm
from clap_export.model.fusion import pick
from clap_export.model.mel import LogMel
from clap_export.model.swin import WindowAttention
from runtime.clips import fusion
from runtime.manifest import EMBEDDING, LOG_MEL, NORM, TextSpec
from runtime.tokenizer import MIN_TOKENS

# What PyTorch's exporter writes best; :func:`opset17` makes of it what a bundle holds.
EXPORTER_OPSET = 18

# What the audio modules give; the last is named, but no output of the graph that is written.
AUDIO_OUTPUTS = (EMBEDDING, NORM, LOG_MEL)

# Operations that no bundle may hold: STFT and DFT have no CUDA kernel in ONNX Runtime, the others
# mean control flow, data-dependent shapes, or a training graph.
FORBIDDEN = frozenset(
    "STFT DFT If Loop Scan NonZero ScatterND ScatterElements RandomUniform RandomUniformLike "
    "RandomNormal Dropout Bernoulli".split()
)


class AudioGraph(nn.Module):
    """Waveform ``[batch, window_samples]`` to embedding ``[batch, dim]``, the norm ``[batch]``
    that it had, and the log-mel."""

    def __init__(self, model: ClapModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding, norm and log-mel."""
        log_mel = self.model.mel(waveform)
        return *unit_and_norm(self.model.raw_audio(log_mel)), log_mel


class FusedAudioGraph(nn.Module):
    """The inputs of :func:`runtime.clips.fusion.inputs` to embedding, norm and spectrograms."""

    def __init__(self, model: ClapModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        waveform: Tensor,
        overview: Tensor,
        overview_weight: Tensor,
        chunks: Tensor,
        longer: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Embedding ``[batch, dim]``, norm ``[batch]``, log-mel ``[batch, 4, frames, n_mels]``."""
        log_mel = pick(self.model.mel(waveform), overview, overview_weight, chunks)
        return *unit_and_norm(self.model.raw_audio(log_mel, longer)), log_mel


class TextGraph(nn.Module):
    """Token inputs ``[batch, tokens]`` int64, in the manifest's order, to embeddings."""

    def __init__(self, model: ClapModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, *tokens: Tensor) -> Tensor:
        """Embedding ``[batch, dim]``."""
        return self.model.embed_text(*tokens)


def export_audio(model: ClapModel, path: Path) -> onnx.ModelProto:
    """Write the audio graph: dynamic batch, samples fixed to the model's window.

    With feature fusion the samples are dynamic too, in steps of the mel hop. The model is copied:
    the copy's frontend is switched to its form for graphs.
    """
    model = deepcopy(model).eval()
    for module in model.modules():
        if isinstance(module, (LogMel, WindowAttention)):
            module.use_graph()
    spec = model.config.audio
    noise = torch.Generator().manual_seed(0)
    waveform = torch.randn(2, spec.window_samples, generator=noise) * 0.1
    with torch.no_grad():
        model.embed_audio(waveform)  # HTSAT makes its stretch matrix in the first call
    if spec.long_clips == "fusion":
        rows = [waveform[0].numpy(), waveform[1].repeat(2).numpy()]
        made = {n: torch.from_numpy(array) for n, array in fusion.inputs(rows, spec).items()}
        hops = torch.export.Dim("hops", min=spec.window_samples // spec.mel.hop_length)
        graph = _export(
            FusedAudioGraph(model), tuple(made.values()), list(made), AUDIO_OUTPUTS,
            [spec.mel.hop_length * hops],
        )  # fmt: skip
    else:
        graph = _export(AudioGraph(model), (waveform,), ["waveform"], AUDIO_OUTPUTS)
    hidden = [output for output in graph.graph.output if output.name == LOG_MEL]
    graph.graph.output.remove(hidden[0])
    return _write(graph, path)


def export_text(model: ClapModel, spec: TextSpec, path: Path) -> onnx.ModelProto:
    """Write the text graph: dynamic batch, and dynamic tokens up to ``max_tokens``.

    Labels are a few tokens of the 77 or 100 that a model can take, and padding costs as much as
    words do.
    """
    length = min(5, spec.max_tokens)
    ids = torch.full((2, length), spec.pad_id)
    ids[:, :3] = 1
    mask = (torch.arange(length) < 3).long().expand(2, -1).contiguous()
    made = {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
    inputs = tuple(made[name] for name in spec.inputs)
    tokens = torch.export.Dim("tokens", min=MIN_TOKENS, max=spec.max_tokens)
    graph = _export(
        TextGraph(model.eval()), inputs, list(spec.inputs), [EMBEDDING], [tokens] * len(inputs)
    )
    return _write(graph, path)


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: list[str],
    outputs: Sequence[str],
    lengths: Sequence[object] = (),
) -> onnx.ModelProto:
    """Trace with a dynamic batch, and with dynamic second axes of the first inputs if given."""
    batch = torch.export.Dim("batch", min=1)
    dims: list[dict[int, object]] = [{0: batch} for _ in inputs]
    for dim, length in zip(dims, lengths, strict=False):
        dim[1] = length
    shapes: tuple[object, ...] = tuple(dims)
    if isinstance(module, TextGraph):
        shapes = (shapes,)  # its forward has one variadic argument
    # Prefixed while exporting: the exporter names nodes after modules, and a module called
    # "embedding" would clash with an output of that name.
    prefixed = [f"clap_{name}" for name in outputs]
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            module.eval(),
            inputs,
            dynamo=True,
            opset_version=EXPORTER_OPSET,
            input_names=names,
            output_names=prefixed,
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None  # always a program with dynamo=True
    graph = program.model_proto
    _rename(graph.graph, dict(zip(prefixed, outputs, strict=True)))
    fusable_gelu(graph.graph)
    opset17(graph)
    _strip(graph)
    return graph


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    """Give values their final names, moving aside whatever holds them already."""
    taken = set(names.values())
    full = {**{name: f"{name}_inner" for name in taken}, **names}
    for node in graph.node:
        node.input[:] = [full.get(name, name) for name in node.input]
        node.output[:] = [full.get(name, name) for name in node.output]
    for value in (*graph.initializer, *graph.value_info, *graph.output):
        value.name = full.get(value.name, value.name)


def _strip(graph: onnx.ModelProto) -> None:
    """Drop the exporter's notes: source paths of this machine, and names of Python modules."""
    graph.doc_string = ""
    del graph.metadata_props[:]
    graph.graph.doc_string = ""
    del graph.graph.metadata_props[:]
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in (*graph.graph.value_info, *graph.graph.input, *graph.graph.output):
        del value.metadata_props[:]
    graph.producer_name = "clap-export"
    graph.producer_version = ""


def _write(graph: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """Check and write.

    Raises:
        RuntimeError: the exporter made a graph that a bundle must not hold (a bug of ours).
    """
    found = sorted({node.op_type for node in graph.graph.node} & FORBIDDEN)
    if found:
        raise RuntimeError(f"{path.name} holds operations that must not be there: {found}")
    onnx.checker.check_model(graph, full_check=True)
    path.write_bytes(graph.SerializeToString(deterministic=True))
    return graph


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress notes and deprecation warnings off the user's screen."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
