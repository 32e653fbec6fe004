"""A bundle with tiny graphs whose embeddings can be worked out by hand.

Audio: mean square energy of 8 equal blocks, times a matrix, plus a bias, to unit norm.
Text: mean of the tokens' rows in a table, to unit norm. The slow twins of both are at the end.
"""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import soundfile
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from runtime import bundle
from runtime.audio_spec import AudioSpec, Mel
from runtime.clips.policy import Policy
from runtime.manifest import (
    FORMAT,
    FORMAT_VERSION,
    FileEntry,
    Graph,
    Manifest,
    Source,
    TextSpec,
    write_manifest,
)

RATE = 16_000
WINDOW = 8_000
DIM = BLOCKS = 8
MAX_TOKENS = 12
VOCABULARY = (
    "[PAD] [UNK] [CLS] [SEP] this is a sound of dog rain bell wind sea the barking loud".split()
)
LABELS = ["dog", "rain", "bell", "wind", "sea"]
_rng = np.random.default_rng(7)
MATRIX = _rng.standard_normal((BLOCKS, DIM)).astype(np.float32)
BIAS = (0.05 * _rng.standard_normal(DIM)).astype(np.float32)
TABLE = _rng.standard_normal((len(VOCABULARY), DIM)).astype(np.float32)

MANIFEST = Manifest(
    format=FORMAT,
    format_version=FORMAT_VERSION,
    name="tiny",
    source=Source("tiny", "none", "0" * 64, "MIT"),
    space_id="tiny-space",
    embedding_dim=DIM,
    logit_scale=10.0,
    calibration=None,
    default_template="this is a sound of {}",
    audio=AudioSpec(
        sample_rate=RATE,
        window_samples=WINDOW,
        hop_samples=WINDOW,
        fill="repeat",
        int16_round_trip=False,
        mel=Mel(RATE, 512, 160, 64, 0.0, 8000.0, "slaney", "slaney", 1e-10),
    ),
    policy=Policy("default"),
    text=TextSpec("tokenizer.json", MAX_TOKENS, 0, ("input_ids", "attention_mask"), ""),
    audio_graph=Graph("audio.onnx", "fp32", 17),
    text_graph=Graph("text.onnx", "fp32", 17),
    files={},
    tools={"onnx": onnx.__version__},
    findings=(),
    parity=None,
    race=(),
    engines=None,
)


def build(folder: Path, **changes: Any) -> Path:
    """Write the bundle, with changes to its manifest; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    _save(folder / "audio.onnx", audio_graph())
    _save(folder / "text.onnx", text_graph())
    tokenizer().save(str(folder / "tokenizer.json"))
    files = {
        name: FileEntry(bundle.sha256_file(folder / name), (folder / name).stat().st_size)
        for name in ("audio.onnx", "text.onnx", "tokenizer.json")
    }
    write_manifest(folder, dataclasses.replace(MANIFEST, files=files, **changes))
    return folder


def audio_graph() -> onnx.GraphProto:
    nodes = [
        helper.make_node("Reshape", ["waveform", "blocks"], ["framed"]),
        helper.make_node("Mul", ["framed", "framed"], ["power"]),
        helper.make_node("ReduceMean", ["power"], ["energy"], axes=[2], keepdims=0),
        helper.make_node("MatMul", ["energy", "matrix"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["raw"]),
        *_unit_norm(),
        helper.make_node("ReduceL2", ["raw"], ["norm"], axes=[1], keepdims=0),
    ]
    return helper.make_graph(
        nodes,
        "audio",
        [helper.make_tensor_value_info("waveform", TensorProto.FLOAT, ["batch", WINDOW])],
        [
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM]),
            helper.make_tensor_value_info("norm", TensorProto.FLOAT, ["batch"]),
        ],
        [
            numpy_helper.from_array(np.array([0, BLOCKS, WINDOW // BLOCKS]), "blocks"),
            numpy_helper.from_array(MATRIX, "matrix"),
            numpy_helper.from_array(BIAS, "bias"),
        ],
    )


def text_graph() -> onnx.GraphProto:
    shape = ["batch", "length"]
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["rows"]),
        helper.make_node("Cast", ["attention_mask"], ["weights"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["weights", "last"], ["column"]),
        helper.make_node("Mul", ["rows", "column"], ["kept"]),
        helper.make_node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "tokens"], ["count"], keepdims=1),
        helper.make_node("Div", ["sum", "count"], ["raw"]),
        *_unit_norm(),
    ]
    return helper.make_graph(
        nodes,
        "text",
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, shape),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, shape),
        ],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIM])],
        [
            numpy_helper.from_array(TABLE, "table"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "tokens"),
        ],
    )


def tokenizer() -> Tokenizer:
    vocabulary = {word: i for i, word in enumerate(VOCABULARY)}
    result = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    result.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    result.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return result


def slow_audio_embedding(window: np.ndarray) -> np.ndarray:
    """What the audio graph must give for one window, in float64."""
    total = slow_raw_vector(window)
    return total / np.sqrt((total**2).sum())


def slow_raw_vector(window: np.ndarray) -> np.ndarray:
    """The same before it is scaled to unit norm, a block at a time."""
    size = WINDOW // BLOCKS
    total = BIAS.astype(np.float64)
    for block in range(BLOCKS):
        energy = sum(float(x) ** 2 for x in window[block * size : (block + 1) * size]) / size
        total = total + energy * MATRIX[block].astype(np.float64)
    return total


def slow_text_embedding(text: str) -> np.ndarray:
    """What the text side must give for a text that fits, word by word, in float64."""
    words = ["[CLS]", *text.split(), "[SEP]"]
    rows = [VOCABULARY.index(w) if w in VOCABULARY else 1 for w in words]
    total = TABLE[rows].astype(np.float64).sum(axis=0)
    return total / np.sqrt((total**2).sum())


def clip(seed: int, n: int = WINDOW) -> np.ndarray:
    """Noise ``[n]`` whose level changes along the way, so that windows and clips differ."""
    rng = np.random.default_rng(seed)
    level = np.repeat(rng.uniform(0, 1, -(-n // 1000)), 1000)[:n]
    return (rng.uniform(-1, 1, n) * level).astype(np.float32)


def wav(samples: np.ndarray, rate: int = RATE) -> bytes:
    """A WAV file that keeps float samples exactly."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype="FLOAT")
    return file.getvalue()


def slow_cosines(window: np.ndarray) -> dict[str, float]:
    """Of one window and every label in the default template."""
    sound = slow_audio_embedding(window)
    return {
        name: float(sound @ slow_text_embedding(f"this is a sound of {name}")) for name in LABELS
    }


def _unit_norm() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceL2", ["raw"], ["length"], axes=[1], keepdims=1),
        helper.make_node("Div", ["raw", "length"], ["embedding"]),
    ]


def _save(path: Path, graph: onnx.GraphProto) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
