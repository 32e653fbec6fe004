"""What reaches a terminal is shown, never obeyed; what people write stays as it is."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from runtime.plain_text import is_control, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"), ("\x9b31m", "\\x9b31m"), ("a\rb", "a\\rb"), ("a\nb", "a\\nb"),
        ("\x00\x07\x08\x7f", "\\x00\\x07\\x08\\x7f"), ("\u202eabc", "\\u202eabc"),
        ("\u2066x\u2069", "\\u2066x\\u2069"), ("\u2028", "\\u2028"), ("\ufeffx", "\\ufeffx"),
        ("\U000e0041", "\\U000e0041"), ("caf\udce9", "caf\\udce9"), ("\xad", "\\xad"),
    ],
    ids=ascii,
)  # fmt: skip
def test_what_a_terminal_acts_on_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_what_people_write_stays() -> None:
    for text in (
        "dog [barking]",
        "雨",
        "naïve",
        "\\",
        "क्\u200dष",
        "👩\u200d🚒",
        "שלום",
        "مرحبا",
        "e\u0301",
    ):
        assert printable(text) == text
    assert printable("two\nlines\x1b", keep="\n") == "two\nlines\\x1b"


def test_no_control_character_of_unicode_is_forgotten() -> None:
    for point in range(sys.maxunicode + 1):
        if unicodedata.category(chr(point)) == "Cc" or unicodedata.bidirectional(chr(point)) in (
            "LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI",
        ):  # fmt: skip
            assert is_control(chr(point)), hex(point)
