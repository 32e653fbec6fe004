"""How every verb ends when something is wrong: one sentence, and exit code 2."""

from __future__ import annotations

from typing import Any

import click

from runtime.errors import ClapError


class UserError(click.ClickException):
    """Bad input: one sentence, exit code 2."""

    exit_code = 2


class Verbs(click.Group):
    """A group whose commands turn :class:`ClapError` into a message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run; errors that are not the user's keep their traceback."""
        try:
            return super().invoke(ctx)
        except ClapError as error:
            raise UserError(str(error)) from error
        except ModuleNotFoundError as error:
            extra = EXTRA_OF.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise UserError(
                f"this needs {error.name}, which is not installed: pip install clap-export[{extra}]"
            ) from error


# Which extra brings a package that a verb may find missing.
EXTRA_OF = {
    "rich": "cli",
    **dict.fromkeys(
        ("torch", "onnx", "onnxscript", "transformers", "timm", "safetensors", "matplotlib"),
        "export",
    ),
}
