# pyright: reportOperatorIssue=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportGeneralTypeIssues=false
# (a kernel's values are not what the type checker takes them for)
"""Top-k, top-p and min-p without a sort: for every row the lowest logit that stays, and the last of its equals.

All floats of a type in their order are numbered, and the number of the lowest that stays is found four bits at a time.
Every row is cut into parts, a program each: it counts its part's tokens at and above 16 thresholds and adds up their
probabilities. The next kernel's programs sum over the parts, see between which thresholds to look on, and so forth. A
part has the same tokens whatever the number of rows, so a row's sums do not depend on its batch mates, not even in
their last bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_PART = 4096  # tokens
_LANES = tl.constexpr(128)  # tokens at once, as many as a program has threads: a sum in each until the end
_BITS = tl.constexpr(4)
_WAYS = tl.constexpr(16)
_NONE = tl.constexpr(-float("inf"))


@jit
def _value(number, DTYPE: tl.constexpr):
    """Of the floats of ``DTYPE`` in their order, where 0 is number 0, the one of this number, in float32.

    Below minus infinity it is that still; above infinity it is no number, which nothing reaches.
    """
    magnitude = tl.abs(number)
    if DTYPE.primitive_bitwidth == 16:
        magnitude = magnitude.to(tl.int16)
    value = magnitude.to(DTYPE, bitcast=True).to(tl.float32)
    return tl.where(number < 0, tl.where(value == value, -value, _NONE), value)


@jit
def _parameters(temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, row, size):
    """A row's temperature, top_k, top_p and min_p, and whether they cut anything."""
    temperature = tl.load(temperature_ptr + row)
    top_k = tl.minimum(tl.load(top_k_ptr + row), size)
    top_p = tl.load(top_p_ptr + row)
    min_p = tl.load(min_p_ptr + row)
    return temperature, top_k, top_p, min_p, (temperature > 0) & ((top_k < size) | (top_p < 1) | (min_p > 0))


@jit
def _whole(peaks_ptr, totals_ptr, row, part, parts, temperature, top_p):
    """The row's highest logit, what brings each part's masses to its measure, and the mass that top-p wants."""
    peaks = tl.load(peaks_ptr + row * parts + part, part < parts, other=_NONE)
    totals = tl.load(totals_ptr + row * parts + part, part < parts, other=0.0)
    highest = tl.max(peaks, 0)
    weights = tl.exp((peaks - highest) / temperature)
    return highest, weights, tl.where(top_p >= 1, float("inf"), top_p * tl.sum(totals * weights, 0))


@jit
def _count(
    logits_ptr, temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, peaks_ptr, totals_ptr,
    low_ptr, counts_ptr, masses_ptr, new_low_ptr, new_counts_ptr, new_masses_ptr, size, stride, parts, shift,
    FIRST: tl.constexpr, NEW_WAYS: tl.constexpr, PARTS: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """Find the next bits of the lowest number that stays, and sum over the part's tokens at and above new thresholds.

    The sums so far are at thresholds ``1 << shift`` apart, from ``low`` on; new ones lie between the two of these where
    what stays begins. When all bits are found, they are that number itself and the next. Masses are probabilities
    relative to that of the part's highest logit, its peak; totals are those of all its tokens.
    """
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    mine = row * parts + tl.program_id(1)
    temperature, top_k, top_p, _, cuts = _parameters(temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, row, size)
    if not cuts:
        return
    # Beyond the row is minus infinity: it is never drawn, and so may be counted. Reading the whole part at once brings
    # it into the first cache, for the loop.
    first = tl.program_id(1) * BLOCK
    tokens = first + tl.arange(0, BLOCK)
    x = tl.load(logits_ptr + row * stride + tokens, tokens < size, other=_NONE).to(tl.float32)
    if FIRST:
        low = (tl.full((), -1, tl.int32) << (shift - 1)) + 1
    else:
        part = tl.arange(0, PARTS)
        way = tl.arange(0, _WAYS)
        sums = (row * parts + part[:, None]) * _WAYS + way[None, :]
        counts = tl.load(counts_ptr + sums, part[:, None] < parts, other=0.0)
        masses = tl.load(masses_ptr + sums, part[:, None] < parts, other=0.0)
        low = tl.load(low_ptr + row)
        _, weights, wanted = _whole(peaks_ptr, totals_ptr, row, part, parts, temperature, top_p)
        count = tl.sum(counts, 0)
        enough = (count > 0) & ((count >= top_k) | (tl.sum(masses * weights[:, None], 0) >= wanted))
        low += tl.max(tl.where(enough, way, 0), 0) << shift
    peak = tl.maximum(tl.max(x, 0), -3e38)  # finite, even if no token of the part may be drawn
    way = tl.arange(0, NEW_WAYS)
    threshold = _value(low + (way << tl.maximum(shift - _BITS, 0)), logits_ptr.dtype.element_ty)
    count = tl.zeros((NEW_WAYS, _LANES), tl.float32)  # exact up to 16 million
    mass = tl.zeros((NEW_WAYS, _LANES), tl.float32)
    # A part that is all below has nothing to sum.
    steps = tl.where(peak < _value(low, logits_ptr.dtype.element_ty), 0, BLOCK // _LANES)
    for step in tl.range(0, steps, loop_unroll_factor=4):
        token = first + step * _LANES + tl.arange(0, _LANES)
        logit = tl.load(logits_ptr + row * stride + token, token < size, other=_NONE).to(tl.float32)
        above = (logit[None, :] >= threshold[:, None]).to(tl.float32)
        count += above
        mass += above * tl.exp((logit - peak) / temperature)[None, :]
    mass = tl.sum(mass, 1)
    tl.store(new_counts_ptr + mine * NEW_WAYS + way, tl.sum(count, 1))
    tl.store(new_masses_ptr + mine * NEW_WAYS + way, mass)
    if FIRST:
        tl.store(peaks_ptr + mine, peak)
        tl.store(totals_ptr + mine + way, mass, way == 0)
    tl.store(new_low_ptr + row, low, tl.program_id(1) == 0)


@jit
def _cut(
    logits_ptr, temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, peaks_ptr, totals_ptr,
    low_ptr, counts_ptr, masses_ptr, threshold_ptr, last_tie_ptr, size, stride, parts,
    PARTS: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    """How many tokens at the threshold stay, and where the last of them is."""
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    temperature, top_k, top_p, min_p, cuts = _parameters(temperature_ptr, top_k_ptr, top_p_ptr, min_p_ptr, row, size)
    if not cuts:
        tl.store(threshold_ptr + row, _NONE)
        tl.store(last_tie_ptr + row, size)
        return
    part = tl.arange(0, PARTS)
    there = part < parts
    sums = (row * parts + part) * 2
    above = tl.load(counts_ptr + sums + 1, there, other=0.0)
    tied = tl.load(counts_ptr + sums, there, other=0.0) - above
    masses = tl.load(masses_ptr + sums + 1, there, other=0.0)
    threshold = _value(tl.load(low_ptr + row), logits_ptr.dtype.element_ty)
    highest, weights, wanted = _whole(peaks_ptr, totals_ptr, row, part, parts, temperature, top_p)
    ties = tl.ceil((wanted - tl.sum(masses * weights, 0)) / tl.exp((threshold - highest) / temperature))
    ties = tl.maximum(tl.minimum(ties, top_k - tl.sum(above, 0)), 1.0)
    # Of equal tokens the first ones stay, as a stable sort has it.
    at = tl.sum((tl.cumsum(tied, 0) < ties).to(tl.int32), 0)
    rank = ties - tl.sum(tl.where(part < at, tied, 0.0), 0)
    token = at * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(logits_ptr + row * stride + token, token < size, other=_NONE).to(tl.float32)
    tie = x == threshold
    last = tl.min(tl.where(tie & (tl.cumsum(tie.to(tl.int32), 0) == rank), token, size), 0)
    floor = tl.where(min_p > 0, highest + temperature * tl.log(min_p), _NONE)
    tl.store(last_tie_ptr + row, tl.where(floor > threshold, size, last))
    tl.store(threshold_ptr + row, tl.maximum(threshold, floor))


def truncate(
    logits: torch.Tensor, temperature: torch.Tensor, truncation: tuple[torch.Tensor, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """For every row the lowest logit that stays (rows,) float32, and the last token that stays with it (rows,) int32.

    Arguments are those of :func:`sampling.draw`. Rows that cut nothing get minus infinity and the vocabulary's size.
    """
    rows, size = logits.shape
    block = max(_LANES.value, min(_PART, triton.next_power_of_2(size)))
    parts = triton.cdiv(size, block)

    def empty(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.empty(rows, *shape, dtype=dtype, device=logits.device)

    row = logits, temperature, *truncation, empty(parts), empty(parts)
    # Every pass reads one of these and writes the other.
    before, after = ((empty(dtype=torch.int32), empty(parts, _WAYS.value), empty(parts, _WAYS.value)) for _ in range(2))
    shape = {"PARTS": triton.next_power_of_2(parts), "BLOCK": block, **overlapping()}
    bits = 8 * logits.element_size()
    for shift in range(bits, -1, -_BITS.value):
        _count[(rows, parts)](
            *row, *before, *after, size, logits.stride(0), parts, shift,
            FIRST=shift == bits, NEW_WAYS=_WAYS.value if shift else 2, num_warps=4, **shape,
        )  # fmt: skip
        before, after = after, before
    threshold, last_tie = empty(), empty(dtype=torch.int32)
    _cut[(rows,)](*row, *before, threshold, last_tie, size, logits.stride(0), parts, num_warps=8, **shape)
    return threshold, last_tie
