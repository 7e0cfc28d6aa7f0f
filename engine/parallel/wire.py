"""Steps on their way from rank 0 to the other ranks: bytes, read without running anything that they say."""

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
    slots: _Array
    depths: _Array
    counts: _Array
    pages: _Array
    ids: _Array
    sampling: _Array
    produced: _Array
    copies: list[Copy]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Step).decode


def pack(step: Step) -> bytes:
    layout = step.layout
    arrays = (step.slots, layout.depths, layout.counts, layout.pages, step.ids, step.sampling, step.produced)
    return _encode(_Step(*map(_Array.of, arrays), copies=step.copies))


def unpack(message: bytes) -> Step:
    """The step; its arrays are read-only. Raises msgspec.DecodeError for what is none."""
    step = _decode(message)
    layout = StepLayout(step.depths.array(), step.counts.array(), step.pages.array())
    return Step(step.slots.array(), layout, step.ids.array(), step.sampling.array(), step.produced.array(), step.copies)
