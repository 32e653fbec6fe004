"""``python -m train``: train a CLAP model, or evaluate one."""

from __future__ import annotations

import logging
import os
import sys
from functools import partial
from pathlib import Path
from typing import Literal

import click

from clap_export.command import ending
from clap_export.command.group import Group
from clap_export.command.terminal import Printable
from runtime.errors import ClapError
from train.machine.heap import keep_freed_memory


@click.group(cls=Group)
def main() -> None:
    """Train a CLAP model (run CONFIG.toml) or evaluate a checkpoint."""
    handler = logging.StreamHandler()
    handler.setFormatter(Printable("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    keep_freed_memory()


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Repeatable.")
@click.option("--override", is_flag=True, help="Resume although the config is another one now.")
@click.option("--dry-run", is_flag=True, help="Check all that it needs, and make two steps.")
def run(config: Path, changes: tuple[str, ...], override: bool, dry_run: bool) -> None:
    """Train as CONFIG.toml says, or resume where the run stopped.

    --set lays values over the config, such as loop.learning_rate=1e-4 or tasks.0.name=birds.
    """
    from train.config.contrastive import load

    asked = load(config, changes)  # a mistake in it is said before torch is loaded
    if dry_run:
        from train.contrastive.rehearsal import rehearse

        click.echo("\n".join(rehearse(asked, override).lines()))
        return
    from train.contrastive.run import run as run_config

    finished = run_config(asked, override)
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
@click.option(
    "--leave-out",
    "trained_on",
    type=click.Path(path_type=Path),
    help="Config, or file of names, that MODEL was trained on: the rest counts as unseen.",
)
@click.option("--each-prompt", is_flag=True, help="Also score every prompt alone.")
@click.option("--none-of-these", is_flag=True, help="Also: are sounds of no label told by scores?")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def evaluate(
    model: Path, config: Path | None, task: str | None, data: Path | None,
    supervised: Literal["linear", "mlp", "finetune"] | None,
    templates: tuple[str, ...], extension: str | None, seed: int, plot: Path | None,
    others: tuple[Path, ...], trained_on: Path | None, each_prompt: bool,
    none_of_these: bool, as_json: bool,
) -> None:  # fmt: skip
    """MODEL on the tasks of CONFIG.toml, or on published benchmarks (--task and --data).

    With CONFIG.toml MODEL is a checkpoint, and --with, --leave-out, --each-prompt and
    --none-of-these may be given; a benchmark takes a bundle's folder too, and --supervised and
    --extension. --template and --plot go with both: with CONFIG.toml the picture is what was taken
    for what.
    """
    if config is None:
        from train.published import command

        if others or trained_on or each_prompt or none_of_these:
            raise ClapError(
                "--with, --leave-out, --each-prompt and --none-of-these go with CONFIG.toml, and "
                "not with --task."
            )
        if task is None or data is None:
            raise ClapError(
                "evaluate needs CONFIG.toml, or --task and --data: say on what MODEL is evaluated."
            )
        setup = "zero-shot" if supervised is None else supervised
        request = command.EvaluationRequest(model, task, data, setup, templates, extension, seed)
        command.run(request, plot=plot, as_json=as_json)
        return
    if task or data or supervised or extension:
        raise ClapError(
            f"evaluate was given {config}: its tasks take no --task, --data, --supervised and "
            "--extension. Leave those out, or give --task and --data without it."
        )
    from runtime.prompts import check_templates
    from train.config.listings import tasks_of
    from train.zero_shot import confusion, summary
    from train.zero_shot.neighbours import training_names
    from train.zero_shot.run import Asked
    from train.zero_shot.run import evaluate as evaluate_tasks

    used = check_templates(templates) if templates else ()
    recipe = tasks_of(config)
    names = () if trained_on is None else training_names(trained_on)
    found = evaluate_tasks(Asked((model, *others), used, names, each_prompt, none_of_these), recipe)
    summary.show([summary.summarise(t, found[t.name]) for t in recipe.tasks], as_json)
    if plot is None:
        return
    for name, one in found.items():
        several = plot.with_stem(f"{plot.stem}-{name}") if len(found) > 1 else plot
        confusion.plot(one.result, f"{model.name} on {name}", several)


@main.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("config", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def calibrate(checkpoint: Path, config: Path, output: Path) -> None:
    """Fit CHECKPOINT's multi-label calibration on the tasks of CONFIG.toml; write OUTPUT."""
    from clap_export import checkpoints
    from clap_export.checkpoints import native
    from train.config.listings import tasks_of
    from train.zero_shot.calibrate import apply
    from train.zero_shot.run import run_tasks

    asked = tasks_of(config)
    loaded = checkpoints.load(checkpoint)
    found = apply(loaded.model, list(run_tasks([checkpoint], asked).values()))
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


@main.command("to-transformers")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def to_transformers(checkpoint: Path, output: Path) -> None:
    """Write CHECKPOINT (an HTSAT with a RoBERTa) as the folder of a transformers ClapModel."""
    from train.formats.transformers import to_transformers as write

    write(checkpoint, output)
    click.echo(output)


@main.command("to-laion")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def to_laion(checkpoint: Path, output: Path) -> None:
    """Write CHECKPOINT (of a shape that laion_clap has) as a .pt that laion_clap loads."""
    from train.formats.laion import to_laion as write

    click.echo(f"{write(checkpoint, output)} -> {output}")


@main.command()
@click.argument("saved_model", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True)
def yamnet(saved_model: Path, output: Path) -> None:
    """Write the weights of YAMNet's SAVED_MODEL (a folder) for [tagger]."""
    from train.tagger.convert import convert

    convert(saved_model, output)
    click.echo(output)


@main.command()
@click.argument("kind", type=click.Choice(["run", "distil", "bridge"]))
def options(kind: str) -> None:
    """Print every key that the config of a run, a distillation or a bridge may have."""
    from train.config import describe

    click.echo(describe.page(describe.root(kind)), nl=False)


@main.command()
@click.argument("config", type=click.Path(path_type=Path))
@click.option("--choose", is_flag=True, help="Print numbers that suit its clips; build nothing.")
def bridge(config: Path, choose: bool) -> None:
    """Make one CLAP of the audio tagger and the text encoder that CONFIG.toml names."""
    from train.config.bridge import load

    asked = load(config)
    from train.bridge import run

    click.echo(run.choose(asked) if choose else run.run(asked))


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
    from train.config.listings import tasks_of
    from train.zero_shot import listing_file

    clips = listing_file.write(tasks_of(config).tasks, task, output)
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

    It ends as every command does; see :mod:`clap_export.command.ending`.
    """
    arguments = sys.argv[1:]
    if arguments and arguments[0].endswith(".toml"):
        arguments = ["run", *arguments]
    work = partial(main.main, args=arguments, prog_name="python -m train", standalone_mode=False)
    sys.exit(ending.code_of(work))


if __name__ == "__main__":
    entry()
