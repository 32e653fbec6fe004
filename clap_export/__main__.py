"""``python -m clap_export`` is ``clap-export``."""

from clap_export.cli import main

if __name__ == "__main__":
    main(prog_name="clap-export")
