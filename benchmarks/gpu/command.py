"""Commands that the steps run, and what they said."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
TAIL = 4000  # characters of a command's output that are kept


def ran(command: list[str]) -> dict[str, Any]:
    """Run a command in the project's folder, where ``python -m`` finds its packages."""
    began = time.perf_counter()
    done = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return {
        "passed": done.returncode == 0,
        "exit_code": done.returncode,
        "seconds": time.perf_counter() - began,
        "said": done.stdout[-TAIL:],
    }
