"""The application: routes, and how what they raise is answered."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from clap_export import __version__
from clap_export.serve import problems
from clap_export.serve.entry import Entry
from clap_export.serve.gate import Access, Gate
from clap_export.serve.options import invalid
from clap_export.serve.problems import Problem
from clap_export.serve.routes import about, banks, classify, embed, listen
from clap_export.serve.scheduler import Cancelled, Late
from clap_export.serve.service import Service
from clap_export.serve.uploads import NoDisk, NoRoom
from runtime.errors import ClapError

# The hot ones first.
ROUTERS = (classify.router, embed.router, about.router, banks.router, listen.router)


def create_app(service: Service, access: Access | None = None) -> FastAPI:
    """The application over a service.

    Args:
        service: that does the work; the caller closes it.
        access: who may ask; default everybody, from no other site's page.
    """
    access = access or Access()
    # The pages that FastAPI brings load scripts from elsewhere.
    app = FastAPI(
        title="clap-export", version=__version__, docs_url=None, redoc_url=None,
        redirect_slashes=False,
        description="Classify, embed and listen with a CLAP bundle.",
        openapi_tags=[
            {"name": name, "description": text}
            for name, text in (
                ("recordings", "Sound to labels and embeddings."),
                ("texts", "Texts and labels to embeddings of the same space."),
                ("banks", "Labels that are kept under a name."),
                ("server", "What it is, and how it is."),
            )
        ],
    )  # fmt: skip
    app.state.service, app.state.access = service, access
    for router in ROUTERS:
        app.include_router(router)
    for kind in (Problem, ClapError, Late, Cancelled, NoRoom, NoDisk):
        app.add_exception_handler(kind, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(404, _missing)
    app.add_exception_handler(405, _other_method)
    app.add_middleware(Gate, check=access.check)
    if access.origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(access.origins), allow_methods=["*"],
            allow_headers=["*"], expose_headers=["X-Request-Id", "Retry-After"],
        )  # fmt: skip
    # Before any answer that tells another site's page that it may read it.
    app.add_middleware(Gate, check=access.check_source)
    app.add_middleware(Entry, service=service)
    return app


def answer(request: Request, problem: Problem) -> Response:
    """A problem as an answer."""
    return JSONResponse(problem.document(request.state.request_id), problem.status, problem.headers)


async def _refused(request: Request, error: Any) -> Response:
    problem = problems.of(error)
    assert problem is not None  # all that this is called for are known
    return answer(request, problem)


async def _invalid(request: Request, error: Any) -> Response:
    return answer(request, invalid(error.errors()))


async def _missing(request: Request, _: Any) -> Response:
    return answer(request, problems.MISSING)


async def _other_method(request: Request, error: Any) -> Response:
    # The error knows the first route of this address alone, and several may share one.
    found = {method.strip() for method in error.headers["Allow"].split(",")}
    for router in ROUTERS:
        for route in router.routes:
            if isinstance(route, Route) and route.path_regex.match(request.scope["path"]):
                found |= route.methods or set()
    if "GET" in found:
        found.add("HEAD")
    taken = ", ".join(sorted(found))
    made = answer(request, Problem(405, "method", f"this address takes {taken} alone."))
    made.headers["Allow"] = taken
    return made
