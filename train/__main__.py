"""``python -m train``: train a CLAP model, or evaluate one."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Literal

import click

from runtime.errors import ClapError
from runtime.plain_text import printable


@click.group()
def main() -> None:
    """Train a CLAP model (run CONFIG.toml) or evaluate a checkpoint."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def run(config: Path) -> None:
    """Train as CONFIG.toml says, or resume where the run stopped."""
    from train.config.contrastive import load

    asked = load(config)  # a mistake in it is said before torch is loaded
    from train.contrastive.run import run as run_config

    finished = run_config(asked)
    if os.environ.get("RANK", "0") == "0":  # once, however many processes torchrun started
        click.echo(finished)


@main.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.option("--task", help="Benchmarks of the CLAP paper: NAME[,NAME...] or all.")
@click.option("--data", type=click.Path(path_type=Path), help="Folder of the data sets.")
@click.option("--supervised", type=click.Choice(["linear", "mlp", "finetune"]), help="Train first.")
@click.option("--template", "templates", multiple=True, help="Prompt with one {}; repeatable.")
@click.option("--extension", help="Of audio files that were converted, such as flac.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of what is trained.")
@click.option("--plot", type=click.Path(path_type=Path), help="Write a picture, such as out.png.")
@click.option(
    "--with", "others", multiple=True, type=click.Path(path_type=Path),
    help="A further checkpoint; probabilities are averaged. Repeatable.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    model: Path, config: Path | None, task: str | None, data: Path | None,
    supervised: Literal["linear", "mlp", "finetune"] | None,
    templates: tuple[str, ...], extension: str | None, seed: int, plot: Path | None,
    others: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """MODEL on the tasks of CONFIG.toml, or on published benchmarks (--task and --data).

    With CONFIG.toml MODEL is a checkpoint, and --with may be given; a benchmark takes a bundle's
    folder too, and --supervised, --extension and --plot. --template goes with both.
    """
    if config is None:
        from train.published import command

        if others:
            raise ClapError("--with goes with CONFIG.toml: benchmarks are run on one model.")
        if task is None or data is None:
            raise ClapError(
                "evaluate needs CONFIG.toml, or --task and --data: say on what MODEL is evaluated."
            )
        setup = "zero-shot" if supervised is None else supervised
        request = command.EvaluationRequest(model, task, data, setup, templates, extension, seed)
        command.run(request, plot=plot, as_json=as_json)
        return
    if task or data or supervised or extension or plot:
        raise ClapError(
            f"evaluate was given {config}, whose tasks take --with and --template alone: leave the "
            "other options out, or give --task and --data without it."
        )
    from runtime.prompts import check_templates
    from train.config.contrastive import load
    from train.zero_shot import summary
    from train.zero_shot.run import run_tasks

    used = check_templates(templates) if templates else ()
    recipe = load(config)
    results = run_tasks((model, *others), recipe, used)
    summary.show([summary.summarise(t, results[t.name]) for t in recipe.tasks], as_json)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def calibrate(checkpoint: Path, config: Path, output: Path) -> None:
    """Fit CHECKPOINT's multi-label calibration on the tasks of CONFIG.toml; write OUTPUT."""
    from clap_export import checkpoints
    from clap_export.checkpoints import native
    from train.config.contrastive import load
    from train.zero_shot.calibrate import apply
    from train.zero_shot.run import run_tasks

    loaded = checkpoints.load(checkpoint)
    found = apply(loaded.model, list(run_tasks([checkpoint], load(config)).values()))
    native.save(output, loaded.model, loaded.tokenizer)
    click.echo(f"sigmoid({found.scale:.3f} * cosine {found.bias:+.3f}) -> {output}")


@main.command()
@click.argument("checkpoints", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def average(checkpoints: tuple[Path, ...], output: Path) -> None:
    """Write the mean of the weights of CHECKPOINTS that went on from one another to OUTPUT."""
    from train.average import average as mean

    mean(checkpoints, output)
    click.echo(output)


@main.command()
@click.argument("saved_model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def yamnet(saved_model: Path, output: Path) -> None:
    """Write the weights of YAMNet's SAVED_MODEL (a folder) for [tagger]; needs TensorFlow."""
    from train.tagger.convert import convert

    convert(saved_model, output)
    click.echo(output)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def distil(config: Path) -> None:
    """Teach a small model the space of the teacher that CONFIG.toml names, or resume."""
    from train.config.distil import load
    from train.distil.run import run as run_config

    click.echo(run_config(load(config)))


@main.command()
@click.argument("listing_config", type=click.Path(path_type=Path))
@click.argument("eval_listing", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def overlap(listing_config: Path, eval_listing: Path, output: Path) -> None:
    """Write a blacklist of the clips of LISTING_CONFIG that EVAL_LISTING has too.

    Both are TOML files with [[listings]]; of a file that has [[tasks]] EVAL_LISTING means those.
    """
    from train.data.overlap import between

    found = between(listing_config, eval_listing)
    found.write(output)
    click.echo(f"{found.summary()} -> {output}")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("task")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def listing(config: Path, task: str, output: Path) -> None:
    """Write the clips of CONFIG.toml's TASK as a CSV for the --listing of clap-export."""
    from train.config.contrastive import load
    from train.zero_shot import listing_file

    clips = listing_file.write(load(config).tasks, task, output)
    click.echo(f"{clips} clips -> {output}")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option(
    "--threads", type=click.IntRange(min=1), help="Most of them; default one a usable core."
)
@click.option("--seconds", type=float, default=5.0, show_default=True, help="For each number.")
@click.option("--streamed", is_flag=True, help="Decode while drawing even what fits into memory.")
def throughput(recipe: Path, threads: int | None, seconds: float, streamed: bool) -> None:
    """Training windows a second that loading RECIPE.toml's data gives, with 1, 2, 4, … threads."""
    from runtime.cores import usable_cores
    from train.config.contrastive import load
    from train.data.throughput import measure

    for found in measure(load(recipe), threads or usable_cores(), seconds, streamed):
        where = "in memory" if found.held else "streamed"
        rate = f"{found.windows_per_second:9.1f} windows/s"
        click.echo(f"{found.threads:3d} threads  {rate}  {where}")


def entry() -> None:
    """Run a command; ``python -m train CONFIG.toml`` is short for ``run``.

    The process ends with 0 when all is done; 2 when the input is at fault, in one sentence; 130,
    143 or 129 when SIGINT, SIGTERM or SIGHUP stopped it; 141 when the reader of its output went
    away; 70, with a traceback, when the fault is ours.
    """
    arguments = sys.argv[1:]
    if arguments and arguments[0].endswith(".toml"):
        arguments = ["run", *arguments]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _end_in_order()
    try:
        sys.exit(main(args=arguments, prog_name="python -m train", standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ClapError as error:
        click.echo(printable(f"Error: {error}", keep="\n"), err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's last flush
        sys.exit(141)
    except Exception:
        traceback.print_exc()
        sys.exit(70)


def _end_in_order() -> None:
    """Turn SIGTERM and SIGHUP into an exception, so that half-written files are removed.

    Not under torchrun: a process that waits for the others in C would not hear of it, while the
    default ends it at once. What it leaves half-written the next run removes.
    """
    if "RANK" in os.environ:
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

    def end(number: int, _frame: object) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + number)

    for number in numbers:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup means it
            signal.signal(number, end)


class _Printable(logging.Formatter):
    """Names of files in messages are shown, and never act on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), keep="\n\t")


if __name__ == "__main__":
    entry()
