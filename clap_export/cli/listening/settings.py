"""What is listened for, as it was asked for: labels and rules, which may change meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from clap_export.cli.classify import file_of, labels_of
from clap_export.cli.listening import rules
from clap_export.command import terminal
from runtime.errors import ClapError

if TYPE_CHECKING:
    from runtime import Bundle, Classifier, Encoder, Rule

LOOK = 1.0  # seconds between looks at the files; one that changes is read when it rests for so long


@dataclass(frozen=True)
class Loaded:
    """What is listened for now.

    Attributes:
        classifier: with its labels.
        rules: of single labels.
    """

    classifier: Classifier
    rules: dict[str, Rule]


@dataclass(frozen=True)
class Settings:
    """What was asked for; see :class:`clap_export.cli.listen.ListenRequest`."""

    labels: str
    templates: tuple[str, ...]
    scores: Any
    rule: Rule
    rule_texts: tuple[str, ...]
    rules_file: Path | None
    only: tuple[str, ...]

    @property
    def files(self) -> tuple[Path, ...]:
        """Those that it is read from."""
        return tuple(path for path in (file_of(self.labels), self.rules_file) if path is not None)

    def load(self, bundle: Path | Bundle | Encoder, **given: Any) -> Loaded:
        """Read it.

        Args:
            bundle: of the classifier, or an encoder to share.
            given: to the classifier.

        Raises:
            ClapError, click.UsageError: something of it cannot be.
        """
        from runtime import Classifier, LabelBank

        typed = rules.typed(self.rule_texts)
        read = {} if self.rules_file is None else rules.read(self.rules_file)
        wanted = labels_of(self.labels)
        names = wanted.names if isinstance(wanted, LabelBank) else wanted
        self._check(names, isinstance(wanted, LabelBank) and wanted.head is not None)
        both = {name: {**read.get(name, {}), **typed.get(name, {})} for name in (*read, *typed)}
        where = "--rule" if self.rules_file is None else f"'{self.rules_file}'"
        found = rules.made(self.rule, both, names, where)
        templates = self.templates or None
        made = Classifier(bundle, wanted, templates=templates, scores=self.scores, **given)
        return Loaded(made, found)

    def _check(self, labels: Sequence[str], is_head: bool) -> None:
        unknown = [name for name in self.only if name not in labels]
        if unknown:
            raise click.UsageError(
                f"--only {', '.join(map(repr, unknown))}: not among the labels, which are "
                f"{', '.join(map(repr, labels[:8]))}{' …' if len(labels) > 8 else ''}."
            )
        if len(labels) == 1 and self.scores in (None, "softmax") and not is_head:
            raise click.UsageError(
                f"softmax over one label, {labels[0]!r}, is always 1: name others that it is "
                "told from, or pass --scores cosine with --on."
            )


class Watch:
    """Reads files again when they have changed, in a thread that the sound never waits for.

    A file that cannot be used is said on standard error, and what was read before stays.

    Args:
        paths: of the files.
        load: reads them.
        look: seconds between looks.
    """

    def __init__(
        self, paths: Sequence[Path], load: Callable[[], Loaded], look: float = LOOK
    ) -> None:
        self._paths, self._load, self._look = tuple(paths), load, look
        self._known = self._stamps()
        self._found: Loaded | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clap-watch", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End it soon."""
        self._stopped.set()

    def taken(self) -> Loaded | None:
        """What was read since the last call, if anything."""
        found, self._found = self._found, None
        return found

    def _work(self) -> None:
        before = self._known
        while not self._stopped.wait(self._look):
            now = self._stamps()
            if now != self._known and now == before:
                self._known = now
                try:
                    self._found = self._load()
                except Exception as error:  # whatever a file does, the sound is heard on
                    terminal.warn(
                        f"Warning: {_sentence(error)} What is listened for stays as it was."
                    )
            before = now

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        return [_stamp(path) for path in self._paths]


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file does."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _sentence(error: Exception) -> str:
    if isinstance(error, click.ClickException):
        return error.message
    return str(error) if isinstance(error, ClapError) else f"{type(error).__name__}: {error}."
