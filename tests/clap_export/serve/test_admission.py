"""Who comes in, when the others shall come again, and whose turn it is."""

from __future__ import annotations

import asyncio

import pytest

from clap_export.serve.admission import Door, Turn, Turns
from clap_export.serve.problems import Problem


def test_the_door_tells_when_to_come_again_by_how_quickly_it_empties() -> None:
    now = [0.0]
    door = Door(10, lambda: now[0])
    for _ in range(20):  # four leave in a second
        with door.enter():
            now[0] += 0.25
    inside = [door.enter() for _ in range(10)]
    for one in inside:
        one.__enter__()
    with pytest.raises(Problem) as refused, door.enter():
        pass
    assert refused.value.status == 429
    assert refused.value.retry_after == 3  # ten of them, at four a second, rounded up
    now[0] += 300.0  # nobody has left since
    assert door.retry_after == 161  # and the rate has fallen
    for one in inside:
        one.__exit__(None, None, None)
    assert (door.inside, door.refused) == (0, 1)


def test_a_new_door_asks_to_come_again_soon() -> None:
    door = Door(1)
    with door.enter(), pytest.raises(Problem) as refused, door.enter():
        pass
    assert refused.value.headers == {"Retry-After": "1"}


def test_quick_ones_have_their_places_whatever_the_long_ones_do() -> None:
    async def run() -> None:
        turns = Turns(quick=1, long=1)
        long = await turns.take("long")
        waiting = asyncio.ensure_future(turns.take("long"))
        await asyncio.sleep(0)
        assert turns.waiting() == 1
        quick = await asyncio.wait_for(turns.take("quick"), 1)
        assert not quick.grow()  # there is no room for another long one
        long.close()
        second = await asyncio.wait_for(waiting, 1)
        second.close()
        assert quick.grow()
        assert quick.kind == "long"
        another = await asyncio.wait_for(turns.take("quick"), 1)  # its place is free
        for turn in (quick, quick, another):  # closed twice counts once
            turn.close()
        assert await _all(turns) == (1, 1)

    asyncio.run(run())


def test_who_leaves_while_waiting_takes_no_place_along() -> None:
    async def run() -> None:
        turns = Turns(quick=1, long=1)
        held = await turns.take("quick")
        first = asyncio.ensure_future(turns.take("quick"))
        second = asyncio.ensure_future(turns.take("quick"))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        held.close()
        turn = await asyncio.wait_for(second, 1)
        third = asyncio.ensure_future(turns.take("quick"))
        await asyncio.sleep(0)
        turn.close()
        third.cancel()  # in the moment in which it is given the place
        await asyncio.sleep(0.01)
        assert await _all(turns) == (1, 1)

    asyncio.run(run())


async def _all(turns: Turns) -> tuple[int, int]:
    """How many places of each kind can be had."""
    found: list[list[Turn]] = []
    for kind in ("quick", "long"):
        had: list[Turn] = []
        while True:
            try:
                had.append(await asyncio.wait_for(turns.take(kind), 0.05))
            except asyncio.TimeoutError:
                break
        found.append(had)
    return len(found[0]), len(found[1])
