"""Embeddings of recordings and of texts, and texts in the form of OpenAI's API."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from clap_export.serve import answers
from clap_export.serve.answers import EmbeddedAudio, EmbeddedText
from clap_export.serve.documents import document, openapi_of
from clap_export.serve.embedding import embed
from clap_export.serve.options import EmbedOptions
from clap_export.serve.problems import Problem
from clap_export.serve.routes.common import HEARD, Answer, recording_of, refused, service_of
from clap_export.serve.routes.recordings import Recording
from clap_export.serve.running import beside, in_thread, work_of
from clap_export.serve.service import Service

router = APIRouter()
TEXTS = refused(408, 409, 413, 415, 429, 503, 504)
MOST_LETTERS = 100_000  # of a text; the tokenizer's own bound is lower
Text = Annotated[str, Field(max_length=MOST_LETTERS)]


class TextsToEmbed(BaseModel):
    """Texts as they are, or labels that are put through templates."""

    model_config = ConfigDict(extra="forbid")

    texts: Text | list[Text]
    encoding: Literal["float", "base64"] = "float"
    labels: bool = Field(
        False, description="They are labels: put through the templates, and averaged over these."
    )
    templates: list[Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=list, max_length=100, description="Default the model's."
    )


class OpenAiInput(BaseModel):
    """What clients of OpenAI's API send."""

    model_config = ConfigDict(extra="forbid")

    input: Text | list[Text]
    model: str = Field(max_length=256)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = Field(None, max_length=1000, description="Not looked at.")


class OpenAiEmbedding(BaseModel):
    """One embedding."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class OpenAiUsage(BaseModel):
    """Tokens that were read."""

    prompt_tokens: int
    total_tokens: int


class OpenAiEmbeddings(BaseModel):
    """What such clients read."""

    object: Literal["list"] = "list"
    data: list[OpenAiEmbedding]
    model: str
    usage: OpenAiUsage


@router.post(
    "/v1/embed/audio", response_model=EmbeddedAudio, responses=HEARD,
    openapi_extra=recording_of(EmbedOptions), tags=["recordings"], summary="Embed a recording",
)  # fmt: skip
async def embed_audio(request: Request) -> Response:
    """The recording is the body, or the part `file` of a form; of any format and length."""
    with Recording(request, EmbedOptions) as r:
        await r.receive()
        hearing = r.heard(lambda turn: embed(r.service, r.work, turn, r.upload, r.options))
        return Answer(r.service, await beside(request, r.work, hearing))


@router.post(
    "/v1/embed/text", response_model=EmbeddedText, responses=TEXTS,
    openapi_extra=openapi_of(TextsToEmbed), tags=["texts"], summary="Embed texts or labels",
)  # fmt: skip
async def embed_text(request: Request) -> Response:
    """Texts go to the encoder as they are; labels go through the templates."""
    service = service_of(request)
    with service.door.enter():
        asked = await document(request, TextsToEmbed, service.limits)
        texts = [asked.texts] if isinstance(asked.texts, str) else asked.texts
        _check_count(texts, service)
        if asked.templates and not asked.labels:
            raise Problem(422, "options", "templates are for labels: send labels=true with them.")
        work = work_of(request, service)
        if asked.labels:
            call = partial(service.made, texts, asked.templates, work)
            bank = await beside(request, work, in_thread(service.text_threads, work, call))
            rows = bank.embeddings
        else:
            call = partial(service.texts, texts, work)
            rows = await beside(request, work, in_thread(service.text_threads, work, call))
    manifest = service.encoder.manifest
    as_text = asked.encoding == "base64"
    return Answer(service, {
        "model": manifest.name, "space_id": manifest.space_id, "dimensions": rows.shape[1],
        "embeddings": answers.packed(rows) if as_text else rows.tolist(),
    })  # fmt: skip


@router.post(
    "/v1/embeddings", response_model=OpenAiEmbeddings, responses={**TEXTS, **refused(404)},
    openapi_extra=openapi_of(OpenAiInput), tags=["texts"], summary="Embed texts, as OpenAI's API",
)  # fmt: skip
async def openai_embeddings(request: Request) -> Response:
    """`model` is the bundle's name, which `GET /v1/models` tells."""
    service = service_of(request)
    manifest = service.encoder.manifest
    with service.door.enter():
        asked = await document(request, OpenAiInput, service.limits)
        _check_model(asked.model, service)
        if asked.dimensions not in (None, manifest.embedding_dim):
            raise Problem(
                422, "options", f"dimensions={asked.dimensions}: this model has "
                f"{manifest.embedding_dim}, and they cannot be cut.",
            )  # fmt: skip
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        _check_count(texts, service)
        work = work_of(request, service)
        call = partial(_with_tokens, service, texts, work)
        rows, tokens = await beside(request, work, in_thread(service.text_threads, work, call))
    as_text = asked.encoding_format == "base64"
    data = [
        {
            "object": "embedding", "index": i,
            "embedding": answers.packed(row) if as_text else row.tolist(),
        }
        for i, row in enumerate(rows)
    ]  # fmt: skip
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Answer(
        service, {"object": "list", "data": data, "model": manifest.name, "usage": usage}
    )  # fmt: skip


@router.get("/v1/models", tags=["texts"], summary="The model, as OpenAI's API", responses=refused())
async def openai_models(request: Request) -> dict[str, Any]:
    """A list of one."""
    return {"object": "list", "data": [_model(service_of(request))]}


@router.get(
    "/v1/models/{model:path}", tags=["texts"], summary="The model by its name, as OpenAI's API",
    responses=refused(404),
)  # fmt: skip
async def openai_model(request: Request, model: str) -> dict[str, Any]:
    """The one of the list, or 404."""
    service = service_of(request)
    _check_model(model, service)
    return _model(service)


def _model(service: Service) -> dict[str, Any]:
    name = service.encoder.manifest.name
    return {"id": name, "object": "model", "created": 0, "owned_by": "clap-export"}


def _check_model(asked: str, service: Service) -> None:
    name = service.encoder.manifest.name
    if asked != name:
        raise Problem(404, "model", f"there is no model {asked!r} here: ask for {name!r}.")


def _with_tokens(service: Service, texts: list[str], work: Any) -> tuple[np.ndarray, int]:
    rows = service.texts(texts, work)
    tokenizer = service.encoder.tokenizer
    return rows, sum(len(tokenizer.ids(text)) for text in texts)


def _check_count(texts: Sequence[str], service: Service) -> None:
    most = service.limits.texts
    if not 0 < len(texts) <= most:
        raise Problem(422, "labels", f"{len(texts)} texts were sent: send 1 to {most}.")
