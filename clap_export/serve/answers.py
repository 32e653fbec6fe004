"""What is answered, as OpenAPI describes it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from runtime import Prediction


class PredictionAnswer(BaseModel):
    """A label of a recording."""

    label: str
    score: float
    similarity: float = Field(description="Cosine between the recording and the label.")


class SegmentAnswer(BaseModel):
    """A stretch of a recording; seconds from its start."""

    start: float
    end: float
    predictions: list[PredictionAnswer] = Field(description='Best first; none is "none of these".')


class Heard(BaseModel):
    """What is said of every recording."""

    model: str
    space_id: str = Field(description="Of the embeddings of texts and recordings.")
    clip_space_id: str = Field(description="Of recordings: the space, and the policy of windows.")
    seconds: float = Field(description="Of the recording that was heard.")
    windows_heard: int
    warning: str | None = Field(description="Why only a part of the recording could be used.")


class Classified(Heard):
    """Of a recording: its predictions, or with ``timeline`` its segments."""

    predictions: list[PredictionAnswer] | None = None
    segments: list[SegmentAnswer] | None = None
    label_warnings: list[str] = Field(default_factory=list)


class Windows(BaseModel):
    """Windows of a recording one by one; seconds from its start."""

    start: list[float]
    end: list[float]
    embeddings: str = Field(description="base64 of little-endian float32 [windows, dimensions].")


class EmbeddedAudio(Heard):
    """The embedding of a recording."""

    dimensions: int
    embedding: list[float] | str | None = Field(
        description="Of unit norm; base64 if that was asked for. null of a policy without one."
    )
    windows: Windows | None = None


class EmbeddedText(BaseModel):
    """Embeddings of texts, of unit norm."""

    model: str
    space_id: str
    dimensions: int
    embeddings: list[list[float]] | str = Field(
        description="base64 of little-endian float32 [texts, dimensions] if that was asked for."
    )


class Bank(BaseModel):
    """A bank of labels."""

    name: str
    labels: list[str]
    templates: list[str]
    space_id: str
    warnings: list[str] = Field(default_factory=list)
    embeddings: str | None = Field(
        None, description="base64 of little-endian float32 [labels, dimensions] if asked for."
    )


class BankNames(BaseModel):
    """Names of all banks."""

    banks: list[str]
    default: str | None


class ErrorAnswer(BaseModel):
    """What was wrong."""

    type: str
    message: str
    request_id: str
    code: str
    param: str | None = None


class Refused(BaseModel):
    """Of every request that is refused."""

    error: ErrorAnswer


def prediction(found: Prediction) -> dict[str, Any]:
    """A prediction as JSON has it."""
    return {"label": found.label, "score": found.score, "similarity": found.similarity}


def packed(rows: NDArray[np.float32]) -> str:
    """Base64 of little-endian float32."""
    return base64.b64encode(np.ascontiguousarray(rows, "<f4").tobytes()).decode("ascii")
