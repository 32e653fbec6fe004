"""How large the numbers of a config may be."""

from __future__ import annotations

# More than any model of this kind has. A config comes from a file: what it asks for is compared
# with the file's tensors, but making that comparison must cost little too.
MAX_WIDTH = 1 << 16
MAX_LAYERS = 256
MAX_STAGES = 16
MAX_MELS = 512
MAX_SIDE = 4096  # of an image, in pixels
MAX_WINDOW = 64  # side of an attention window, in tokens
MAX_TOKENS = 1 << 17
MAX_VOCABULARY = 1 << 22
MAX_SAMPLE_RATE = 1_000_000
MAX_DFT = 1 << 15
MAX_SECONDS = 3600
MAX_TAGS = 10_000


def within(name: str, value: float, most: float, least: float = 1) -> None:
    """Check one number of a config.

    Raises:
        ValueError: it is too small or too large, or not a number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{name} is {value!r}, must be from {least:g} to {most:g}")
