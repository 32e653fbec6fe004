"""Options that several verbs share, and the types of what is typed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class PathType(click.Path):
    """A path, there or not: whether it can be used is for its reader to say.

    What cannot be the name of anything is refused here, once for all verbs.
    """

    def __init__(self) -> None:
        super().__init__(path_type=Path, readable=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """To a :class:`pathlib.Path`."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if not str(value):
            self.fail("an empty name was given.", param, ctx)
        try:
            os.stat(path)
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                shown = str(value) if len(str(value)) < 80 else f"{str(value)[:60]}…"
                self.fail(f"'{shown}' cannot be a path: {error.strerror}.", param, ctx)
        return path


class OutputType(PathType):
    """A file to write when all work is done: that it can be is seen before."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """To a :class:`pathlib.Path`."""
        path = super().convert(value, param, ctx)
        if not path.parent.is_dir():
            self.fail(f"'{path}': the folder '{path.parent}' does not exist.", param, ctx)
        if path.is_dir():
            self.fail(f"'{path}' is a folder: give the name of a file.", param, ctx)
        if not os.access(path.parent, os.W_OK | os.X_OK):
            self.fail(f"'{path}': the folder '{path.parent}' cannot be written.", param, ctx)
        return path


class BankType(OutputType):
    """A bank to write. Under another name it would be read as a list of names, or as a name."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """To a :class:`pathlib.Path`."""
        path = super().convert(value, param, ctx)
        if path.suffix.lower() != ".npz":
            self.fail(f"'{path}' must end in .npz, which says that it is a bank.", param, ctx)
        return path


class TextType(click.ParamType):
    """Text for a model to read, which must be text: a byte that the locale cannot read is none."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text itself."""
        try:
            str(value).encode("utf-8")
        except UnicodeEncodeError:
            self.fail(f"'{value}' is not text in UTF-8.", param, ctx)
        return str(value)


PATH, OUTPUT, BANK, TEXT = PathType(), OutputType(), BankType(), TextType()


def _tokenizer_folder(
    ctx: click.Context, param: click.Parameter, value: Path | None
) -> Path | None:
    """The folder is asked for; its ``tokenizer.json`` says the same."""
    return value.parent if value is not None and value.name == "tokenizer.json" else value


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
threads_option = click.option("--threads", type=click.IntRange(1), help="CPU threads of a run.")
provider_option = click.option(
    "--provider", help="Where to run: cpu, cuda, tensorrt or openvino.  [default: tensorrt of a "
    "bundle with engines, else what tune found, else cpu]",
)  # fmt: skip
family_option = click.option(
    "--family", type=click.Choice(["native", "msclap", "laion", "transformers", "open_clip"]),
    help="Read the checkpoint as one of this family.  [default: told by its content]",
)  # fmt: skip
tokenizer_option = click.option(
    "--tokenizer", type=PATH, callback=_tokenizer_folder,
    help="Folder of the text tower's tokenizer, for families whose files bring none.  "
    "[default: from the Hugging Face hub]",
)  # fmt: skip
listing_option = click.option(
    "--listing", type=PATH,
    help="CSV of labelled recordings: path (relative to the file), label (several: a|b).",
)  # fmt: skip
template_option = click.option(
    "--template", "templates", type=TEXT, multiple=True,
    help="Prompt with one {} for the label; several are averaged.  [default: the bundle's]",
)  # fmt: skip
scores_option = click.option(
    "--scores", type=click.Choice(["softmax", "cosine", "multilabel"]),
    help="What the score is.  [default: softmax; of a head its own]",
)  # fmt: skip
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace existing files.")
batch_size_option = click.option(
    "--batch-size", type=click.IntRange(1),
    help="Windows given to the engine at once.  [default: 4 on a CPU, else 16]",
)  # fmt: skip
max_seconds_option = click.option(
    "--max-seconds", type=float, help="Refuse longer recordings.  [default: none]"
)
label_column_option = click.option(
    "--label", default="label", show_default=True, help="Column of the labels in a listing.",
)  # fmt: skip
group_column_option = click.option(
    "--group", help="Column of a listing: recordings with the same value are left out together, "
    "such as those cut from one recording.",
)  # fmt: skip

public_key_option = click.option(
    "--public-key", type=PATH, help="PEM file: refuse a bundle that this Ed25519 key did not sign.",
)  # fmt: skip


def all_of(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator of several options, in the order in which help shows them."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


checkpoint_options = all_of(family_option, tokenizer_option)
ranking_options = all_of(
    scores_option,
    click.option("--threshold", type=float, help="Drop labels with a lower score."),
    click.option("--min-similarity", type=float, help="Drop labels with a lower cosine."),
)


def typed(ctx: click.Context) -> list[str]:
    """The options that were given, as they are typed: ``--out``."""
    default = click.core.ParameterSource.DEFAULT
    return [
        option.opts[0]
        for option in ctx.command.params
        if isinstance(option, click.Option)
        and ctx.get_parameter_source(option.name or "") not in (None, default)
    ]
