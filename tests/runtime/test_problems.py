"""Long lists of problems end."""

from __future__ import annotations

from runtime.problems import SHOWN, listed


def test_the_first_are_named_and_the_rest_counted() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a; b"
    assert listed(["a", "b", "c"], shown=2) == "a; b and 1 more"
    assert listed(["a", "b", "c"], shown=1, between=", ") == "a and 2 more"
    many = [str(i) for i in range(SHOWN + 5)]
    assert listed(many[:SHOWN]) == "; ".join(many[:SHOWN])
    assert listed(many) == "; ".join(many[:SHOWN]) + " and 5 more"
