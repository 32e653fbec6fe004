"""Files of label banks and heads, whatever is in them: also such as the runtime never writes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


def archive(
    meta: Mapping[str, Any], compressed: bool = False, **arrays: NDArray[np.generic]
) -> bytes:
    """A bank's file; the same bytes at any time.

    Args:
        meta: what stands in its array ``meta``.
        compressed: deflate it.
        arrays: the others, by name, which come before it.
    """
    text = np.frombuffer(json.dumps(meta, ensure_ascii=False).encode(), np.uint8)
    file = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w", method) as made:
        for name, array in (*arrays.items(), ("meta", text)):
            data = io.BytesIO()
            np.lib.format.write_array(data, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy")  # of 1980, at any time
            entry.compress_type = method
            made.writestr(entry, data.getvalue())
    return file.getvalue()
