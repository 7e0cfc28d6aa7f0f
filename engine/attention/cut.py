"""Prompt chunks after many earlier tokens, cut along these so that the whole device works on them.

FlashInfer's fa3 gives each tile of queries of a head to one multiprocessor, which goes through all keys alone. A few
hundred tokens after a long prefix, the next turn of an agent, leave most of the device idle that way. So the earlier
tokens are cut into segments, every segment is attended to by a copy of the queries, and the results are merged
(Flash-Decoding, for many queries).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .paged import HostPlan

_TILE = 128  # queries
_SEGMENTS = 3  # that a multiprocessor gets at least, so that all end at about the same time
_SHORTEST = 1024  # tokens of a segment: shorter ones are not worth the merging
_DEEP = 4096  # tokens; where no row has so many earlier ones, cutting costs more than it saves


@dataclass(frozen=True)
class Cut:
    """Segments of whole pages, and what each row has behind them: its own new tokens and the rest of a page.

    Attributes:
        counts: (segments,) queries of each. held: (segments,) pages of each. pages: all of these.
        own_held, own_pages: pages of the rows behind their segments. own_lengths: (rows,) tokens there.
        places, strides, numbers: (tokens,) where a prefill token's first copy is among the segments' queries, how far
            it is from there to the next, and how many there are.
    """

    counts: np.ndarray
    held: np.ndarray
    pages: np.ndarray
    own_held: np.ndarray
    own_pages: np.ndarray
    own_lengths: np.ndarray
    places: np.ndarray
    strides: np.ndarray
    numbers: np.ndarray


def most_segments(rows: int, heads: int, processors: int) -> int:
    """How many segments ``rows`` rows have at most."""
    return rows + -(-processors * _SEGMENTS // heads)


def most_copies(tokens: int, heads: int, processors: int) -> int:
    """How many queries all segments of a step of ``tokens`` tokens have at most."""
    return tokens + -(-processors * _SEGMENTS * _TILE // heads)


def cut(plan: HostPlan, page_size: int, heads: int, processors: int) -> Cut | None:
    """Cut a step's prefill rows; None where that gains nothing.

    heads: of queries. processors: multiprocessors of the device.
    """
    counts = plan.counts
    lengths, starts = plan.lengths[plan.decodes :], plan.starts[plan.decodes :]
    whole = (lengths - counts) // page_size  # pages
    if whole.max() * page_size < _DEEP:
        return None
    tiles = -(-counts // _TILE) * heads
    share = -(-(tiles * whole).sum() // (processors * _SEGMENTS))
    numbers = -(-whole // max(share, _SHORTEST // page_size))
    if numbers.max() < 2:
        return None
    size = -(-whole // np.maximum(numbers, 1))
    row = np.repeat(np.arange(len(counts)), numbers)
    begins = _up_to(numbers) * size[row]
    held = np.minimum(size[row], whole[row] - begins)
    ends = np.cumsum(counts * numbers)
    return Cut(
        counts=counts[row],
        held=held,
        pages=plan.pages[_ranges(starts[row] + begins, held)],
        own_held=np.diff(starts) - whole,
        own_pages=plan.pages[_ranges(starts[:-1] + whole, np.diff(starts) - whole)],
        own_lengths=lengths - whole * page_size,
        places=_ranges(ends - counts * numbers, counts),
        strides=np.repeat(counts, counts),
        numbers=np.repeat(numbers, counts),
    )


def _up_to(lengths: np.ndarray) -> np.ndarray:
    """0, 1, ... of each length, one after another."""
    return np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _ranges(begins: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers from each beginning on, one after another."""
    return np.repeat(begins, lengths) + _up_to(lengths)
