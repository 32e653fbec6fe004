"""Ray, which comes with the extra ``ray`` and is imported when it is needed."""

from __future__ import annotations

import gc
import importlib
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from runtime.arguments import number, whole
from runtime.backends import GPU
from runtime.encoder import Encoder
from runtime.errors import BackendError, ClapError

_log = logging.getLogger(__name__)

BLOCK = 32 << 20  # bytes that travel between two stages at a time
CARRIED = 64 << 20  # bytes of a recording's windows; six minutes for a model of 48 kHz


@dataclass(frozen=True)
class Workers:
    """Who does the work.

    Attributes:
        cpus: of an encoder.
        gpus: of an encoder; None for one where the provider needs it, else none.
        encoders: fewest of them, and most, None for as many as there is room for.
        decoders: most of them, each on a CPU; None for as many as there is room for.
        carried: bytes. The windows of longer recordings are not sent from where they are decoded
            to an encoder, which decodes them itself, a piece at a time.
    """

    cpus: int = 1
    gpus: float | None = None
    encoders: tuple[int, int | None] = (1, None)
    decoders: int | None = None
    carried: int = CARRIED

    def __post_init__(self) -> None:
        whole("cpus", self.cpus)
        if self.gpus is not None:
            number("gpus", self.gpus, "a number of GPUs, such as 1 or 0.5")
        for most in (*self.encoders, self.decoders):
            if most is not None:
                whole("encoders and decoders", most)

    def gpus_for(self, encoder: Encoder) -> float:
        """GPUs of each encoder."""
        return float(encoder.providers[0] in GPU) if self.gpus is None else self.gpus


def module(name: str = "ray") -> Any:
    """Ray, or a module of it.

    Raises:
        ClapError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ClapError(
            f"work on a cluster needs Ray Data, which cannot be imported ({error}). "
            "Install it: pip install clap-export[ray]"
        ) from error


@contextmanager
def connected(address: str | None) -> Generator[None]:
    """A connection to a cluster, for the length of a block; one that is there is left as it is.

    Args:
        address: of it; None for the one that RAY_ADDRESS or this machine knows, or for a new one on
            this machine alone.

    Raises:
        ClapError: Ray is not installed, or there is no such cluster.
    """
    ray = module()
    module("ray.data")
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to its makers unless told
    # What it says of an error, in a page, is said here in a sentence.
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = f"at '{address}'" if address else "here"
        raise ClapError(
            f"no Ray cluster {where} ({first_line(error)}). Start one with: ray start --head"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def check_room(workers: Workers, encoder: Encoder) -> None:
    """See that an encoder and a decoder find a place beside each other: else all would wait.

    Raises:
        ClapError: they do not.
    """
    there = module().cluster_resources()
    least, gpus = workers.encoders[0], workers.gpus_for(encoder)
    need = {"CPU": least * workers.cpus + 1, "GPU": least * gpus}
    for kind, count in need.items():
        if there.get(kind, 0) < count:
            raise ClapError(
                f"the cluster has {there.get(kind, 0):g} {kind}s, and {least} encoder(s) with a "
                f"decoder beside them need {count:g}: add a node, or ask for less."
            )


def tables(dataset: Any) -> Generator[Any]:
    """The Arrow tables of a dataset as they come. What goes wrong on a worker is said here as it
    would be by a process of our own.

    Raises:
        ClapError: as it was raised on the worker.
        BackendError: whatever else.
    """
    exceptions = module("ray.exceptions")
    data = module("ray.data.exceptions")
    said: ClapError | None = None
    try:
        yield from dataset.iter_batches(batch_size=None, batch_format="pyarrow")
    except (exceptions.RayError, data.UserCodeException, data.SystemException) as error:
        said = _said(error, exceptions.RayError)
        _log.debug("what Ray raised:", exc_info=True)
    if said is not None:
        # Raised without Ray's exception as its cause, and from frames that know no dataset: both
        # hold actors, in circles too, and while they do, their CPUs are lost to all who come next.
        del dataset
        gc.collect()
        raise said


def _said(error: BaseException, rays_own: type[BaseException]) -> ClapError:
    """What went wrong on a worker, in one sentence."""
    for each in _causes(error):
        if isinstance(each, ClapError) and not isinstance(each, rays_own):
            # Ray writes advice of its own behind our sentence.
            return type(each)(str(each).partition("\n")[0])
    return BackendError(
        f"Ray gave up ({first_line(error)}). What was finished is kept: run the same command again."
    )


def _causes(error: BaseException) -> Generator[BaseException]:
    """An exception, and all that it carries from other processes."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and not any(each is other for other in seen):
            seen.append(each)
            waiting += [getattr(each, "cause", None), each.__cause__, each.__context__]
            yield each


def first_line(error: BaseException) -> str:
    """The beginning of what an exception says."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:300]
