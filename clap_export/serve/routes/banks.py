"""Banks of labels by name."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from clap_export.serve import answers
from clap_export.serve.documents import document, openapi_of
from clap_export.serve.named import NAME
from clap_export.serve.problems import Problem
from clap_export.serve.routes.common import Answer, refused, service_of
from clap_export.serve.running import beside, in_thread, work_of
from clap_export.serve.service import Service
from clap_export.serve.work import Work
from runtime import LabelBank

router = APIRouter(tags=["banks"])
# Only told of here: the banks look at names, and say more than pydantic does.
PATTERN = {"pattern": f"^{NAME.pattern}$"}
Name = Annotated[str, Path(description="a-z, 0-9, '.', '_' and '-'", json_schema_extra=PATTERN)]
Letters = Annotated[str, Field(max_length=100_000)]


class NewBank(BaseModel):
    """Labels to keep."""

    model_config = ConfigDict(extra="forbid")

    labels: list[Letters] | dict[str, Letters | list[Letters]] = Field(
        description="Names, or names with their own texts."
    )
    templates: list[Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=list, max_length=100, description="Default the model's."
    )


@router.get("/v1/banks", response_model=answers.BankNames, responses=refused())
async def list_banks(request: Request) -> dict[str, Any]:
    """Names of all banks, and of the one that is taken where a request names none."""
    named = service_of(request).named
    return {"banks": named.names(), "default": named.default_name}


@router.get(
    "/v1/banks/{name}", response_model=answers.Bank, responses=refused(404, 409, 413, 429, 503)
)
async def get_bank(request: Request, name: Name, embeddings: bool = False) -> Response:
    """Labels and templates of a bank, and their embeddings if these are asked for."""
    service = service_of(request)
    with service.door.enter():
        bank = await _in_thread(request, service, partial(service.named.get, name))
        most = service.limits.rows
        if embeddings and len(bank) > most:
            raise Problem(
                413, "too_long", f"the bank has {len(bank)} labels, and the embeddings of at most "
                f"{most} are answered.",
            )  # fmt: skip
        rows = {"embeddings": answers.packed(bank.embeddings)} if embeddings else {}
        return Answer(service, {**_answer(name, bank), **rows})


@router.post(
    "/v1/banks/{name}", response_model=answers.Bank, status_code=201,
    responses=refused(408, 409, 413, 415, 429, 503, 504), openapi_extra=openapi_of(NewBank),
)  # fmt: skip
async def put_bank(request: Request, name: Name) -> Response:
    """Embed labels, and keep them under a name; a bank of this name is replaced."""
    service = service_of(request)
    with service.door.enter():
        service.named.check_writable(name)
        asked = await document(request, NewBank, service.limits)

        def keep(work: Work) -> LabelBank:
            bank = service.made(asked.labels, asked.templates, work)
            service.named.put(name, bank)
            return bank

        bank = await _in_thread(request, service, keep, of_work=True)
        return Answer(service, _answer(name, bank), 201)


@router.delete("/v1/banks/{name}", status_code=204, responses=refused(404, 429, 503))
async def delete_bank(request: Request, name: Name) -> Response:
    """Forget a bank."""
    service = service_of(request)
    with service.door.enter():
        await _in_thread(request, service, partial(service.named.remove, name))
        return Response(status_code=204)


async def _in_thread(
    request: Request, service: Service, call: Any, of_work: bool = False
) -> LabelBank:
    work = work_of(request, service)
    made = partial(call, work) if of_work else call
    return await beside(request, work, in_thread(service.text_threads, work, made))


def _answer(name: str, bank: LabelBank) -> dict[str, Any]:
    return {
        "name": name, "labels": list(bank.names), "templates": list(bank.templates),
        "space_id": bank.space_id, "warnings": list(bank.warnings),
    }  # fmt: skip
