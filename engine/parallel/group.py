"""The ranks that hold one model together, as the model and its runner see them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import torch
import torch.distributed as dist
from torch.distributed import Store  # pyright: ignore[reportPrivateImportUsage] (documented)

from .shard import Shard

if TYPE_CHECKING:
    from ..runner.step import Step

_TIMEOUT = timedelta(minutes=10)  # of one exchange, loading included
_LARGE = 2**24  # bytes, of an exchange that goes by the ways of large ones
_all_gather = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor  # its name before torch 2.13


class Group:
    """A group of one: there is nobody to exchange anything with."""

    shard = Shard()

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        """The sum of all ranks' ``x``, which may be overwritten."""
        return x

    def concatenate(self, x: torch.Tensor) -> torch.Tensor:
        """All ranks' columns: (rows, columns) becomes (rows, ranks * columns)."""
        return x

    def share(self, x: torch.Tensor) -> None:
        """Overwrite ``x`` with what rank 0 has in it."""

    def least(self, value: int) -> int:
        """The least of all ranks' values."""
        return value

    def lead(self, step: Step) -> None:
        """On rank 0: have the other ranks run the same step."""

    def close(self) -> None:
        """Leave, which all ranks do at once. What was captured with exchanges in it must be gone."""


ALONE = Group()


class RankGroup(Group):
    """Several ranks, by torch.distributed: NCCL between CUDA devices, gloo on CPU. Blocks until all have come.

    Every rank calls the same methods in the same order.
    """

    def __init__(self, store: Store, shard: Shard, device: torch.device) -> None:
        self.shard = shard
        self._device = device
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            store=store,
            rank=shard.rank,
            world_size=shard.size,
            timeout=_TIMEOUT,
            device_id=device if device.type == "cuda" else None,
        )
        if device.type == "cuda":
            self._rehearse()

    def _rehearse(self) -> None:
        """Exchange once in every way, so that what NCCL takes for it is not taken for free memory."""
        for size in (1, _LARGE):
            x = torch.zeros(1, size, dtype=torch.uint8, device=self._device)
            self.share(self.concatenate(self.sum(x)))
        torch.cuda.synchronize()

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(x)
        return x

    def concatenate(self, x: torch.Tensor) -> torch.Tensor:
        rows, columns = x.shape
        parts = torch.empty(self.shard.size * rows, columns, dtype=x.dtype, device=x.device)
        _all_gather(parts, x)
        return parts.view(self.shard.size, rows, columns).transpose(0, 1).flatten(1)

    def share(self, x: torch.Tensor) -> None:
        dist.broadcast(x, 0)

    def least(self, value: int) -> int:
        values = torch.tensor([value], device=self._device)
        dist.all_reduce(values, dist.ReduceOp.MIN)
        return int(values.item())

    def close(self) -> None:
        dist.destroy_process_group()
