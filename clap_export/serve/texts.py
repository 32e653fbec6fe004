"""Labels and texts through the scheduler, and the banks of labels that were asked for of late."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clap_export.serve.limits import LABELS_KEPT
from clap_export.serve.scheduler import Scheduler
from clap_export.serve.work import Work
from runtime import LabelBank
from runtime.errors import LabelError

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from runtime import Encoder
    from runtime.manifest import Manifest
    from runtime.tokenizer import TextTokenizer

    Row: TypeAlias = NDArray[np.float32]
    TextScheduler: TypeAlias = Scheduler[str, Row]
    Names: TypeAlias = Sequence[str] | Mapping[str, str | Sequence[str]]


class WorkTexts:
    """A text encoder for one request: its texts go to the engine with those of others.

    Args:
        encoder: of the bundle.
        scheduler: of texts.
        work: that they belong to.
    """

    def __init__(self, encoder: Encoder, scheduler: TextScheduler, work: Work) -> None:
        self._encoder, self._scheduler, self._work = encoder, scheduler, work

    @property
    def manifest(self) -> Manifest:
        """The bundle's manifest."""
        return self._encoder.manifest

    @property
    def tokenizer(self) -> TextTokenizer:
        """The text encoder's."""
        return self._encoder.tokenizer

    def embed_text(self, texts: str | Sequence[str]) -> NDArray[np.float32]:
        """Float32 ``[n, dim]``; see :meth:`runtime.Encoder.embed_text`."""
        given = [texts] if isinstance(texts, str) else texts
        with self._work.job(self._scheduler) as job:
            return np.stack([row for _, row in job.results(given)])


class Banks:
    """Banks of labels that requests bring, those of late at hand.

    Args:
        encoder: of the bundle.
        scheduler: of texts.
        most: texts of a bank.
    """

    def __init__(self, encoder: Encoder, scheduler: TextScheduler, most: int) -> None:
        self._encoder, self._scheduler, self._most = encoder, scheduler, most
        self._lock = threading.Lock()
        self._kept: OrderedDict[object, LabelBank] = OrderedDict()

    def of(self, labels: Names, templates: Sequence[str], work: Work) -> LabelBank:
        """The bank of some labels, in the thread of their request.

        Raises:
            LabelError: they cannot be used, or are too many.
            Cancelled, Late: the work has ended.
        """
        self._check(labels, templates)
        key = _key(labels, templates)
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        texts = WorkTexts(self._encoder, self._scheduler, work)
        made = LabelBank.build(texts, labels, tuple(templates) or None)
        with self._lock:
            self._kept[key] = made
            while sum(map(len, self._kept.values())) > LABELS_KEPT and len(self._kept) > 1:
                self._kept.popitem(last=False)
        return made

    def _check(self, labels: Names, templates: Sequence[str]) -> None:
        if isinstance(labels, Mapping):
            count = sum(1 if isinstance(texts, str) else len(texts) for texts in labels.values())
        else:
            count = len(labels) * max(1, len(templates))
        if count > self._most:
            raise LabelError(
                f"{count} texts are to be embedded, and at most {self._most} are in one request: "
                "send fewer labels or templates, or make a bank of them with clap-export labels."
            )


def _key(labels: Names, templates: Sequence[str]) -> object:
    if isinstance(labels, Mapping):
        texts = [(n, t if isinstance(t, str) else tuple(t)) for n, t in labels.items()]
        return "texts", tuple(texts)
    return tuple(labels), tuple(templates)
