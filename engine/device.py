"""Getting a step's small arrays to the device without waiting for it, and how fast the device is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch


def multiply_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product on a CUDA device, measured."""
    size, trials = 4096, 3
    x = torch.zeros(size, size, device=device, dtype=dtype)
    torch.mm(x, x)
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(trials):
        torch.mm(x, x)
    end.record()
    end.synchronize()
    return trials * 2 * size**3 / (begin.elapsed_time(end) / 1000)


def upload(arrays: Sequence[np.ndarray], device: torch.device) -> list[torch.Tensor]:
    """One copy for all: the arrays as int32 tensors of their shapes on ``device``.

    On CUDA the copy is asynchronous. The staging memory is torch's own pinned memory, which it does not hand out again
    before the copy has ended.
    """
    packed = torch.from_numpy(_packed(arrays))
    if device.type == "cuda":
        packed = packed.pin_memory().to(device, non_blocking=True)
    return list(_views(packed, arrays))


class Places:
    """Fixed places for the arrays of a step, which CUDA graphs read: consecutive parts of an int32 buffer.

    Args:
        sizes: how many numbers each array has at most.
    """

    def __init__(self, sizes: Sequence[int], buffer: torch.Tensor) -> None:
        self._sizes, self._buffer = sizes, buffer
        self.tensors = list(buffer[: sum(sizes)].split(list(sizes)))

    def fill(self, arrays: Sequence[np.ndarray]) -> None:
        """One asynchronous copy. What an array leaves of its place becomes 0, except behind the last one."""
        used = sum(self._sizes[:-1]) + arrays[-1].size
        host = torch.empty(used, dtype=torch.int32, pin_memory=self._buffer.is_cuda)
        flat, start = host.numpy(), 0
        for array, size in zip(arrays, self._sizes, strict=True):
            end = start + array.size
            assert array.size <= size, "an array is longer than its place"
            flat[start:end] = array.reshape(-1)
            start += size
            flat[end:start] = 0
        self._buffer[:used].copy_(host, non_blocking=True)


def _packed(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(array, np.int32).reshape(-1) for array in arrays])


def _views(packed: torch.Tensor, arrays: Sequence[np.ndarray]) -> Iterator[torch.Tensor]:
    start = 0
    for array in arrays:
        yield packed[start : start + array.size].view(array.shape)
        start += array.size


def borrowed(tensor: torch.Tensor) -> torch.Tensor:
    """The same CUDA memory without a hold on it: what is captured later in a graph's pool may use it again."""
    raw = tensor.view(torch.uint8)
    memory = _Memory(raw.data_ptr(), raw.shape, raw.stride())
    return torch.as_tensor(memory, device=tensor.device).view(tensor.dtype)


class _Memory:
    """CUDA memory of somebody else, by the array interface of Numba."""

    def __init__(self, address: int, shape: Sequence[int], strides: Sequence[int]) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False), "shape": tuple(shape), "strides": tuple(strides), "typestr": "|u1", "version": 3,
        }  # fmt: skip
