"""Numbers that a config may hold."""

from __future__ import annotations

MOST_INT = 2**31 - 1  # of counts: what array libraries take as a length everywhere


def bound(
    config: object, *names: str, least: float | None = None, above: float | None = None,
    below: float | None = None, most: float | None = None,
) -> None:  # fmt: skip
    """Refuse fields of a config that lie outside; a field that is None is left alone.

    Raises:
        ValueError: with the name, the value, and what it must be.
    """
    limits = {"at least": least, "above": above, "below": below, "at most": most}
    said = " and ".join(f"{word} {limit:g}" for word, limit in limits.items() if limit is not None)
    for name in names:
        value = getattr(config, name)
        if value is not None and not (
            (least is None or value >= least)
            and (above is None or value > above)
            and (below is None or value < below)
            and (most is None or value <= most)
        ):
            raise ValueError(f"{name} is {value}, must be {said}")
