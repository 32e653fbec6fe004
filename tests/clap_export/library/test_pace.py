"""Rates and what is left of the time, by a clock that is moved by hand."""

from __future__ import annotations

from clap_export.library.pace import Pace, clock


def test_the_rate_is_that_of_the_last_half_minute() -> None:
    now = [0.0]
    said: list[str] = []
    pace = Pace(1000, said.append, lambda: now[0])
    for _ in range(100):  # ten a second
        now[0] += 0.1
        pace.one()
    assert pace.sentence() == "100 of 1,000, 10.0 a second, 1:30 left"
    assert len(said) <= 20
    for _ in range(100):  # one a second
        now[0] += 1
        pace.one()
    assert pace.sentence() == "200 of 1,000, 1.0 a second, 13:20 left"
    assert said[-1] == pace.sentence()
    assert pace.seconds == now[0]


def test_times() -> None:
    assert [clock(s) for s in (0, 59.6, 3599, 3600)] == ["0:00", "1:00", "59:59", "1:00:00"]
