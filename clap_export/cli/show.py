"""What commands print: tables for people, JSON for machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from clap_export.cli import console
from clap_export.cli.console import cell
from clap_export.cli.console import stages as stages
from clap_export.command import terminal
from runtime import schema
from runtime import tuned as runtime_tuned
from runtime.backends import no_bfloat16
from runtime.bundle import Bundle
from runtime.engines import Engine
from runtime.manifest import IN_FILES, Manifest, Parity, read_manifest
from runtime.tuned import Tuned

if TYPE_CHECKING:
    from clap_export.parity.accuracy import Accuracy


def exported(folder: Path, result: Parity) -> None:
    """The summary at the end of an export."""
    manifest(Bundle(folder, check_hashes=False))
    parity(result)
    state = "verified" if result.passed else "NOT within the limits; the manifest says so"
    terminal.say(f"bundle {folder}: {state}")


def built(folder: Path, result: Parity | None) -> None:
    """The engines of a bundle, and their gates if they could run."""
    engines = read_manifest(folder).engines
    assert engines is not None  # they have just been built
    for each in engines.each:
        engine(each)
    if result is None:
        terminal.say("built ahead of time: nothing here can run them, so they were not measured.")
    else:
        parity(result)


def engine(found: Engine, as_json: bool = False) -> None:
    """An engine that was built."""
    if as_json:
        terminal.say_json(schema.to_plain(found), indent=2)
        return
    layers = ", ".join(f"{count} {kind}" for kind, count in found.layers.items())
    terminal.say(f"{found.file}: {_engine(found)}; layers by type: {layers}")


def inspected(bundle: Bundle) -> None:
    """A bundle, what it runs on here, and what was measured on it."""
    manifest(bundle)
    terminal.say(f"here: {_here(bundle)}")
    if bundle.manifest.parity is not None:
        parity(bundle.manifest.parity)


def _here(bundle: Bundle) -> str:
    """What a bundle runs on where no provider is asked for, and in what."""
    if bundle.manifest.engines is not None:
        return "tensorrt"
    choice, graph = runtime_tuned.choice(bundle), bundle.manifest.audio_graph
    provider = "cpu" if choice is None else choice.provider
    said = f"{provider}, in {graph.in_file}"
    if graph.bfloat16:
        missing = no_bfloat16()
        if missing:
            said += f" and not in {graph.precision}: {missing}"
        elif provider == "openvino":
            said = f"{provider}, in {graph.precision}"
        else:
            said += f"; in {graph.precision} with --provider openvino"
    if choice is None:
        return f"{said}; not tuned (clap-export tune {bundle.folder})"
    threads = "" if choice.threads is None else f", {choice.threads} threads"
    return f"{said}; tuned: batches of {choice.batch_size}{threads}"


def tuned(found: Mapping[Path, Tuned]) -> None:
    """What bundles are quickest with here, and what was tried."""
    for folder, choice in found.items():
        sizes = sorted({timing.batch for timing in choice.timings})
        columns = ("engine", "precision", "threads", *(f"batch {n}" for n in sizes))
        table = console.new_table(*columns, title=f"{folder}: ms a window", left=columns[:2])
        ways = {(t.provider, t.bfloat16, t.threads): {} for t in choice.timings}
        for t in choice.timings:
            ways[t.provider, t.bfloat16, t.threads][t.batch] = t.milliseconds
        for (provider, half, threads), times in ways.items():
            precision = (
                choice.precision if half else IN_FILES.get(choice.precision, choice.precision)
            )
            figures = (f"{times[n]:.2f}" if n in times else "" for n in sizes)
            row = (provider, precision, "all" if threads is None else str(threads), *figures)
            table.add_row(*map(cell, row))
        console.print_table(table)
        threads = "all" if choice.threads is None else choice.threads
        terminal.say(
            f"{runtime_tuned.path_of(folder)}: {choice.provider}, threads: {threads}, batches of "
            f"{choice.batch_size}"
        )
    if len(found) > 1:
        terminal.say(f"the quickest is {next(iter(found))}")


def tuned_json(found: Mapping[Path, Tuned]) -> None:
    """The same as JSON, by bundle."""
    plain = {str(folder): schema.to_plain(choice) for folder, choice in found.items()}
    terminal.say_json(plain, indent=2)


def manifest(bundle: Bundle) -> None:
    """A bundle, readably."""
    m = bundle.manifest
    table = Table(title=cell(f"bundle {m.name}"), show_header=False)
    for name, lines in _rows(m).items():
        table.add_row(cell(name), Text("\n").join(cell(line) for line in lines))
    console.print_table(table)


def _rows(m: Manifest) -> dict[str, tuple[str, ...]]:
    """What is said of a bundle, in lines."""
    window = m.audio.window_samples / m.audio.sample_rate
    mel = m.audio.mel
    verified = "not yet" if m.parity is None else "passed" if m.parity.passed else "FAILED"
    rows: dict[str, tuple[str, ...]] = {
        "source": (f"{m.source.family}: {m.source.checkpoint} ({m.source.sha256[:12]}…)",),
        "licence": (m.source.licence,),
        "embedding space": (f"{m.space_id}, {m.embedding_dim} dimensions",),
        "logit scale": (f"{m.logit_scale:.3f}",),
        "audio": (
            f"{m.audio.sample_rate} Hz, windows of {window:g} s, short clips: {m.audio.fill}",
        ),
        "mel": (
            f"{mel.n_mels} bins, {mel.f_min:g}-{mel.f_max:g} Hz, n_fft {mel.n_fft}, "
            f"hop_length {mel.hop_length}, {mel.scale}",
        ),
        "windows": (_policy(m),),
        "clip space": (m.policy.clip_space_id(m.space_id, m.audio),),
        "text": ("none: for use with label banks",)
        if m.text is None
        else (f"{m.text.max_tokens} tokens, template {m.default_template!r}",),
    }
    for name, g in zip(("audio", "text"), m.graphs, strict=False):
        rows[f"{name} graph"] = (f"{g.file}, {g.precision}, opset {g.opset}",)
    rows["files"] = tuple(f"{n}  {e.bytes / 1e6:.2f} MB" for n, e in m.files.items())
    rows["made with"] = (", ".join(f"{name} {version}" for name, version in m.tools.items()),)
    rows["verified"] = (verified,)
    if m.engines is not None:
        pairs = zip(("audio", "text"), m.engines.each, strict=False)
        rows |= {f"{name} engine": (f"{e.file}, {_engine(e)}",) for name, e in pairs}
    rows |= {f"warning: {found.name}": (found.detail,) for found in m.findings}
    for c in m.race:
        rows[f"{c.precision} on {c.provider}"] = (
            f"{c.single:.1f} ms a window, in batches {c.batched:.1f} ms{', chosen' * c.chosen}",
        )
    return rows


def _policy(m: Manifest) -> str:
    """Which windows are heard, and how they are pooled."""
    policy = m.policy
    if policy.windows == "fusion":
        return f"{policy.name}: feature fusion"
    count = "all" if policy.count is None else f"{policy.count}, {policy.windows}"
    hop = policy.hop_samples(m.audio) / m.audio.sample_rate
    return f"{policy.name}: {count}, every {hop:g} s, the rest {policy.tail}; {policy.pooling}"


def _engine(found: Engine) -> str:
    return (
        f"{found.precision}, {found.library} {found.version}, compute capability "
        f"{', '.join(found.compute_capabilities)}, batches to {found.max_batch}"
    )


def manifest_json(found: Manifest) -> None:
    """The manifest as it is."""
    terminal.say_json(schema.to_plain(found), indent=2)


def parity(result: Parity) -> None:
    """The gates: what was measured, which is the tolerance that would have been needed."""
    headings = ("figure", "measured", "limit", "")
    title = f"gates, through the runtime on {result.provider}"
    table = console.new_table(*headings, title=title, left=("figure",))
    for check in result.checks:
        unit = _unit(check.unit)
        word = "ok" if check.passed else "FAILED"
        row = (check.name, f"{check.value:.2e}{unit}", f"{check.limit:.0e}{unit}", word)
        table.add_row(*map(cell, row))
    console.print_table(table)


def _unit(unit: str) -> str:
    return f" {unit}" if unit else ""


def parity_json(result: Parity) -> None:
    """The same as JSON."""
    terminal.say_json(schema.to_plain(result), indent=2)


def accuracy(found: Sequence[Accuracy], agree: float | None, as_json: bool) -> None:
    """Accuracy of a bundle and of the one beside it, and how often they agree."""
    if as_json:
        plain = [schema.to_plain(one) for one in found]
        rest = {"against": plain[1], "agreement": agree} if agree is not None else {}
        terminal.say_json({**plain[0], **rest})
        return
    headings = ("", "top 1", "95 % interval", "top 5", "mean average precision")
    title = f"{found[0].clips} recordings, {found[0].labels} labels"
    table = console.new_table(*headings, title=title, left=("",))
    for name, one in zip(("bundle", "against"), found, strict=False):
        figures = (one.top1, one.top5, one.mean_average_precision)
        best, *others = (f"{100 * figure:.1f} %" for figure in figures)
        low, high = one.interval
        table.add_row(name, best, f"{100 * low:.1f}-{100 * high:.1f}", *others)
    console.print_table(table)
    if agree is not None:
        terminal.say(f"both give the same best label to {100 * agree:.1f} % of the recordings")
