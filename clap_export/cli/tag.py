"""The verb ``tag``: labels for all recordings of a library.

Only click is imported here, as in :mod:`clap_export.cli`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli import options
from clap_export.cli.options import PATH
from clap_export.command import terminal
from clap_export.command.ending import BAD_INPUT, DONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from clap_export.library.audit import Audit
    from clap_export.library.given import Given
    from clap_export.library.tagging import Looked
    from clap_export.library.vectors import Vectors
    from runtime import LabelBank
    from runtime.scores import Ranking

TOP_K = 3


@dataclass(frozen=True)
class TagRequest:
    """What was asked of ``tag``; see the command's options.

    Attributes:
        labels: as typed; see :func:`clap_export.cli.classify.labels_of`; None to list tables.
        truth: labels that people gave; see :mod:`clap_export.library.given`.
        audit: file to write what was looked into to, or None.
        plot: picture of it, or None.
    """

    library: Path
    labels: str | None
    name: str
    templates: tuple[str, ...]
    top_k: int
    scores: str | None
    threshold: float | None
    min_similarity: float | None
    truth: Path | None
    label: str
    audit: Path | None
    plot: Path | None
    projection: str
    overwrite: bool
    bundle: Path | None
    provider: str | None

    def bank(self, vectors: Vectors) -> tuple[LabelBank, Ranking]:
        """The labels, and how they are ranked."""
        from clap_export.cli.classify import labels_of
        from runtime import Encoder, LabelBank
        from runtime.errors import LabelError
        from runtime.library.description import LibraryError
        from runtime.manifest import read_manifest
        from runtime.scores import Ranking

        said = vectors.description
        found = labels_of(self.labels or "")
        bounds = self.threshold, self.min_similarity, self.top_k
        if isinstance(found, LabelBank):
            if self.templates:
                raise LabelError("--template does not apply to a saved bank: build it with them.")
            found.check_space(said.space_id)
            found.check_dim(said.dim, "library")
            if found.head is not None:  # with all it takes inside
                ranking = Ranking.of(None, self.scores, *bounds)
                return found, ranking.of_labels(found.head, self.scores)
        bundle = self.bundle or Path(said.model.bundle)
        if not bundle.is_dir():
            raise LibraryError(
                f"the bundle of the library '{self.library}' was '{bundle}', which is not there: "
                "name it with --bundle."
            )
        manifest = read_manifest(bundle)
        if manifest.space_id != said.space_id:
            raise LibraryError(
                f"the library '{self.library}' holds vectors of the model '{said.model.name}' "
                f"(space {said.space_id}), and '{bundle}' is of '{manifest.name}' (space "
                f"{manifest.space_id}): name a bundle of the library's model."
            )
        ranking = Ranking.of(manifest, self.scores, *bounds).of_labels(None, self.scores)
        if isinstance(found, LabelBank):
            return found, ranking
        with Encoder(bundle, providers=self.provider and (self.provider,)) as encoder:
            return LabelBank.build(encoder, found, self.templates or None), ranking


@click.command()
@click.argument("library", type=PATH)
@click.argument("labels", type=str, required=False)
@click.option("--name", default="labels", show_default=True, help="Of the table that is written.")
@options.template_option
@click.option(
    "--top-k", type=click.IntRange(1), default=TOP_K, show_default=True,
    help="Most labels of a recording.",
)  # fmt: skip
@options.ranking_options
@click.option(
    "--truth", type=PATH,
    help="Compare with labels that people gave: a listing, or a folder with one for each label.",
)  # fmt: skip
@options.label_column_option
@click.option(
    "--audit", type=PATH,
    help="File (.csv) of recordings, those first whose label their neighbours have not; of the "
    "labels of --truth, or else those that are found.",
)  # fmt: skip
@click.option("--plot", type=PATH, help="Draw the same (.png, .svg or .pdf).")
@click.option(
    "--projection", type=click.Choice(["pca", "umap"]), default="pca", show_default=True,
    help="How vectors become points of the picture; umap needs umap-learn.",
)  # fmt: skip
@options.overwrite_option
@click.option("--bundle", type=PATH, help="Of the library's model.  [default: the library's own]")
@options.provider_option
@options.json_option
def tag(as_json: bool, **given: Any) -> int:
    """Label all recordings of a LIBRARY with LABELS, from its vectors: no recording is read.

    LABELS are names between commas, a file of them, or a saved bank or head, as for classify. What
    is found goes to LIBRARY/tags/NAME.parquet. Without LABELS: list the tables that are there, and
    whether the library has changed since.
    """
    request = TagRequest(**given)
    typed = options.typed(click.get_current_context())
    if request.labels is None:
        if wrong := [name for name in typed if name != "--json"]:
            raise click.UsageError(f"{wrong[0]} needs LABELS: without them the tables are listed.")
        return _list(request.library, as_json)
    for name, other in (("--label", "--truth"), ("--projection", "--plot")):
        if name in typed and other not in typed:
            raise click.UsageError(f"{name} needs {other}.")
    from clap_export.cli import show, tagged
    from clap_export.library import tags
    from clap_export.library.vectors import Vectors
    from runtime import files

    for path in (request.audit, request.plot):
        if path is not None:
            files.check_new(path, overwrite=request.overwrite)
    with show.stages() as progress:
        vectors = Vectors(request.library)
        bank, ranking = request.bank(vectors)
        truth = _truth(request, vectors)
        start = time.perf_counter()
        looked = _tagged(request, vectors, bank, ranking, truth)
        seconds = time.perf_counter() - start
        audited = _audited(request, looked, progress)
    agreement = looked.judge.agreement() if looked.judge is not None else None
    path = tags.path_of(request.library, request.name)
    report = tagged.Report(path, bank.names, looked, seconds, request.truth, agreement, audited)
    if as_json:
        tagged.print_json(report)
    else:
        tagged.print_table(report)
    if len(bank) == 1 and ranking.mode == "softmax":
        terminal.warn(f"Warning: softmax over one label, {bank.names[0]!r}, is always 1.000.")
    for problem in vectors.problems:
        terminal.warn(f"Error: {problem}")
    return BAD_INPUT if vectors.problems else DONE


def _truth(request: TagRequest, vectors: Vectors) -> Given | None:
    from clap_export.library import given
    from clap_export.library.given import Columns

    if request.truth is None:
        return None
    keys = vectors.keys() if request.truth.is_dir() else ()
    return given.read(request.truth, Columns(request.label), keys)


def _tagged(
    request: TagRequest, vectors: Vectors, bank: LabelBank, ranking: Ranking, truth: Given | None
) -> Looked:
    from clap_export.library import tags
    from clap_export.library.tagging import Looked

    looks = request.audit is not None or request.plot is not None
    looked = Looked(bank.names, truth, looks)
    with tags.writing(vectors, request.name, bank, ranking, overwrite=request.overwrite) as table:
        for some in tags.tagged(vectors, bank, ranking):
            table.add(some)
            looked.see(some)
    return looked


def _audited(request: TagRequest, looked: Looked, progress: Callable[[str], None]) -> Audit | None:
    from clap_export.library import audit

    if request.audit is None and request.plot is None:
        return None
    progress("comparing recordings with each other")
    found = audit.audit(*looked.labelled())
    if request.audit is not None:
        audit.write(found, request.audit, overwrite=request.overwrite)
    if request.plot is not None:
        audit.draw(found, request.plot, request.projection, overwrite=request.overwrite)
    return found


def _list(library: Path, as_json: bool) -> int:
    from clap_export.cli import console
    from clap_export.cli.console import cell
    from clap_export.library import tags
    from runtime.errors import ClapError
    from runtime.library import description

    description.read(library)
    bad = False
    rows: list[dict[str, Any]] = []
    for name in tags.names(library):
        try:
            said = tags.read(tags.path_of(library, name))
        except ClapError as error:
            terminal.warn(f"Error: {error}")
            bad = True
            continue
        rows.append({
            "name": name, "labels": list(said.labels), "scores": said.scores, "top_k": said.top_k,
            "stale": tags.is_stale(library, said),
        })  # fmt: skip
    if as_json:
        for row in rows:
            terminal.say_json(row)
    else:
        table = console.new_table("table", "labels", "scores", "state", left=("table", "state"))
        for row in rows:
            state = "stale: the library has changed since" if row["stale"] else "up to date"
            table.add_row(cell(row["name"]), f"{len(row['labels']):,}", row["scores"], state)
        console.print_table(table)
    return BAD_INPUT if bad else DONE
