"""A fleet runs what its owner signed, and nothing else."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clap_export.cli import main
from runtime.bundle import Bundle, sha256_file
from runtime.errors import BundleError
from tests.runtime.test_onnx_file import external, loop, model, put
from tests.runtime.test_signature import keys  # noqa: F401 - a fixture
from tests.tiny import bundle as tiny
from tests.tiny.bundle import clip, wav


def call(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def signed(tiny_bundle: Path, tmp_path: Path, keys: tuple[Path, Path]) -> Path:  # noqa: F811
    """A bundle of the owner's."""
    folder = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    done = call("sign", folder, "--key", keys[0])
    assert done.exit_code == 0, done.output
    return folder


def test_a_signed_bundle_is_used_and_one_that_was_changed_is_not(
    signed: Path,
    tmp_path: Path,
    keys: tuple[Path, Path],  # noqa: F811
) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav(clip(0)))
    classify = ("classify", signed, recording, "--labels", "dog,rain", "--json")
    verbs = (("inspect", signed, "--json"), classify)
    for verb in verbs:
        assert call(*verb, "--public-key", keys[1]).exit_code == 0
    # A forger can make every hash right, but not the signature.
    tokenizer = signed / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace("dog", "cat"))
    manifest = json.loads((signed / "manifest.json").read_text())
    manifest["files"]["tokenizer.json"]["sha256"] = sha256_file(tokenizer)
    (signed / "manifest.json").write_text(json.dumps(manifest))
    for verb in verbs:
        assert call(*verb).exit_code == 0
        refused = call(*verb, "--public-key", keys[1])
        assert refused.exit_code == 2
        assert "was not signed with the key" in refused.output


def test_files_are_compared_even_if_hashes_are_not_asked_for(
    signed: Path,
    keys: tuple[Path, Path],  # noqa: F811
) -> None:
    data = bytearray((signed / "audio.onnx").read_bytes())
    data[-1] ^= 1
    (signed / "audio.onnx").write_bytes(data)
    Bundle(signed, check_hashes=False)
    with pytest.raises(BundleError, match="SHA-256"):
        Bundle(signed, check_hashes=False, public_key=keys[1])


def test_a_bundle_without_a_signature_is_refused_when_one_is_asked_for(
    tiny_bundle: Path,
    keys: tuple[Path, Path],  # noqa: F811
) -> None:
    refused = call("inspect", tiny_bundle, "--public-key", keys[1])
    assert refused.exit_code == 2
    assert "is not signed" in refused.output


def test_what_loading_refuses_is_not_called_good_before(
    tmp_path: Path,
    keys: tuple[Path, Path],  # noqa: F811
) -> None:
    for name, data in [
        ("audio.onnx", model([loop()]).SerializeToString()),
        ("text.onnx", external("weights.bin").SerializeToString()),
        ("tokenizer.json", b'{"model": 5}'),
    ]:
        folder = put(tiny.build(tmp_path / name.partition(".")[0]), name, data)
        for words in (["inspect", folder], ["inspect", folder, "--json"],
                      ["sign", folder, "--key", keys[0]]):  # fmt: skip
            done = call(*words)
            assert (done.exit_code, done.stdout) == (2, "")
            assert f"{name}' is not" in done.stderr
        assert not (folder / "manifest.sig").exists()
