"""What a server takes is bounded, and the bound is told."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest

from clap_export.serve.limits import Limits
from clap_export.serve.routes.common import Answer
from runtime.errors import ClapError
from tests.clap_export.serve.running import Running, error_of, running
from tests.tiny import bundle as tiny


def test_the_ceiling_grows_with_all_that_is_allowed() -> None:
    spec, small = tiny.MANIFEST.audio, Limits()
    least = small.most_memory(spec, tiny.DIM, 8)
    for name in ("requests", "quick", "long", "listeners", "memory", "answers", "predictions"):
        more = dataclasses.replace(small, **{name: 2 * getattr(small, name)})
        assert more.most_memory(spec, tiny.DIM, 8) > least, name
    assert small.most_memory(spec, tiny.DIM, 16) == least + 8 * 4 * tiny.WINDOW
    with pytest.raises(ClapError):
        Limits(requests=0)
    with pytest.raises(ClapError):
        Limits(idle=0.0)
    with pytest.raises(ClapError):
        Limits(seconds=-1)


def test_the_ceiling_is_told(server: Running) -> None:
    told = server.client.get("/v1/space").json()["limits"]
    assert told["memory_bytes"] == server.service.most_memory
    (line,) = [
        line
        for line in server.client.get("/metrics").text.splitlines()
        if line.startswith("clap_memory_limit_bytes ")
    ]
    assert float(line.split()[1]) == server.service.most_memory


def test_an_answer_is_counted_until_it_is_taken_or_given_up(server: Running) -> None:
    room, size = server.service.answers, server.service.limits.answers
    seen: list[int] = []

    async def take(message: Any) -> None:
        seen.append(room.free)

    async def fail(message: Any) -> None:
        raise TimeoutError

    async def run() -> None:
        await Answer(server.service, ["x" * 98])({"type": "http"}, None, take)  # type: ignore[arg-type]
        with pytest.raises(TimeoutError):
            await Answer(server.service, [1])({"type": "http"}, None, fail)  # type: ignore[arg-type]

    asyncio.run(run())
    assert set(seen) == {size - 102}
    assert room.free == size


def test_an_answer_that_has_no_room_is_refused(tiny_bundle: Path) -> None:
    with running(tiny_bundle, limits=Limits(answers=2000)) as server:
        assert server.post("/v1/classify", tiny.wav(tiny.clip(1))).status_code == 200
        texts = {"texts": ["dog"] * 100}
        error_of(server.client.post("/v1/embed/text", json=texts), 429, "busy")
        assert server.service.answers.free == 2000
