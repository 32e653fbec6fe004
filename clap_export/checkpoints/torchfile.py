"""Files of `torch.save`, read without running any code that they may hold."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct, scalar  # pyright: ignore[reportAttributeAccessIssue]

from runtime.errors import ClapError

# What training scripts put beside the weights: scores as numpy scalars (under the names of numpy 1
# and 2), the run's arguments. Making these runs nothing of the file's own; a pickle that
# asks for anything else is refused.
ALLOWED: list[Any] = [
    *((function, f"numpy.{core}.multiarray.{function.__name__}")
      for function in (scalar, _reconstruct) for core in ("core", "_core")),
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "u1", "?")),
    argparse.Namespace,
]  # fmt: skip


def is_torch_file(head: bytes) -> bool:
    """Told by the first 16 bytes: a zip, or in old versions a bare pickle (protocol 2 and up).

    A safetensors file starts with the header's length in 8 bytes, then the header's brace.
    """
    if head[8:9] == b"{":
        return False
    return head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05")


def read(path: Path) -> Any:
    """The object that was saved: tensors, numbers, texts and containers of them.

    Raises:
        ClapError: it is damaged, or it asks for anything that could run code.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(ALLOWED):
            warnings.simplefilter("ignore")  # of pickle protocols that torch.save does not write
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may fail in any way
        if isinstance(error, pickle.UnpicklingError):
            asked = re.search(r"GLOBAL (\S+)", str(error))
            why = f"it asks for {asked[1]}" if asked else "or it is damaged"
            raise ClapError(
                f"{path} is a pickle that holds more than tensors and numbers, so it could run "
                f"code when opened and was refused ({why}). Save its state dict as safetensors."
            ) from error
        reason = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
        raise ClapError(
            f"{path} cannot be read ({reason}). It is damaged or no file of torch.save: copy it "
            "again, or save its state dict as safetensors."
        ) from error
