"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from runtime import ClapError, Classifier, Prediction, Segment, schema
from runtime.bundle import Bundle, Parity, read_manifest
from runtime.classifier import Result
from runtime.engines import Engine

if TYPE_CHECKING:
    from clap_export.bench import Report
    from clap_export.parity.accuracy import Accuracy


@contextmanager
def stages() -> Iterator[Callable[[str], None]]:
    """A spinner on standard error that names the stage at work."""
    with Console(stderr=True).status("starting") as status:
        yield lambda stage: status.update(f"{stage} …")


def exported(folder: Path, result: Parity) -> None:
    """The summary at the end of an export."""
    manifest(Bundle(folder, check_hashes=False))
    parity(result)
    state = "verified" if result.passed else "NOT within the limits; the manifest says so"
    click.echo(f"bundle {folder}: {state}")


def built(folder: Path, result: Parity | None) -> None:
    """The engines of a bundle, and their gates if they could run."""
    engines = read_manifest(folder).engines
    assert engines is not None  # they have just been built
    for engine in (engines.audio, engines.text):
        layers = ", ".join(f"{count} {kind}" for kind, count in engine.layers.items())
        click.echo(f"{engine.file}: {_engine(engine)}; layers by type: {layers}")
    if result is None:
        click.echo("built ahead of time: nothing here can run them, so they were not measured.")
    else:
        parity(result)


def manifest(bundle: Bundle) -> None:
    """A bundle, readably."""
    m = bundle.manifest
    table = Table(title=f"bundle {m.name}", show_header=False)
    window = m.audio.window_samples / m.audio.sample_rate
    mel = m.audio.mel
    verified = "not yet" if m.parity is None else "passed" if m.parity.passed else "FAILED"
    engines = {}
    if m.engines is not None:
        pairs = (("audio", m.engines.audio), ("text", m.engines.text))
        engines = {f"{name} engine": f"{e.file}, {_engine(e)}" for name, e in pairs}
    rows = {
        "source": f"{m.source.family}: {m.source.checkpoint} ({m.source.sha256[:12]}…)",
        "licence": m.source.licence,
        "embedding space": f"{m.space_id}, {m.embedding_dim} dimensions",
        "logit scale": f"{m.logit_scale:.3f}",
        "audio": f"{m.audio.sample_rate} Hz, windows of {window:g} s, short clips: {m.audio.fill}",
        "mel": f"{mel.n_mels} bins, {mel.f_min:g}-{mel.f_max:g} Hz, n_fft {mel.n_fft}, "
        f"hop_length {mel.hop_length}, {mel.scale}",
        "text": f"{m.text.max_tokens} tokens, template {m.default_template!r}",
        **{
            f"{name} graph": f"{graph.file}, {graph.precision}, opset {graph.opset}"
            for name, graph in (("audio", m.audio_graph), ("text", m.text_graph))
        },
        "files": "\n".join(f"{n}  {e.bytes / 1e6:.2f} MB" for n, e in m.files.items()),
        "made with": ", ".join(f"{name} {version}" for name, version in m.tools.items()),
        "verified": verified,
        **engines,
        **{f"warning: {found.name}": found.detail for found in m.findings},
        **{
            f"{c.precision} on {c.provider}": f"{c.single:.1f} ms a window, in batches "
            f"{c.batched:.1f} ms{', chosen' * c.chosen}"
            for c in m.race
        },
    }
    for name, value in rows.items():
        table.add_row(name, value)
    _print(table)


def _engine(engine: Engine) -> str:
    return (
        f"{engine.precision}, {engine.library} {engine.version}, compute capability "
        f"{', '.join(engine.compute_capabilities)}, batches to {engine.max_batch}"
    )


def manifest_json(folder: Path) -> None:
    """The manifest as it is."""
    click.echo(json.dumps(schema.to_plain(read_manifest(folder)), indent=2, ensure_ascii=False))


def parity(result: Parity) -> None:
    """The gates: what was measured, which is the tolerance that would have been needed."""
    table = Table(title=f"gates, through the runtime on {result.provider}")
    for heading in ("figure", "measured", "limit", ""):
        table.add_column(heading, justify="left" if heading == "figure" else "right")
    for check in result.checks:
        unit = f" {check.unit}" if check.unit else ""
        word = "ok" if check.passed else "FAILED"
        table.add_row(check.name, f"{check.value:.2e}{unit}", f"{check.limit:.0e}{unit}", word)
    _print(table)


def parity_json(result: Parity) -> None:
    """The same as JSON."""
    click.echo(json.dumps(schema.to_plain(result), indent=2))


def accuracy(found: Sequence[Accuracy], agree: float | None, as_json: bool) -> None:
    """Accuracy of a bundle and of the one beside it, and how often they agree."""
    if as_json:
        plain = [schema.to_plain(one) for one in found]
        rest = {"against": plain[1], "agreement": agree} if agree is not None else {}
        click.echo(json.dumps({**plain[0], **rest}))
        return
    table = Table(title=f"{found[0].clips} recordings, {found[0].labels} labels")
    for heading in ("", "top 1", "95 % interval", "top 5", "mean average precision"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, one in zip(("bundle", "against"), found, strict=False):
        figures = (one.top1, one.top5, one.mean_average_precision)
        best, *others = (f"{100 * figure:.1f} %" for figure in figures)
        low, high = one.interval
        table.add_row(name, best, f"{100 * low:.1f}-{100 * high:.1f}", *others)
    _print(table)
    if agree is not None:
        click.echo(f"both give the same best label to {100 * agree:.1f} % of the recordings")


def timelines(
    classifier: Classifier, files: Sequence[Path], hop: float | None
) -> Iterator[tuple[Path, list[Segment] | ClapError]]:
    """Segments of each file, or why there are none."""
    for file in files:
        try:
            yield file, classifier.timeline(file, hop=hop)
        except ClapError as error:
            yield file, error


def results(found: Iterable[Result | tuple[Path, list[Segment] | ClapError]]) -> int:
    """A table of predictions or segments as they come; returns the number of files that failed."""
    table = Table()
    for heading in ("file", "time", "label", "score", "similarity"):
        table.add_column(heading, justify="left" if heading in ("file", "label") else "right")
    failures: list[str] = []
    for name, segments in _segments(found):
        if isinstance(segments, ClapError):
            failures.append(str(segments))
            table.add_row(Path(name).name, "", "[red]could not be used[/red]", "", "")
            continue
        for start, end, predictions in segments:
            time = "" if end is None else f"{start:.1f}-{end:.1f} s"
            first = (Path(name).name, time)
            for p in predictions:
                table.add_row(*first, p.label, f"{p.score:.3f}", f"{p.similarity:.3f}")
                first = ("", "")
            if not predictions:
                table.add_row(*first, "(none of these)", "", "")
        table.add_section()
    _print(table)
    for failure in failures:
        click.echo(f"Error: {failure}", err=True)
    return len(failures)


def results_json(found: Iterable[Result | tuple[Path, list[Segment] | ClapError]]) -> int:
    """One JSON object per file and line; returns the number of files that failed."""
    failed = 0
    for name, segments in _segments(found):
        line: dict[str, object] = {"file": name}
        if isinstance(segments, ClapError):
            line["error"] = str(segments)
            failed += 1
        elif len(segments) == 1 and segments[0][1] is None:
            line["predictions"] = schema.to_plain(segments[0][2])
        else:
            line["segments"] = [
                {"start": start, "end": end, "predictions": schema.to_plain(predictions)}
                for start, end, predictions in segments
            ]
        click.echo(json.dumps(line, ensure_ascii=False))
    return failed


def _segments(
    found: Iterable[Result | tuple[Path, list[Segment] | ClapError]],
) -> Iterator[tuple[str, list[tuple[float, float | None, list[Prediction]]] | ClapError]]:
    """Both kinds of result alike: a whole file is one segment without an end."""
    for item in found:
        if isinstance(item, Result):
            yield str(item.source), item.error or [(0.0, None, item.predictions)]
        elif isinstance(item[1], ClapError):
            yield str(item[0]), item[1]
        else:
            yield str(item[0]), [(s.start, s.end, s.predictions) for s in item[1]]


def bench(
    report: Report, json_file: Path | None, markdown_file: Path | None, plot_file: Path | None
) -> None:
    """Print a bench report, and write it wherever asked."""
    from clap_export import bench as made

    _print(made.table(report))
    if json_file is not None:
        json_file.write_text(json.dumps(schema.to_plain(report), indent=2) + "\n", "utf-8")
    if markdown_file is not None:
        markdown_file.write_text(made.markdown(report), "utf-8")
    if plot_file is not None:
        made.plot(report, plot_file)


def _print(table: object) -> None:
    """A table at the terminal's width; wide enough not to wrap when it goes to a file."""
    width = None if sys.stdout.isatty() else 120
    Console(width=width).print(table)
