"""``python -m train``: train a CLAP model, or evaluate one."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click

from runtime.errors import ClapError


@click.group()
def main() -> None:
    """Train a CLAP model (run CONFIG.toml) or evaluate a checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def run(config: Path) -> None:
    """Train as CONFIG.toml says, or resume where the run stopped."""
    from train import config as reader
    from train.run import run as run_config

    click.echo(run_config(reader.load(config)))


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(checkpoint: Path, config: Path, as_json: bool) -> None:
    """Zero-shot accuracy of CHECKPOINT on the tasks of CONFIG.toml."""
    from train import config as reader
    from train import report

    results = report.run_tasks(checkpoint, reader.load(config))
    report.show([report.summarise(name, found) for name, found in results.items()], as_json)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def calibrate(checkpoint: Path, config: Path, output: Path) -> None:
    """Fit CHECKPOINT's multi-label calibration on the tasks of CONFIG.toml; write OUTPUT."""
    from clap_export.checkpoints import load, native
    from train import calibrate as platt
    from train import config as reader
    from train.report import run_tasks

    loaded = load(checkpoint)
    found = platt.apply(loaded.model, list(run_tasks(checkpoint, reader.load(config)).values()))
    native.save(output, loaded.model, loaded.tokenizer)
    click.echo(f"sigmoid({found.scale:.3f} * cosine {found.bias:+.3f}) -> {output}")


def entry() -> None:
    """Errors of the user in one sentence, exit code 2; ``python -m train CONFIG.toml`` runs it."""
    arguments = sys.argv[1:]
    if arguments and arguments[0].endswith(".toml"):
        arguments = ["run", *arguments]
    try:
        main(args=arguments, prog_name="python -m train")
    except ClapError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    entry()
