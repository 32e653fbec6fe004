"""What a request asks for, beside its recording: read strictly, from its query and its form."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_origin
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clap_export.serve.problems import Problem
from runtime import schema
from runtime.errors import LabelError

Finite = Annotated[float, Field(allow_inf_nan=False)]
MOST_LETTERS = 100_000  # of a field with labels
OUTER = ("query", "body", "path")  # beginnings of a complaint's place
TYPE = re.compile(r"^(str|constrained-str)$|\[")
UNKNOWN = "extra_forbidden"
Labels = Annotated[str, Field(max_length=MOST_LETTERS)]


class AudioOptions(BaseModel):
    """How a recording is heard."""

    model_config = ConfigDict(extra="forbid")

    windows: str | None = Field(
        None, max_length=64, description="Which windows are heard and how they are pooled: all, "
        "head:N, middle:N, spaced:N, loudest, rare, back-to-back. Default what the server was "
        "started with.",
    )  # fmt: skip
    hop: float | None = Field(
        None, gt=0, le=1e6, allow_inf_nan=False,
        description="Seconds between windows that are answered one by one.",
    )  # fmt: skip


class ClassifyOptions(AudioOptions):
    """How a recording is classified."""

    labels: list[Labels] = Field(
        default_factory=list, max_length=1000,
        description='Names between commas, or a JSON list, or a JSON object of names to texts '
        '({"dog": "a dog barks"}). Default the bank, or the server\'s own labels.',
    )  # fmt: skip
    bank: str | None = Field(None, max_length=64, description="Name of a bank of labels.")
    templates: list[Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=list, max_length=100,
        description="Prompts with one {} for the label; several are averaged. Default the model's.",
    )  # fmt: skip
    scores: Literal["softmax", "cosine", "multilabel"] | None = Field(
        None, description="What the score is; default softmax, of a head or a tagger its own."
    )
    top_k: int | None = Field(
        None, ge=1, le=1_000_000,
        description="Best labels; default all, of a tagger its own number, and of each window of a "
        "timeline 3.",
    )  # fmt: skip
    threshold: Finite | None = Field(None, description="Drop labels with a lower score.")
    min_similarity: Finite | None = Field(None, description="Drop labels with a lower cosine.")
    timeline: bool = Field(False, description="Classify each window instead of the whole.")


class EmbedOptions(AudioOptions):
    """How a recording is embedded."""

    encoding: Literal["float", "base64"] = Field(
        "float", description="Numbers, or base64 of little-endian float32."
    )
    each_window: bool = Field(
        False, description="Also each window's embedding, in base64, with its times."
    )


Options = TypeVar("Options", bound=BaseModel)


def read(
    kind: type[Options], query: Iterable[tuple[str, str]], fields: Iterable[tuple[str, str]] = ()
) -> Options:
    """Options of a query, and those that came as fields of a form.

    Raises:
        Problem: 422, one is unknown, has no such value, or is given twice.
    """
    values: dict[str, Any] = {}
    places: dict[str, str] = {}
    for place, pairs in (("query", query), ("form", fields)):
        for name, text in pairs:
            field = kind.model_fields.get(name)
            many = field is not None and get_origin(field.annotation) is list
            if name in values and not (many and places[name] == place):
                raise Problem(422, "options", f"{schema.shown(name)} is given twice.")
            places[name] = place
            if many:
                values.setdefault(name, []).append(text)
            else:
                values[name] = text
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise invalid(error.errors()) from error


def pairs_of(query: bytes) -> list[tuple[str, str]]:
    """Names and values of a query.

    Raises:
        Problem: 422, it is no text.
    """
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="strict")
    except UnicodeDecodeError:
        raise Problem(422, "options", "the query is not UTF-8.") from None


def parameters_of(kind: type[BaseModel]) -> list[dict[str, Any]]:
    """What OpenAPI tells of options in a query."""
    return [
        {
            "name": name, "in": "query", "required": False,
            "description": described.pop("description", ""), "schema": described,
        }
        for name, described in kind.model_json_schema()["properties"].items()
    ]  # fmt: skip


def invalid(errors: Sequence[Any]) -> Problem:
    """What pydantic complains of, in a sentence."""
    if any(not e["loc"] and e["type"] in ("model_type", "model_attributes_type") for e in errors):
        return Problem(422, "options", "what was sent is no JSON object.")
    said = dict.fromkeys(
        f"{_place(e)}: {e['msg'].removeprefix('Value error, ')}".removeprefix(": ") for e in errors
    )
    return Problem(422, "options", f"{'; '.join([*said][:5])}.")


def _place(error: Any) -> str:
    """Where a complaint is, without the names of Python's types that pydantic puts in between."""
    parts = [str(part) for part in error["loc"]]
    unknown = [schema.shown(parts.pop())] if error["type"] == UNKNOWN else []  # a client's word
    return ".".join([*(p for p in parts if not (TYPE.search(p) or p in OUTER)), *unknown])


def names_of(labels: Iterable[str]) -> list[str] | dict[str, str | list[str]]:
    """What ``labels`` means: see :class:`ClassifyOptions`.

    Raises:
        LabelError: JSON that is no list of names and no object of texts, or an empty one.
    """
    names: list[str] = []
    texts: dict[str, str | list[str]] = {}
    for text in labels:
        if not text.lstrip().startswith(("[", "{")):
            names += [name.strip() for name in text.split(",") if name.strip()]
            continue
        found = schema.read_json(text.encode("utf-8", "surrogatepass"), "labels", LabelError)
        if not found:
            raise LabelError(
                "labels are an empty list: send some, or leave them out for the server's own."
            )
        if isinstance(found, list):
            names += map(_name, found)
        else:
            texts |= {name: _texts(name, value) for name, value in found.items()}
    if texts and names:
        raise LabelError("labels are names, or an object of names to texts: not both.")
    return texts or names


def _name(value: object) -> str:
    if isinstance(value, str):
        return value
    raise LabelError(f"{schema.shown(value)} among the labels is not a name: send texts.")


def _texts(name: str, value: object) -> str | list[str]:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(text, str) for text in value):
        return value
    raise LabelError(f"label {schema.shown(name)} has no text, nor a list of texts.")
