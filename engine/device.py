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


def upload_into(arrays: Sequence[np.ndarray], places: Sequence[torch.Tensor], buffer: torch.Tensor) -> None:
    """The same into fixed places, for CUDA graphs: ``places`` are consecutive parts of the int32 ``buffer``.

    Each array fills the beginning of its place; only the last may be shorter than it without padding the copy.
    """
    host = torch.empty(sum(len(place) for place in places[:-1]) + arrays[-1].size, dtype=torch.int32, pin_memory=True)
    flat, start = host.numpy(), 0
    for array, place in zip(arrays, places, strict=True):
        flat[start : start + array.size] = array
        start += len(place)
    buffer[: len(host)].copy_(host, non_blocking=True)


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
