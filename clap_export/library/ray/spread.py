"""The work spread over a cluster: many decode, many embed, one writes.

Workers look into recordings and send their windows on; encoders send rows of the library's columns
to the process that began, which alone writes, by the same journal and parts as without a cluster.
So whatever is killed, a worker, a node or the writer, what is finished stays finished.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from clap_export.library import store as stores
from clap_export.library.embed import Summary, Work, described, update
from clap_export.library.item import Item, Opened, check_name
from clap_export.library.ray import carried, embeddings, stages
from clap_export.library.ray.cluster import BLOCK, Workers, check_room, module, tables
from clap_export.library.row import Row
from clap_export.library.sources import Found
from clap_export.library.store import Store
from runtime.bundle import Bundle
from runtime.clips.policy import Policy
from runtime.encoder import Encoder
from runtime.errors import AudioError
from runtime.library import description
from runtime.library.arrow import pyarrow
from runtime.library.description import Store as Numbers

MOST = 256  # recordings that a worker is given at a time, and that are done again if it dies
TRIES = 3  # after the first: a recording that kills its decoder must not be tried for ever
LEAST_BLOCKS = 64  # in which all are divided, if there are so many


def embed(
    dataset: Any,
    bundle: str | Path | Bundle,
    out: str | Path,
    *,
    store: Numbers | None = None,
    each_window: bool | None = None,
    windows: Policy | str | None = None,
    work: Work | None = None,
    workers: Workers | None = None,
    providers: Sequence[str] | None = None,
    max_seconds: float = math.inf,
    say: Callable[[str], None] = lambda _: None,
) -> Summary:
    """Embed the recordings that a dataset names into a library, as ``clap-export embed`` does.

    Args:
        dataset: a ``ray.data.Dataset`` with a column ``path``: absolute paths of recordings, or of
            shards (``.tar``), which are the same on all nodes.
        bundle: its folder, at the same place on all nodes; or an opened one.
        out: folder of the library, which this process alone writes.
        store: numbers of the vectors; None for the library's own, of a new one float32.
        each_window: keep the vectors of windows; None for the library's own, of a new one no.
        windows: the policy; None for the library's own, of a new one the bundle's.
        work: what is embedded again, and windows given to the engine at once.
        workers: who does it.
        providers: see :class:`runtime.Encoder`.
        max_seconds: longer recordings are refused.
        say: is told how far it is.

    Returns:
        what was done. What cannot be used is a row with its error.

    Raises:
        ClapError: Ray is not installed, the dataset has no such column, or the cluster has no room.
        LibraryError: the library is of another space, or cannot be written.
        BackendError: the engine failed, or workers died again and again; what was finished is kept.
    """
    folder = Path(out)
    own = description.read(folder) if (folder / description.LIBRARY).exists() else None
    kind: Numbers = store or (own.store if own else "float32")
    each = own is not None and own.each_window if each_window is None else each_window
    opened = _opened(bundle)
    policy = windows or (own.policy if own else None)
    with (
        Encoder(opened, providers=providers, max_seconds=max_seconds, windows=policy) as encoder,
        stores.opened(folder, described(encoder, opened.folder, kind, each)) as library,
    ):
        say("looking for recordings")
        found = look(dataset)
        return spread(encoder, library, found, work or Work(), say, workers or Workers())


def embedded(
    dataset: Any,
    bundle: str | Path | Bundle,
    *,
    windows: Policy | str | None = None,
    workers: Workers | None = None,
    batch_size: int | None = None,
    providers: Sequence[str] | None = None,
    max_seconds: float = math.inf,
) -> Any:
    """The embeddings of the recordings that a dataset names, as a dataset: nothing is written, and
    nothing is computed before it is read.

    Args:
        dataset: see :func:`embed`.
        bundle: see :func:`embed`.
        windows: the policy; None for the bundle's.
        workers: who does it.
        batch_size: windows given to the engine at once; None for the encoder's.
        providers: see :class:`runtime.Encoder`.
        max_seconds: longer recordings are refused.

    Returns:
        a ``ray.data.Dataset`` with the columns of a library's recordings, in any order.

    Raises:
        ClapError: Ray is not installed, or the cluster has no room.
    """
    encoder = Encoder(
        _opened(bundle), providers=providers, max_seconds=max_seconds, windows=windows
    )
    encoder.new_pool()
    rows = _staged(_looked(dataset), encoder, False, Work(batch_size), workers or Workers())
    return rows.drop_columns([embeddings.PASSED])


def look(dataset: Any) -> Found:
    """All recordings that a dataset names; see :func:`embed`.

    Raises:
        ClapError: it has no column ``path``.
    """
    found = Found()
    for table in tables(_looked(dataset)):
        for plain in table.to_pylist():
            if plain["problem"] is not None:
                found.problems.append(plain["problem"])
            else:
                item = carried.placed(plain)
                found.items.setdefault(item.key, item)
    return found


def spread(
    encoder: Encoder, store: Store, found: Found, work: Work, say: Callable[[str], None],
    workers: Workers,
) -> Summary:  # fmt: skip
    """:func:`clap_export.library.embed.update`, with the recordings embedded on a cluster."""

    def hear(pending: list[Item], passed: Callable[[Opened], bool]) -> Generator[Row]:
        def sha256(item: Item) -> str | None:
            known = store.known.get(item.key)
            return None if known is None or (known.error and work.retry) else known.sha256

        named, others = _named(pending)
        yield from others
        if named:
            dataset = _dataset(named, [sha256(item) for item in named])
            each = store.said.each_window
            staged = tables(_staged(dataset, encoder, each, work, workers))
            yield from _rows(staged, encoder, passed)

    return update(store, found, work, say, hear)


def _looked(dataset: Any) -> Any:
    """A dataset of paths as one of items, in blocks that are the work of one worker at a time."""
    blocks = dataset.repartition(target_num_rows_per_block=MOST)
    found = blocks.map_batches(stages.looked, batch_format="pyarrow", batch_size=None, num_cpus=1)
    found.context.raise_original_map_exception = True
    return found


def _opened(bundle: str | Path | Bundle) -> Bundle:
    """A bundle as it is sent to workers, which compare what they load with its hashes."""
    return bundle if isinstance(bundle, Bundle) else Bundle(Path(bundle).absolute())


def _named(items: Sequence[Item]) -> tuple[list[Item], list[Row]]:
    """Recordings that can be named in a table, and what is said of the others."""
    named: list[Item] = []
    others: list[Row] = []
    for item in items:
        try:
            check_name(item)
            named.append(item)
        except AudioError as error:
            others.append(Row(item, None, error=str(error)))
    return named, others


def _dataset(items: Sequence[Item], known: Sequence[str | None]) -> Any:
    """Items in blocks, each the work of one worker at a time."""
    arrow, data = pyarrow(), module("ray.data")
    fields = [carried.schema().field(name) for name in carried.place(items[0])]
    schema = arrow.schema([*fields, (stages.KNOWN, arrow.string())])
    rows = [
        {**carried.place(item), stages.KNOWN: sha256}
        for item, sha256 in zip(items, known, strict=True)
    ]
    size = min(MOST, max(1, len(rows) // LEAST_BLOCKS))
    context = data.DataContext.get_current().copy()
    context.enable_progress_bars = False
    context.target_max_block_size = BLOCK
    context.raise_original_map_exception = True  # else Ray forgets what it was
    with data.DataContext.current(context):
        return data.from_arrow(
            [
                arrow.Table.from_pylist(rows[at : at + size], schema=schema)
                for at in range(0, len(rows), size)
            ]
        )


def _staged(dataset: Any, encoder: Encoder, each_window: bool, work: Work, workers: Workers) -> Any:
    """From items to rows."""
    check_room(workers, encoder)
    data = module("ray.data")
    size = work.batch_size or encoder.batch_size
    least, most = workers.encoders
    # Ray makes one stage of two whose options are alike. These differ by what is said of retries.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")
        return dataset.map_batches(
            stages.decoded, batch_format="pyarrow", batch_size=None, num_cpus=1,
            fn_kwargs={"encoder": encoder, "batch_size": size, "most": workers.carried},
            compute=data.TaskPoolStrategy(workers.decoders), max_retries=TRIES,
        ).map_batches(
            stages.Embedding, batch_format="pyarrow", batch_size=None,
            fn_constructor_args=(encoder, each_window, size, workers),
            compute=data.ActorPoolStrategy(min_size=least, max_size=most),
            num_cpus=workers.cpus, num_gpus=workers.gpus_for(encoder), max_task_retries=TRIES,
        )  # fmt: skip


def _rows(
    given: Generator[Any], encoder: Encoder, passed: Callable[[Opened], bool]
) -> Generator[Row]:
    """The rows of tables as they come; what was passed over is only said."""
    dim = encoder.manifest.embedding_dim
    with closing(given):
        for table in given:
            for row, was_passed in embeddings.read(table, dim):
                if was_passed:
                    passed(Opened(row.item, row.item.path, row.sha256))
                else:
                    yield row
