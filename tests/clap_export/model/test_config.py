"""The config inside a checkpoint: read strictly, written back the same."""

from __future__ import annotations

import json

import pytest

from clap_export.model.clap import build_audio_encoder
from clap_export.model.cnn14 import Cnn14
from clap_export.model.compact import Compact
from clap_export.model.config import AudioEncoderConfig, ClapConfig, Cnn14Config, HtsatConfig
from clap_export.model.htsat import Htsat
from runtime.errors import SchemaError
from runtime.manifest import Calibration
from tests import tiny


@pytest.mark.parametrize("audio", tiny.AUDIO)
@pytest.mark.parametrize("text", tiny.TEXT)
def test_survives_json(audio: str, text: str) -> None:
    config = tiny.config(audio, text, calibration=Calibration(9.5, -3.25))
    plain = json.loads(json.dumps(config.to_dict()))
    again = ClapConfig.from_dict(plain, "config")
    assert again == config
    assert again.to_dict() == config.to_dict()
    assert plain["embedding_dim"] == tiny.DIM
    assert plain["audio"]["mel"]["hop_length"] == tiny.MEL.hop_length
    assert plain["calibration"] == {"scale": 9.5, "bias": -3.25}


def test_every_problem_is_listed_at_once() -> None:
    plain = tiny.config().to_dict()
    del plain["licence"], plain["audio"]["mel"]["amin"]
    plain["lisence"] = "MIT"
    plain["audio_encoder"]["cnn14"]["chanels"] = [1]
    plain["text_encoder"]["pooling"] = "max"
    plain["embedding_dim"] = "12"
    with pytest.raises(SchemaError) as caught:
        ClapConfig.from_dict(plain, "file.safetensors (config)")
    message = str(caught.value)
    assert message.startswith("file.safetensors (config): ")
    for problem in (
        "missing key 'licence'",
        "missing key 'audio.mel.amin'",
        "unknown key 'lisence'",
        "unknown key 'audio_encoder.cnn14.chanels'",
        "'text_encoder.pooling' is 'max', must be one of 'cls', 'mean', 'pooler', 'last'",
        "'embedding_dim' must be int, is str",
    ):
        assert problem in message


def test_options_that_do_not_fit_together_are_named_by_their_place() -> None:
    plain = tiny.config("htsat").to_dict()
    plain["audio_encoder"]["htsat"]["num_heads"] = [3, 4]
    with pytest.raises(SchemaError, match=r"'audio_encoder\.htsat': .*8 channels in 3 heads"):
        ClapConfig.from_dict(plain, "x")


def test_exactly_one_audio_encoder() -> None:
    with pytest.raises(ValueError, match=r"exactly one.*'cnn14', 'htsat'"):
        AudioEncoderConfig(cnn14=Cnn14Config(), htsat=HtsatConfig())
    with pytest.raises(ValueError, match=r"exactly one.*none"):
        AudioEncoderConfig()
    plain = tiny.config("cnn14").to_dict()
    plain["audio_encoder"]["compact"] = {"n_mels": 32}
    with pytest.raises(SchemaError, match=r"'audio_encoder': give exactly one"):
        ClapConfig.from_dict(plain, "x")


def test_the_named_encoder_is_built() -> None:
    kinds = {"cnn14": Cnn14, "htsat": Htsat, "compact": Compact}
    assert set(kinds) == set(tiny.AUDIO)
    for name, kind in kinds.items():
        assert type(build_audio_encoder(tiny.AUDIO[name])) is kind


def test_mel_bins_of_frontend_and_encoder_must_agree() -> None:
    plain = tiny.config("cnn14").to_dict()
    plain["audio"]["mel"]["n_mels"] = 40
    with pytest.raises(SchemaError, match=r"40 mel bins.*32"):
        ClapConfig.from_dict(plain, "x")


def test_template_needs_one_place_for_the_label() -> None:
    for template in ("a sound", "{} and {}"):
        with pytest.raises(ValueError, match=r"must hold one \{\}"):
            tiny.config(default_template=template)


def test_gpt2_has_no_pooler_to_use() -> None:
    plain = tiny.config(text="gpt2-last").to_dict()
    plain["text_encoder"]["pooling"] = "pooler"
    with pytest.raises(SchemaError, match="gpt2 has no pooler"):
        ClapConfig.from_dict(plain, "x")
