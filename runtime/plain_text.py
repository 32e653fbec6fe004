"""Text from files and users on its way to a terminal: it is shown, never obeyed."""

from __future__ import annotations

import unicodedata

# Control characters (Cc) begin escape sequences; format characters (Cf) reverse or hide what
# follows; surrogates (Cs) are bytes of a name that is not UTF-8; line and paragraph separators.
UNPRINTABLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# Joiners that words and emoji of many languages are written with.
KEPT = frozenset("\u200c\u200d")


def printable(text: str, keep: str = "") -> str:
    """``text`` with what a terminal would act on replaced by an escape such as ``\\x1b``.

    Args:
        text: a label, a file name, a sentence that holds one.
        keep: control characters that stay, such as ``\\n`` in a message of several lines.
    """
    return "".join(c if c in keep or not is_control(c) else escaped(c) for c in text)


def is_control(character: str) -> bool:
    """Whether a terminal may act on a character, or cannot show it."""
    return character not in KEPT and unicodedata.category(character) in UNPRINTABLE


def escaped(character: str) -> str:
    """A character as Python writes it: ``\\x1b``, ``\\u202e``."""
    return character.encode("unicode_escape", errors="surrogatepass").decode("ascii")
