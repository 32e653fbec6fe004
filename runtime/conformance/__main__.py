"""Answers a conformance kit's questions, one a line, as long as any come."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any, BinaryIO

from runtime.conformance import wire
from runtime.conformance.tasks import Reader
from runtime.errors import AudioWarning, ClapError


def answered(line: bytes, provider: str) -> dict[str, Any]:
    """The answer to one question."""
    request = json.loads(line)
    reader = Reader(Path(request["kit"]), provider)
    try:
        outputs = wire.to_wire(reader.answer(request["task"], request["input"]))
    except ClapError as error:
        return {"id": request["id"], "error": wire.error_of(error, reader.kit)}
    return {"id": request["id"], "outputs": outputs}


def serve(questions: BinaryIO, answers: BinaryIO, provider: str) -> None:
    """Answer until no question comes."""
    for line in questions:
        answers.write(json.dumps(answered(line, provider)).encode() + b"\n")
        answers.flush()


def main(arguments: list[str]) -> int:
    """``python -m runtime.conformance [PROVIDER]``."""
    warnings.simplefilter("ignore", AudioWarning)
    serve(sys.stdin.buffer, sys.stdout.buffer, *(arguments or ["cpu"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
