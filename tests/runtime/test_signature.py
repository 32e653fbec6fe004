"""Signatures are OpenSSL's own, and nothing else than what was signed passes."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from runtime import signature
from runtime.errors import BundleError, ClapError

MANIFEST = b'{"format": "clap-export-bundle"}\n'

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public one, by cryptography."""
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    folder = tmp_path_factory.mktemp("keys")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption())
    public = key.public_key().public_bytes(s.Encoding.PEM, s.PublicFormat.SubjectPublicKeyInfo)
    (folder / "key.pem").write_bytes(private)
    (folder / "key.pub").write_bytes(public)
    return folder / "key.pem", folder / "key.pub"


def test_what_was_signed_passes_and_nothing_else(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    path = signature.sign(tmp_path, MANIFEST, keys[0])
    signature.check(tmp_path, MANIFEST, keys[1])
    with pytest.raises(BundleError, match="changed since"):
        signature.check(tmp_path, MANIFEST.replace(b"clap", b"clip"), keys[1])
    good = path.read_bytes()
    for bad in (good[:20], b"", b"%%%", base64.b64encode(bytes(64)), b"A" * 5000):
        path.write_bytes(bad)
        with pytest.raises(BundleError):
            signature.check(tmp_path, MANIFEST, keys[1])
    path.unlink()
    with pytest.raises(BundleError, match="is not signed"):
        signature.check(tmp_path, MANIFEST, keys[1])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_signature_that_is_a_pipe_is_not_waited_for(
    tmp_path: Path, keys: tuple[Path, Path]
) -> None:
    os.mkfifo(tmp_path / signature.SIGNATURE)
    with pytest.raises(BundleError, match="is a device or a pipe, not a file"):
        signature.check(tmp_path, MANIFEST, keys[1])


@needs_openssl
def test_openssl_makes_the_keys_and_agrees(tmp_path: Path) -> None:
    key, public, message = tmp_path / "k.pem", tmp_path / "k.pub", tmp_path / "message"
    openssl("genpkey", "-algorithm", "ed25519", "-out", str(key))
    openssl("pkey", "-in", str(key), "-pubout", "-out", str(public))
    message.write_bytes(signature.CONTEXT + MANIFEST)
    raw = tmp_path / "raw"
    raw.write_bytes(base64.b64decode(signature.sign(tmp_path, MANIFEST, key).read_bytes()))
    verify = ["pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin"]
    assert b"Verified" in openssl(*verify, "-in", str(message), "-sigfile", str(raw))
    signature.check(tmp_path, MANIFEST, public)


def test_keys_that_are_none_are_said(tmp_path: Path, keys: tuple[Path, Path]) -> None:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    other = generate_private_key(SECP256R1()).private_bytes(
        s.Encoding.PEM, s.PrivateFormat.PKCS8, s.NoEncryption()
    )
    (tmp_path / "ec.pem").write_bytes(other)
    (tmp_path / "junk.pem").write_bytes(b"-----BEGIN PRIVATE KEY-----\nxx\n")
    for path, said in (
        (tmp_path / "absent.pem", "cannot be read"), (tmp_path, "cannot be read"),
        (tmp_path / "ec.pem", "no Ed25519 key"), (tmp_path / "junk.pem", "holds no private key"),
        (keys[1], "holds no private key"),
    ):  # fmt: skip
        with pytest.raises(ClapError, match=said):
            signature.sign(tmp_path, MANIFEST, path)
    assert not (tmp_path / signature.SIGNATURE).exists()
