"""The JSON Schema of a kit's document, of a question and of an answer."""

from __future__ import annotations

from typing import Any

SCHEMA: dict[str, Any] = {}
