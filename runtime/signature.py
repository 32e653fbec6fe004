"""Whose bundle it is: an Ed25519 signature over the manifest (RFC 8032), by ``cryptography``.

Hashes in a manifest show that files are the manifest's; whoever changes both is not noticed. A
signature shows that the manifest, and with it every file, is what the owner of a key exported. It
lies in ``manifest.sig`` beside the manifest: base64 of 64 bytes. What is signed is :data:`CONTEXT`
followed by the manifest's bytes, so that no other document can pass for a manifest.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from runtime import files
from runtime.errors import BundleError, ClapError

SIGNATURE = "manifest.sig"
CONTEXT = b"clap-export bundle manifest\n"
MAX_KEY_BYTES = 16_384
MAX_SIGNATURE_BYTES = 1024


def sign(folder: Path, manifest: bytes, private_key: str | Path) -> Path:
    """Sign a manifest; returns the path of the signature.

    Args:
        folder: of the bundle.
        manifest: the bytes of its ``manifest.json``.
        private_key: PEM file of an Ed25519 key, as ``openssl genpkey -algorithm ed25519`` makes it.

    Raises:
        ClapError: the key cannot be used, or the signature cannot be written.
    """
    key = _key(private_key, private=True)
    text = base64.b64encode(key.sign(CONTEXT + manifest)) + b"\n"
    path = folder / SIGNATURE
    with files.writing(path) as part:
        part.write_bytes(text)
    return path


def check(folder: Path, manifest: bytes, public_key: str | Path) -> None:
    """Make sure that the owner of a key signed this manifest.

    Args:
        folder: of the bundle.
        manifest: the bytes that are used afterwards, not read again.
        public_key: PEM file, as ``openssl pkey -pubout`` makes it.

    Raises:
        BundleError: there is no signature, or it is not this key's for these bytes.
        ClapError: the key cannot be used.
    """
    from cryptography.exceptions import InvalidSignature

    key = _key(public_key, private=False)
    path = folder / SIGNATURE
    missing = (
        f"bundle {folder} is not signed ({SIGNATURE} is missing), and a signature was asked "
        "for. Sign it where it was exported: clap-export sign BUNDLE --key KEY.pem"
    )
    text = files.read(path, most=MAX_SIGNATURE_BYTES, missing=missing, error=BundleError)
    try:
        signature = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise BundleError(f"'{path}' cannot be read as a signature ({error}).") from error
    try:
        key.verify(signature, CONTEXT + manifest)
    except InvalidSignature as error:
        raise BundleError(
            f"bundle {folder} was not signed with the key of '{public_key}', or its manifest was "
            "changed since. Do not use it; get it again from its owner."
        ) from error


def _key(path: str | Path, private: bool) -> Any:
    """An Ed25519 key from a PEM file."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ed25519
    except ImportError as error:
        raise ClapError(
            "signatures need cryptography, which is not installed: pip install clap-export[sign]"
        ) from error
    kind = "private" if private else "public"
    hint = "openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout"
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_KEY_BYTES)
        found = (
            serialization.load_pem_private_key(data, password=None)
            if private
            else serialization.load_pem_public_key(data)
        )
    except OSError as error:
        raise ClapError(f"the key '{path}' cannot be read: {error.strerror}.") from error
    except (TypeError, ValueError, UnsupportedAlgorithm) as error:
        raise ClapError(
            f"'{path}' holds no {kind} key in PEM without a password ({error}). Make one: {hint}"
        ) from error
    wanted = ed25519.Ed25519PrivateKey if private else ed25519.Ed25519PublicKey
    if not isinstance(found, wanted):
        raise ClapError(f"'{path}' holds no Ed25519 key. Make one: {hint}")
    return found
