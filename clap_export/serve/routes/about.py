"""What this server is, how it is, and the page."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from clap_export import __version__
from clap_export.serve.metrics import CONTENT_TYPE
from clap_export.serve.problems import Problem
from clap_export.serve.routes.common import refused, service_of
from runtime import schema
from runtime.audio import ffmpeg
from runtime.clips.policy import PRESETS

router = APIRouter(tags=["server"])
PAGE = Path(__file__).parents[1] / "page"
TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}
# What libsndfile decodes; the ffmpeg program adds those behind it.
FORMATS = ("wav", "aiff", "au", "caf", "flac", "ogg", "opus", "mp3", "w64", "rf64")
BY_FFMPEG = ("m4a", "aac", "alac", "mp4", "mov", "webm", "mkv", "wma", "amr", "ac3")


@router.get("/v1/space", summary="The model, and what is taken", responses=refused())
async def space(request: Request) -> dict[str, Any]:
    """Everything that a client must know to send recordings, and to compare embeddings."""
    service = service_of(request)
    encoder, limits = service.encoder, service.limits
    manifest = encoder.manifest
    audio = manifest.audio
    return {
        "model": manifest.name,
        "version": __version__,
        "space_id": manifest.space_id,
        "clip_space_id": encoder.clip_space_id,
        "dimensions": manifest.embedding_dim,
        "sample_rate": audio.sample_rate,
        "window_seconds": audio.window_samples / audio.sample_rate,
        "hop_seconds": encoder.policy.hop_samples(audio) / audio.sample_rate,
        "policy": schema.to_plain(encoder.policy),
        "policies": sorted(PRESETS),
        "logit_scale": manifest.logit_scale,
        "default_template": manifest.default_template,
        "scores": ["softmax", "cosine", *(["multilabel"] if manifest.calibration else [])],
        "default_scores": service.scores,
        "embeds_text": encoder.has_text,
        "default_bank": service.named.default_name,
        "banks_writable": service.named.writable,
        "formats": [*FORMATS, *(BY_FFMPEG if ffmpeg.program() else ())],
        "engine": {"provider": encoder.providers[0], **schema.to_plain(service.plan)},
        "limits": {
            "body_bytes": limits.body, "recording_seconds": limits.seconds,
            "texts": limits.texts, "windows_answered": limits.rows,
            "predictions_answered": limits.predictions, "requests": limits.requests,
            "long_recordings": limits.large, "streams": limits.listeners,
            "deadline_seconds": limits.deadline, "memory_bytes": service.most_memory,
        },
    }  # fmt: skip


@router.get("/healthz", summary="Whether the process is alive")
async def healthy() -> dict[str, str]:
    """Always, if it answers."""
    return {"status": "ok"}


@router.get("/readyz", summary="Whether it takes requests", responses={503: {}})
async def ready(request: Request) -> Response:
    """Not while it ends, nor when the engine has failed."""
    reason = service_of(request).ready
    if reason is not None:
        return JSONResponse({"status": reason}, 503)
    return JSONResponse({"status": "ready"})


@router.get(
    "/metrics", summary="Counters for Prometheus", response_class=PlainTextResponse,
    responses=refused(),
)  # fmt: skip
async def metrics(request: Request) -> Response:
    """In Prometheus' text format."""
    return Response(service_of(request).metrics.text(), media_type=CONTENT_TYPE)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """What the page consists of: few and small, so whole."""
    return {
        path.name: (path.read_bytes(), TYPES[path.suffix])
        for path in PAGE.iterdir()
        if path.suffix in TYPES
    }


@router.get("/", include_in_schema=False)
async def index() -> Response:
    """The page."""
    return await page("index.html")


@router.get("/page/{name}", include_in_schema=False)
async def page(name: str) -> Response:
    """A file of the page: of those that are there, and no path."""
    if name not in _files():
        raise Problem(404, "missing", "the page has no such file.")
    content, media_type = _files()[name]
    # Asked for each time: a newer server's page is never mixed with an older one's.
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})
