"""Steps on their way from rank 0 to the other ranks: bytes, read without running anything that they say.

Of the page table only the pages that rows hold are sent: as wide as the deepest row, it is mostly empty.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec
import numpy as np

from ..attention.base import StepLayout
from ..cache.kv import Copy
from ..runner.step import Step

NO_MORE = b""  # instead of a step


class _Array(NamedTuple):
    dtype: str
    shape: tuple[int, ...]
    values: bytes

    @classmethod
    def of(cls, array: np.ndarray) -> _Array:
        return cls(array.dtype.str, array.shape, array.tobytes())

    def array(self) -> np.ndarray:
        return np.frombuffer(self.values, self.dtype).reshape(self.shape)


class _Step(msgspec.Struct, array_like=True):
    """``held``: how many of ``pages`` belong to each row, in order."""

    slots: _Array
    depths: _Array
    counts: _Array
    held: _Array
    pages: _Array
    ids: _Array
    sampling: _Array
    produced: _Array
    copies: list[Copy]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Step).decode


def pack(step: Step, page_size: int) -> bytes:
    layout = step.layout
    held = -(-(layout.depths + layout.counts) // page_size)
    pages = layout.pages[_places(held)]
    arrays = (step.slots, layout.depths, layout.counts, held, pages, step.ids, step.sampling, step.produced)
    return _encode(_Step(*map(_Array.of, arrays), copies=step.copies))


def unpack(message: bytes) -> Step:
    """The step; all arrays but its page table are read-only. Raises msgspec.DecodeError for what is none."""
    step = _decode(message)
    held = step.held.array()
    pages = np.zeros((len(held), held.max()), np.int32)
    pages[_places(held)] = step.pages.array()
    layout = StepLayout(step.depths.array(), step.counts.array(), pages)
    return Step(step.slots.array(), layout, step.ids.array(), step.sampling.array(), step.produced.array(), step.copies)


def _places(held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows and columns of the table at which the pages stand."""
    rows = np.repeat(np.arange(len(held)), held)
    return rows, np.arange(len(rows)) - (np.cumsum(held) - held)[rows]
