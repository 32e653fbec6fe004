"""Several processes with one model: who has which rows, and what they tell each other.

Process r of n has the rows r, r + n, r + 2 n ... of whatever a step works on. Its loss is that of
its own rows against the rows of all, times n, so that the mean of the processes' gradients is the
gradient of one process that has all rows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from runtime.errors import ClapError

# The others wait while the first one validates or makes the text stage.
PATIENCE = timedelta(hours=4)
BUCKET = 2**24  # gradients sent at once, as numbers: 64 MiB of float32


@dataclass(frozen=True)
class Ranks:
    """This process among all of them.

    Attributes:
        rank: number of this process; 0 is the one that writes.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process' rows of all rows."""
        return rows[self.rank :: self.world]

    def places(self, total: int) -> list[int]:
        """This process' places among ``total`` rows, on every process the same number of them.

        Where rows are too few the last one is repeated; :meth:`join` drops the repetitions.
        """
        each = -(-total // self.world)
        return [min(k * self.world + self.rank, total - 1) for k in range(each)]

    def join(self, own: Tensor, total: int) -> Tensor:
        """All rows from every process' own, ``[total, ...]``, differentiable.

        The gradient that comes back to a row is the sum over the processes that used it.

        Args:
            own: ``[ceil(total / world), ...]``, the rows of :meth:`places`.
            total: rows of all processes together.
        """
        if self.world == 1:
            return own
        joined: Tensor = _Join.apply(own.contiguous(), self.world)  # pyright: ignore[reportAssignmentType]
        return joined[:total]

    def mean_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their mean over the processes.

        A parameter that learns but was not used here counts as a gradient of 0, as it is.
        """
        if self.world == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        for p in learning:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self._mean([p.grad for p in learning if p.grad is not None])

    def mean_statistics(self, model: nn.Module) -> None:
        """Replace BatchNorm's running statistics by their mean over the processes."""
        norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
        found = [
            n for norm in norms for n in (norm.running_mean, norm.running_var) if n is not None
        ]
        if self.world > 1:
            self._mean(found)

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes of a number."""
        found = value.detach().clone()
        if self.world > 1:
            dist.all_reduce(found)
        return found / self.world

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors with those of the first process."""
        if self.world > 1:
            for tensor in tensors:
                sent = tensor.detach().contiguous()
                dist.broadcast(sent, src=0)
                tensor.detach().copy_(sent)

    @contextmanager
    def first_one_first(self) -> Iterator[None]:
        """Let the others in when the first process is through: it makes files, they find them."""
        if self.world > 1 and not self.first:
            dist.barrier()
        yield
        if self.world > 1 and self.first:
            dist.barrier()

    def _mean(self, tensors: list[Tensor]) -> None:
        """In place. All processes must give tensors of the same shapes in the same order."""
        bucket: list[Tensor] = []
        for i, tensor in enumerate(tensors):
            bucket.append(tensor)
            if i + 1 < len(tensors) and sum(t.numel() for t in bucket) < BUCKET:
                continue
            flat = torch.cat([t.float().reshape(-1) for t in bucket])
            dist.all_reduce(flat)
            flat /= self.world
            for t, mean in zip(bucket, flat.split([t.numel() for t in bucket]), strict=True):
                t.copy_(mean.view(t.shape))
            bucket = []


ALONE = Ranks()


class _Join(torch.autograd.Function):
    """Rows of all processes, in turn; backward, the sum over processes of this one's gradients."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, own: Tensor, world: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        parts = [torch.empty_like(own) for _ in range(world)]
        dist.all_gather(parts, own)
        return torch.stack(parts, dim=1).flatten(0, 1)

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: torch.autograd.function.FunctionCtx, gradient: Tensor
    ) -> tuple[Tensor, None]:
        whole = gradient.clone(memory_format=torch.contiguous_format)  # others may hold it too
        dist.all_reduce(whole)
        return whole[dist.get_rank() :: dist.get_world_size()].contiguous(), None


@contextmanager
def processes(device: torch.device) -> Iterator[Ranks]:
    """This process among those that torchrun started; alone without torchrun.

    What is on GPUs goes over NCCL, the rest over gloo.

    Raises:
        ClapError: more processes on this machine than it has GPUs.
    """
    world, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    if world == 1:
        yield ALONE
        return
    if device.type == "cuda":
        if local >= torch.cuda.device_count():
            raise ClapError(
                f"process {local} of this machine has no GPU: there are "
                f"{torch.cuda.device_count()}; start torchrun with as many --nproc-per-node."
            )
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Ranks(dist.get_rank(), world)
    finally:
        dist.destroy_process_group()


def synchronise_batch_norm(model: nn.Module, device: torch.device, ranks: Ranks) -> None:
    """On several GPUs, let BatchNorm normalise by the statistics of the joint batch.

    PyTorch has this for CUDA only. Elsewhere a process normalises by its own rows, and the running
    statistics are averaged after every step.
    """
    if ranks.world > 1 and device.type == "cuda":
        # timm's, because some of its norms hold their activation.
        from timm.layers.norm_act import convert_sync_batchnorm

        for name, child in list(model.named_children()):
            setattr(model, name, convert_sync_batchnorm(child))
