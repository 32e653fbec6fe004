"""The docs' table of families: facts and differences that the tests found, not what we believe.

``pytest tests/clap_export/checkpoints -m "slow or not slow" --write-families`` measures anew,
through the runtime, and writes ``benchmarks/families.json`` and the table.
"""

from __future__ import annotations

import json
from typing import Any

from clap_export.model.clap import ClapModel
from tests.places import ROOT

RECORD = ROOT / "benchmarks" / "families.json"
PAGE = ROOT / "docs" / "checkpoints.md"
BEGIN, END = "<!-- families: written by the tests -->\n", "<!-- /families -->\n"

# What each model of the tests stands for, and how to get it on a connected machine.
GET = {
    "msclap-2022": "`hf download microsoft/msclap CLAP_weights_2022.pth`",
    "msclap-2023": "`hf download microsoft/msclap CLAP_weights_2023.pth`",
    "laion-tiny": "`hf download lukewys/laion_clap 630k-audioset-best.pt`",
    "laion-base": "`hf download lukewys/laion_clap music_speech_audioset_epoch_15_esc_89.98.pt`",
    "laion-fused": "`hf download lukewys/laion_clap 630k-audioset-fusion-best.pt`",
    "laion-pann": "LAION's PANN-14 models",
    "transformers": "`--ckpt laion/clap-htsat-unfused`, `laion/larger_clap_general`, or a folder",
    "transformers-fused": "`--ckpt laion/clap-htsat-fused`, or a folder",
}

_measured: dict[str, dict[str, Any]] = {}


def note(name: str, **values: Any) -> None:
    """Keep what a test found about one model."""
    _measured.setdefault(name, {}).update(values)


def facts(model: ClapModel, family: str) -> dict[str, str]:
    """What a loaded model is."""
    audio, text = model.config.audio, model.config.text_encoder
    long_clips = ", fusion" if audio.long_clips == "fusion" else ""
    return {
        "family": family,
        "audio": f"{type(model.audio_encoder).__name__.upper()}, {_millions(model.audio_encoder)}",
        "text": f"{text.model_type}, {_millions(model.text_encoder)}",
        "window": f"{audio.window_samples / audio.sample_rate:g} s at "
        f"{audio.sample_rate / 1000:g} kHz{long_clips}",
    }


def _millions(module: Any) -> str:
    return f"{sum(p.numel() for p in module.parameters()) / 1e6:.1f} M"


def table() -> str:
    """The recorded table as Markdown."""
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    lines = [
        "| `--family` | get it | audio encoder | text encoder | window | audio, text: max abs |",
        "|---|---|---|---|---|---|",
    ]
    for name, get in GET.items():
        row = record[name]
        family = row["family"].partition("-")[0]  # msclap's two versions are one family
        cells = (f"`{family}`", get, *(row[key] for key in ("audio", "text", "window")))
        errors = f"{row['audio_error']:.1e}, {row['text_error']:.1e}"
        lines.append(f"| {' | '.join(cells)} | {errors} |")
    return "\n" + "\n".join(lines) + "\n\n"


def write() -> None:
    """Record what was measured, and put the table into its page."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    for name, values in _measured.items():
        record.setdefault(name, {}).update(values)
    RECORD.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def written(text: str) -> str:
    """The page with its table made anew."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]
