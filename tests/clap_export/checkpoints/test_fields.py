"""Fields of foreign configs: followed as their library follows them, or refused by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ClapAudioConfig, ClapFeatureExtractor, ClapModel, ClapTextConfig

from clap_export.checkpoints import load
from runtime.errors import ClapError
from tests.clap_export.checkpoints.test_transformers import RATE, SECONDS, save
from tests.goldens import recipe


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("hf") / "clap")


def variant(original: Path, folder: Path, file: str, table: str | None, **values: Any) -> Path:
    shutil.copytree(original, folder)
    raw = json.loads((folder / file).read_text())
    (raw if table is None else raw[table]).update(values)
    (folder / file).write_text(json.dumps(raw))
    return folder


FOLLOWED: list[tuple[str, dict[str, Any]]] = [
    ("audio_config", {"layer_norm_eps": 1e-2}),
    ("audio_config", {"hidden_act": "relu"}),
    ("audio_config", {"hidden_act": "silu"}),
    ("audio_config", {"hidden_act": "gelu_new"}),
    ("audio_config", {"patch_stride": 4}),
    ("audio_config", {"patch_size": [4, 4]}),
    ("text_config", {"layer_norm_eps": 1e-2}),
    ("text_config", {"hidden_act": "relu"}),
]


@pytest.mark.parametrize(("table", "values"), FOLLOWED)
def test_what_is_followed(original: Path, tmp_path: Path, table: str, values: Any) -> None:
    folder = variant(original, tmp_path / "v", "config.json", table, **values)
    waves = recipe.sound(SECONDS * RATE, RATE)[:2]
    features = ClapFeatureExtractor.from_pretrained(folder)(
        list(waves), sampling_rate=RATE, return_tensors="pt"
    )
    ids = torch.arange(5, 14)[None]
    theirs, ours = ClapModel.from_pretrained(folder).eval(), load(folder).model
    with torch.no_grad():
        audio = theirs.get_audio_features(**features).pooler_output
        text = theirs.get_text_features(input_ids=ids, attention_mask=torch.ones_like(ids))
        wants = (audio, text.pooler_output)
        gots = (ours.embed_audio(torch.from_numpy(waves)),
                ours.embed_text(ids, torch.ones_like(ids)))  # fmt: skip
    for want, got in zip(wants, gots, strict=True):
        assert (torch.nn.functional.normalize(want, dim=1) - got).abs().max() < 2e-5


REFUSED: list[tuple[str, str | None, str, Any]] = [
    ("config.json", "audio_config", "enable_patch_layer_norm", False),
    ("config.json", "audio_config", "flatten_patch_embeds", False),
    ("config.json", "audio_config", "patch_embed_input_channels", 4),
    ("config.json", "audio_config", "patch_stride", [2, 4]),
    ("config.json", "audio_config", "hidden_act", "selu"),
    ("config.json", "audio_config", "num_mel_bins", None),
    ("config.json", "audio_config", "depths", "2"),
    ("config.json", "audio_config", "depths", [1000, 2]),
    ("config.json", "audio_config", "a_new_field", 1),
    ("config.json", "text_config", "position_embedding_type", "relative_key"),
    ("config.json", "text_config", "is_decoder", True),
    ("config.json", "text_config", "add_cross_attention", True),
    ("config.json", "text_config", "pad_token_id", None),
    ("config.json", "text_config", "num_hidden_layers", 1_000_000),
    ("config.json", "text_config", "vocab_size", 10**9),
    ("config.json", "text_config", "pruned_heads", {"0": [1]}),
    ("config.json", None, "projection_hidden_act", "gelu"),
    ("config.json", None, "quantization_config", {"bits": 4}),
    ("preprocessor_config.json", None, "feature_size", 64),
    ("preprocessor_config.json", None, "max_length_s", None),
    ("preprocessor_config.json", None, "padding_value", 1.0),
    ("preprocessor_config.json", None, "top_db", 80),
    ("preprocessor_config.json", None, "sampling_rate", 10**400),
    ("preprocessor_config.json", None, "feature_extractor_type", "WhisperFeatureExtractor"),
]


@pytest.mark.parametrize(("file", "table", "field", "value"), REFUSED)
def test_what_is_refused_by_name(
    original: Path, tmp_path: Path, file: str, table: str | None, field: str, value: Any
) -> None:
    folder = variant(original, tmp_path / "v", file, table, **{field: value})
    with pytest.raises(ClapError, match=field):
        load(folder)


def test_all_problems_are_said_at_once(original: Path, tmp_path: Path) -> None:
    folder = variant(
        original, tmp_path / "v", "config.json", "text_config", is_decoder=True, hidden_act="x"
    )
    with pytest.raises(ClapError, match=r"is_decoder True.*hidden_act x"):
        load(folder)


def test_every_field_of_todays_library_is_known(original: Path, tmp_path: Path) -> None:
    """A folder with each default written out is that without them."""
    folder = variant(original, tmp_path / "v", "config.json", None)
    raw = json.loads((folder / "config.json").read_text())
    raw["audio_config"] = ClapAudioConfig().to_dict() | raw["audio_config"]
    raw["text_config"] = ClapTextConfig().to_dict() | raw["text_config"]
    (folder / "config.json").write_text(json.dumps(raw))
    assert load(folder).model.config.audio_encoder == load(original).model.config.audio_encoder
