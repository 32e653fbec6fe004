"""Documents that nest, overflow, lie, or talk to the terminal."""

from __future__ import annotations

import re

from tests.torture.found.change import BRACKETS, ESCAPE, Make, holding, replaced

TOKENIZERS: dict[str, Make] = {
    "a table that ends the process": replaced(
        "normalizer", to={"type": "Precompiled", "precompiled_charsmap": "/////w=="}
    ),
    "a special token of no vocabulary": replaced(
        "post_processor", "single", 0, to={"SpecialToken": {"id": "x", "type_id": 0}}
    ),
    "a text that grows sixteenfold nine times": replaced(
        "normalizer",
        to={
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 16}
            ] * 9,
        },
    ),
    "a pattern that takes for ever": replaced(
        "pre_tokenizer",
        to={
            "type": "Split", "pattern": {"Regex": "(a*)*b"}, "behavior": "Isolated",
            "invert": False,
        },
    ),
    "nested brackets": holding(BRACKETS),
}  # fmt: skip

MANIFESTS: dict[str, Make] = {
    "a window of 2^31 samples": replaced("audio", "window_samples", to=2**31),
    "a hop of one sample": replaced("audio", "hop_samples", to=1),
    "a rate of a gigahertz": replaced("audio", "sample_rate", to=10**9),
    "a pad id of 2^64": replaced("text", "pad_id", to=2**64),
    "as many tokens": replaced("text", "max_tokens", to=2**64),
    "a file outside the folder": replaced("audio_graph", "file", to="../audio.onnx"),
    "a scale that is no number": replaced("logit_scale", to=float("nan")),
    "a licence that clears the screen": replaced("source", "licence", to=ESCAPE),
    "a licence that runs backwards": replaced("source", "licence", to="\u202etim"),
    "half a character": replaced("name", to="\ud800"),
    "a number of 400 digits": lambda data: data.replace(b"10.0", b"1" * 400),
    "nested brackets": holding(BRACKETS),
}

FOUND: dict[str, dict[str, Make]] = {
    "manifest": MANIFESTS,
    "tokenizer": TOKENIZERS,
    "label file": {
        "a name of a megabyte": holding(b"x" * (1 << 20)),
        "no UTF-8": holding(b"dog\n\xff\xfe\n"),
        "a name that clears the screen": holding(b"dog\n" + ESCAPE.encode() + b"\n"),
        "nothing": holding(b""),
    },
    "transformers folder": {
        "nested brackets": holding(BRACKETS),
        "a million layers": replaced("text_config", "num_hidden_layers", to=10**6),
        "a vocabulary of a thousand million": replaced("text_config", "vocab_size", to=10**9),
        "not a table": holding(b"[]"),
    },
    "training config": {
        "nested brackets": holding(b"a = " + BRACKETS),
        "a number of 400 digits": lambda data: re.sub(
            rb"(?m)^seed = \d+", b"seed = " + b"1" * 400, data
        ),
        "a NUL": lambda data: data + b"\0",
    },
    "listing": {
        "a field of a megabyte": holding(b"path,label\n" + b"x" * (1 << 20) + b",dog\n"),
        "a NUL": holding(b"path,label\none.wav\0,dog\n"),
        "no UTF-8": holding(b"path,label\n\xff\xfe,dog\n"),
    },
}
