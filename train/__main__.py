"""``python -m train``: train a CLAP model, or evaluate one."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from runtime.cores import usable_cores
from runtime.errors import ClapError


@click.group()
def main() -> None:
    """Train a CLAP model (run CONFIG.toml) or evaluate a checkpoint."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
def run(config: Path) -> None:
    """Train as CONFIG.toml says, or resume where the run stopped."""
    from train.config import contrastive as reader
    from train.contrastive.run import run as run_config

    finished = run_config(reader.load(config))
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
    model: Path, config: Path | None, task: str | None, data: Path | None, supervised: str | None,
    templates: tuple[str, ...], extension: str | None, seed: int, plot: Path | None,
    others: tuple[Path, ...], as_json: bool,
) -> None:  # fmt: skip
    """MODEL on the tasks of CONFIG.toml, or on published benchmarks (--task and --data).

    With CONFIG.toml MODEL is a checkpoint, and --with may be given; a benchmark takes a bundle's
    folder too, and --supervised, --extension and --plot. --template goes with both.
    """
    if config is None:
        from train.benchmark import command

        if others:
            raise ClapError("--with goes with CONFIG.toml: benchmarks are run on one model.")
        command.run(
            model, task, data, supervised=supervised, templates=templates, extension=extension,
            seed=seed, plot=plot, as_json=as_json,
        )  # fmt: skip
        return
    if task or data or supervised or extension or plot:
        raise ClapError(
            f"evaluate was given {config}, whose tasks take --with and --template alone: leave the "
            "other options out, or give --task and --data without it."
        )
    from runtime.prompts import check_templates
    from train.config import contrastive as reader
    from train.zero_shot import report

    used = check_templates(templates) if templates else ()
    recipe = reader.load(config)
    results = report.run_tasks((model, *others), recipe, used)
    report.show([report.summarise(t, results[t.name]) for t in recipe.tasks], as_json)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def calibrate(checkpoint: Path, config: Path, output: Path) -> None:
    """Fit CHECKPOINT's multi-label calibration on the tasks of CONFIG.toml; write OUTPUT."""
    from clap_export.checkpoints import load, native
    from train.config import contrastive as reader
    from train.zero_shot import calibrate as platt
    from train.zero_shot.report import run_tasks

    loaded = load(checkpoint)
    found = platt.apply(loaded.model, list(run_tasks([checkpoint], reader.load(config)).values()))
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
    from train.distil import config as distil_config
    from train.distil.run import run as run_config

    click.echo(run_config(distil_config.load(config)))


@main.command()
@click.argument("listing_config", type=click.Path(path_type=Path))
@click.argument("eval_listing", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def overlap(listing_config: Path, eval_listing: Path, output: Path) -> None:
    """Write a blacklist of the clips of LISTING_CONFIG that EVAL_LISTING has too.

    Both are TOML files with [[listings]]; of a file that has [[tasks]] EVAL_LISTING means those.
    """
    from train.data import overlap as search

    found = search.between(listing_config, eval_listing)
    found.write(output)
    click.echo(f"{found.summary()} -> {output}")


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.argument("task")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def listing(config: Path, task: str, output: Path) -> None:
    """Write the clips of CONFIG.toml's TASK as a CSV for the --listing of clap-export."""
    from train.config import contrastive as reader
    from train.zero_shot import listing_file as handover

    clips = handover.write(reader.load(config).tasks, task, output)
    click.echo(f"{clips} clips -> {output}")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--threads", type=click.IntRange(min=1), help="Most of them; default one a core.")
@click.option("--seconds", type=float, default=5.0, show_default=True, help="For each number.")
@click.option("--streamed", is_flag=True, help="Decode while drawing even what fits into memory.")
def throughput(recipe: Path, threads: int | None, seconds: float, streamed: bool) -> None:
    """Training windows a second that loading RECIPE.toml's data gives, with 1, 2, 4, … threads."""

    from train.config import contrastive as reader
    from train.data import throughput as meter

    most = threads or usable_cores()
    for found in meter.measure(reader.load(recipe), most, seconds, streamed):
        where = "in memory" if found.held else "streamed"
        rate = f"{found.windows_per_second:9.1f} windows/s"
        click.echo(f"{found.threads:3d} threads  {rate}  {where}")


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
