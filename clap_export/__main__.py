"""``clap-export``, and ``python -m clap_export``."""

from __future__ import annotations

import sys


def entry() -> None:
    """The command; says what to install where only the runtime is installed."""
    try:
        from clap_export.cli import main
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print(
            "Error: the command line needs click and rich: pip install clap-export[cli]",
            file=sys.stderr,
        )
        sys.exit(2)
    main(prog_name="clap-export")


if __name__ == "__main__":
    entry()
