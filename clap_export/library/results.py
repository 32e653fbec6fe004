"""What was found, as a file for a machine, a player or a browser. Every text of a user is data
there, whatever it looks like."""

from __future__ import annotations

import csv as csv_
import html as html_
import io
import json as json_
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path, PureWindowsPath
from urllib.parse import quote

from clap_export.timelines.marks import cell
from runtime import files
from runtime.errors import ClapError
from runtime.library.library import Hit
from runtime.plain_text import is_control, printable

COLUMNS = ("rank", "similarity", "path", "member", "start", "end")
STYLE = (
    "body{font:16px/1.4 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;"
    "color-scheme:light dark}li{margin:.8rem 0}audio{width:100%}small{opacity:.7}"
)
# The page plays files of this machine, and does nothing else.
POLICY = "default-src 'none'; media-src file:; style-src 'unsafe-inline'"


def json(hits: Sequence[Hit], title: str) -> str:
    """One object a line."""
    return "".join(json_.dumps(asdict(hit)) + "\n" for hit in hits)


def csv(hits: Sequence[Hit], title: str) -> str:
    """A row for each, for spreadsheets too."""
    text = io.StringIO()
    rows = csv_.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for rank, hit in enumerate(hits, 1):
        end = "" if hit.end is None else f"{hit.end:.6f}"
        times = f"{hit.start:.6f}", end
        rows.writerow(
            (rank, f"{hit.similarity:.6f}", cell(hit.path), cell(hit.member or ""), *times)
        )
    return text.getvalue()


def m3u8(hits: Sequence[Hit], title: str) -> str:
    """A playlist; of windows with the times that VLC goes by. No player opens shards."""
    lines = ["#EXTM3U"]
    for hit in hits:
        if hit.member is not None:
            lines.append(f"# in a shard: {printable(where(hit))}")
            continue
        seconds = -1 if hit.end is None else round(hit.end - hit.start)
        lines.append(f"#EXTINF:{seconds},{printable(Path(hit.path).name)}")
        if hit.start > 0:
            lines.append(f"#EXTVLCOPT:start-time={hit.start:.3f}")
            if hit.end is not None:
                lines.append(f"#EXTVLCOPT:stop-time={hit.end:.3f}")
        # A line is a comment, or a path as it is; of what is no path from a root, which may be an
        # address on the net, that is not known.
        plain = _is_rooted(hit.path) and not any(map(is_control, hit.path))
        lines.append(hit.path if plain else _address(hit.path))
    return "\n".join(lines) + "\n"


def html(hits: Sequence[Hit], title: str) -> str:
    """A page with a player for each."""
    shown = _escaped(title)
    items = "\n".join(map(_listed, hits))
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{shown}</title>\n<style>{STYLE}</style>\n<h1>{shown}</h1>\n"
        f"<ol>\n{items}\n</ol>\n</html>\n"
    )


def _listed(hit: Hit) -> str:
    end = "" if hit.end is None else f"-{hit.end:.1f} s"
    times = f", {hit.start:.1f}{end}" if hit.end is not None else ""
    said = f"{_escaped(where(hit))} <small>{hit.similarity:.3f}{times}</small>"
    if hit.member is not None:
        return f"<li>{said} <small>(in a shard)</small></li>"
    part = f"#t={hit.start:.3f},{hit.end:.3f}" if hit.end is not None else ""
    place = html_.escape(_address(hit.path) + part, quote=True)
    return f'<li>{said}<br><audio controls preload="none" src="{place}"></audio></li>'


def _address(path: str) -> str:
    """The URI of a file; a library may have been made on another system, or by another program."""
    if Path(path).is_absolute():
        return Path(path).as_uri()
    if PureWindowsPath(path).is_absolute():
        return "file:///" + quote(PureWindowsPath(path).as_posix(), safe="/:")
    return quote(path)


def _is_rooted(path: str) -> bool:
    return Path(path).is_absolute() or PureWindowsPath(path).is_absolute()


def _escaped(text: str) -> str:
    return html_.escape(printable(text), quote=True)


def where(hit: Hit) -> str:
    """The place of a recording, for people."""
    return hit.path if hit.member is None else f"{hit.path}: {hit.member}"


FORMATS: dict[str, Callable[[Sequence[Hit], str], str]] = {
    ".json": json, ".csv": csv, ".m3u8": m3u8, ".html": html,
}  # fmt: skip


def check(paths: Sequence[Path], *, overwrite: bool) -> None:
    """Say before the search what :func:`write` would say behind it.

    Args:
        paths: of all files.
        overwrite: replace files that are there.

    Raises:
        ClapError: an ending is of no form, a file exists, or one is to be written twice.
    """
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        _check_ending(path)
        files.check_new(path, overwrite=overwrite)
        if places.count(place) > 1:
            raise ClapError(f"'{path}' is to be written twice: give two names.")


def _check_ending(path: Path) -> None:
    if path.suffix.lower() not in FORMATS:
        raise ClapError(
            f"'{path}': the name must end in {', '.join(FORMATS)}, which says what is written."
        )


def write(hits: Sequence[Hit], title: str, path: Path, *, overwrite: bool) -> None:
    """Write a file of what was found.

    Args:
        hits: best first.
        title: of the page, such as the query.
        path: whose ending says which form.
        overwrite: replace a file that is there.

    Raises:
        ClapError: the ending is of no form, or the file exists or cannot be written.
    """
    _check_ending(path)
    with files.writing(path, overwrite=overwrite) as part:
        text = FORMATS[path.suffix.lower()](hits, title)
        part.write_text(text, encoding="utf-8", newline="")
