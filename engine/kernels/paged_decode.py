# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""A decode's attention in one pass: head norms, rotation, the write into the paged cache, and one query a sequence.

Split along the sequence (Flash-Decoding). The loads of keys and values are all that counts: every program streams a
stretch of one sequence's pages for one key/value head and serves that head's whole group of queries from it. The newest
token's key and value never leave the registers of the program that has the last stretch, except for the cache. What the
programs that share a row found is joined by the one that ends last or, for few rows, by a second kernel.
"""

from __future__ import annotations

import numpy as np
import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_LOG2E = tl.constexpr(1.4426950408889634)


@jit
def _turned(source, norm, cos_ptr, sin_ptr, there, eps, DIM: tl.constexpr, HAS_NORM: tl.constexpr):
    """Heads at ``source`` (rows, 1), each normed and rotated: (rows, DIM) float32."""
    dim = tl.arange(0, DIM)[None, :]
    partner = (dim + DIM // 2) % DIM
    x = tl.load(source + dim, there, other=0.0).to(tl.float32)
    y = tl.load(source + partner, there, other=0.0).to(tl.float32)
    if HAS_NORM:
        scale = tl.rsqrt(tl.sum(x * x, 1) / DIM + eps)[:, None]
        x *= scale * tl.load(norm + dim, there, other=0.0).to(tl.float32)
        y *= scale * tl.load(norm + partner, there, other=0.0).to(tl.float32)
    return x * tl.load(cos_ptr + dim).to(tl.float32) + y * tl.load(sin_ptr + dim).to(tl.float32)


@jit
def _decode(
    heads_ptr, norm_ptr, cos_ptr, sin_ptr, keys_ptr, values_ptr, stretches_ptr, pages_ptr,
    out_ptr, partial_ptr, stats_ptr, arrived_ptr, eps, scale,
    KV: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
    BLOCK: tl.constexpr, PARTS: tl.constexpr, JOINS: tl.constexpr, HAS_NORM: tl.constexpr, QUANTIZE: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    head = tl.program_id(0)
    index = tl.program_id(1)
    stretch = stretches_ptr + index * 8
    row = tl.load(stretch).to(tl.int64)
    begin = tl.load(stretch + 1)
    end = tl.load(stretch + 2)
    first_page = pages_ptr + tl.load(stretch + 3)
    slot = tl.load(stretch + 4).to(tl.int64)
    last = tl.load(stretch + 5)  # place of the newest token
    first = tl.load(stretch + 6)
    part = tl.load(stretch + 7)
    part, parts = part >> 16, part & 65535
    if (parts == 0) & (index > 0):  # one program that waits is enough for kernels behind this one
        return
    wait_for_last(OVERLAP)
    if parts == 0:
        return
    group = tl.arange(0, ROWS)
    inside = group < GROUP
    dim = tl.arange(0, DIM)
    place = tl.arange(0, BLOCK)
    of_row = heads_ptr + row * (GROUP + 2) * KV * DIM
    cos, sin = cos_ptr + last * DIM, sin_ptr + last * DIM
    member = (head * GROUP + group)[:, None] * DIM
    q = _turned(of_row + member, norm_ptr + member, cos, sin, inside[:, None], eps, DIM, HAS_NORM)
    q = q.to(heads_ptr.dtype.element_ty)
    most = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, DIM), tl.float32)
    if part == parts - 1:
        one = tl.zeros((1, 1), tl.int32)
        mine = (GROUP * KV + head) * DIM + one
        key = _turned(of_row + mine, norm_ptr + mine, cos, sin, one == 0, eps, DIM, HAS_NORM)
        value = tl.load(of_row + ((GROUP + 1) * KV + head) * DIM + dim)[None, :].to(tl.float32)
        if QUANTIZE:
            key = tl.clamp(key, -448.0, 448.0)
            value = tl.clamp(value, -448.0, 448.0)
        key, value = key.to(keys_ptr.dtype.element_ty), value.to(values_ptr.dtype.element_ty)
        target = ((slot // PAGE) * KV + head) * PAGE * DIM + (slot % PAGE) * DIM + dim[None, :]
        tl.store(keys_ptr + target, key)
        tl.store(values_ptr + target, value)
        most = tl.sum(q.to(tl.float32) * key.to(q.dtype).to(tl.float32), 1) * scale
        total = tl.full((ROWS,), 1.0, tl.float32)
        mixed += value.to(q.dtype).to(tl.float32)
    for start in range(begin, end, BLOCK):
        token = start + place
        known = token < end
        page = tl.load(first_page + token // PAGE, known, other=0).to(tl.int64)
        offset = (page * KV + head) * PAGE * DIM + (token % PAGE) * DIM
        k = tl.load(keys_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        v = tl.load(values_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        scores = tl.dot(q, k.T, input_precision="ieee") * scale
        scores = tl.where(known[None, :], scores, -float("inf"))
        highest = tl.maximum(most, tl.max(scores, 1))
        faded = tl.exp2(most - highest)
        weights = tl.exp2(scores - highest[:, None])
        total = total * faded + tl.sum(weights, 1)
        mixed = mixed * faded[:, None] + tl.dot(weights.to(q.dtype), v, input_precision="ieee")
        most = highest
    out = out_ptr + (row * KV + head) * GROUP * DIM
    if parts == 1:
        target = out + group[:, None] * DIM + dim[None, :]
        tl.store(target, (mixed / total[:, None]).to(out_ptr.dtype.element_ty), inside[:, None])
    else:
        mine = ((first + part) * KV + head) * GROUP + group
        tl.store(partial_ptr + mine[:, None] * DIM + dim[None, :], mixed, inside[:, None])
        tl.store(stats_ptr + mine * 2, most, inside)
        tl.store(stats_ptr + mine * 2 + 1, total, inside)
        if JOINS:
            tl.debug_barrier()  # what all threads stored is there before one of them says so
            if tl.atomic_add(arrived_ptr + first * KV + head, 1) == parts - 1:
                tl.store(arrived_ptr + first * KV + head, 0)
                for mate in tl.static_range(GROUP):  # pyright: ignore[reportGeneralTypeIssues] # Triton unrolls it
                    _join(partial_ptr, stats_ptr, out, first, parts, head, mate, KV, GROUP, DIM, PARTS)


@jit
def _join_rows(
    partial_ptr, stats_ptr, places_ptr, out_ptr,
    KV: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, PARTS: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    head = tl.program_id(0)
    row = tl.program_id(1)
    first = tl.load(places_ptr + row * 2)
    parts = tl.load(places_ptr + row * 2 + 1)
    wait_for_last(OVERLAP)
    if parts > 1:
        out = out_ptr + (row.to(tl.int64) * KV + head) * GROUP * DIM
        _join(partial_ptr, stats_ptr, out, first, parts, head, tl.program_id(2), KV, GROUP, DIM, PARTS)


@jit
def _join(
    partial_ptr, stats_ptr, out, first, parts, head, member,
    KV: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """What all parts of a row found for a query, which other programs wrote, so not from L1."""
    dim = tl.arange(0, DIM)
    most = tl.full((), -float("inf"), tl.float32)
    total = tl.zeros((), tl.float32)
    mixed = tl.zeros((DIM,), tl.float32)
    for start in range(0, parts, PARTS):
        part = start + tl.arange(0, PARTS)
        there = part < parts
        mine = ((first + part) * KV + head) * GROUP + member
        found = tl.load(
            partial_ptr + mine[:, None] * DIM + dim[None, :], there[:, None], other=0.0, cache_modifier=".cg"
        )
        logs = tl.load(stats_ptr + mine * 2, there, other=-float("inf"), cache_modifier=".cg")
        sums = tl.load(stats_ptr + mine * 2 + 1, there, other=0.0, cache_modifier=".cg")
        highest = tl.maximum(most, tl.max(logs, 0))
        faded = tl.exp2(most - highest)
        weights = tl.exp2(logs - highest)
        total = total * faded + tl.sum(sums * weights, 0)
        mixed = mixed * faded + tl.sum(found * weights[:, None], 0)
        most = highest
    tl.store(out + member * DIM + dim, (mixed / total).to(out.dtype.element_ty))


_PROGRAMS = 512  # that a decode is cut into about, so that every multiprocessor has several
_PART = 65536
_JOINED = 64  # parts that a program reads at once that does nothing else
FEW_ROWS = 32
"""Rows whose parts are joined soonest by a kernel of its own; of more, the last program of each row does it."""


def block_size(head_dim: int) -> int:
    """Tokens that a program reads at once."""
    return 64 if head_dim <= 128 else 32


def most_stretches(rows: int, kv_heads: int) -> int:
    """How many :func:`into_stretches` of ``rows`` rows there may be."""
    return rows + -(-_PROGRAMS // kv_heads)


def into_stretches(lengths: np.ndarray, starts: np.ndarray, slots: np.ndarray, kv_heads: int, block: int) -> np.ndarray:
    """Cut rows of (rows,) ``lengths`` tokens, the newest included, into stretches that take about as long.

    starts: (rows,) where each row's pages begin. slots: (rows,) where the newest token goes. Returns (stretches, 8)
    integers: row, first token, the one behind the last, start, slot, place of the newest token, where the row's parts
    begin among all, and ``part * 65536 + parts``, which of how many it is. The longest ones come first; rows of zeros
    behind them stand for nothing.
    """
    blocks = np.maximum(-(-(lengths - 1) // block), 1)
    most = -(-blocks.sum() * kv_heads // _PROGRAMS)
    parts = -(-blocks // most)
    share = -(-blocks // parts)
    parts = -(-blocks // share)
    row = np.repeat(np.arange(len(lengths)), parts)
    first = np.cumsum(parts) - parts
    part = np.arange(len(row)) - first[row]
    begin = part * share[row] * block
    last = lengths[row] - 1
    end = np.minimum(begin + share[row] * block, last)
    columns = row, begin, end, starts[row], slots[row], last, first[row], part * _PART + parts[row]
    return np.stack(columns, 1)[np.argsort(begin - end, kind="stable")]


def into_joins(stretches: np.ndarray) -> np.ndarray:
    """Where the parts of each row are among all :func:`into_stretches`: (rows, 2), the first and how many."""
    firsts = stretches[stretches[:, 7] < _PART]
    return np.stack((firsts[:, 6], firsts[:, 7]), 1)[np.argsort(firsts[:, 0])]


class DecodeWorkspace:
    """Room for the partial results of at most ``count`` stretches; one for all layers."""

    def __init__(self, count: int, kv_heads: int, group: int, head_dim: int, device: torch.device) -> None:
        self.count = count
        self.partial = torch.empty(count * kv_heads * group * head_dim, dtype=torch.float32, device=device)
        self.stats = torch.empty(count * kv_heads * group * 2, dtype=torch.float32, device=device)
        self.arrived = torch.zeros(count * kv_heads, dtype=torch.int32, device=device)  # parts of a row that are done


def paged_decode(
    heads: torch.Tensor,
    norm: torch.Tensor | None,
    eps: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    stretches: torch.Tensor,
    pages: torch.Tensor,
    workspace: DecodeWorkspace,
    out: torch.Tensor,
    joins: torch.Tensor | None = None,
) -> None:
    """Attends into ``out`` for the rows that ``stretches`` names. The newest token of each goes into the cache.

    Args:
        heads, norm, eps, cos, sin: see :func:`.rotate_store.rotate_store`.
        keys, values: (pages, kv_heads, page_size, head_dim).
        stretches: (stretches, 8) int32, see :func:`into_stretches`. Fastest when the longest rows come first.
        pages: int32, the rows' pages.
        out: (rows, heads * head_dim).
        joins: (rows, 2) int32, see :func:`into_joins`, to join them by a kernel of its own.
    """
    _, all_heads, dim = heads.shape
    _, kv, page, _ = keys.shape
    group = all_heads // kv - 2
    assert len(stretches) <= workspace.count
    # Programs start in the grid's order: a row's heads, whose lines are neighbours, and the longest rows first.
    _decode[(kv, len(stretches))](
        heads, norm if norm is not None else heads, cos, sin, keys, values, stretches, pages,
        out, workspace.partial, workspace.stats, workspace.arrived,
        eps, dim**-0.5 * _LOG2E.value,
        KV=kv, GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, PAGE=page,
        BLOCK=block_size(dim), PARTS=8, JOINS=joins is None,
        HAS_NORM=norm is not None, QUANTIZE=keys.dtype == torch.float8_e4m3fn, num_warps=4, num_stages=3,
        **overlapping(),
    )  # fmt: skip
    if joins is not None:
        _join_rows[(kv, len(joins), group)](
            workspace.partial, workspace.stats, joins, out,
            KV=kv, GROUP=group, DIM=dim, PARTS=_JOINED, num_warps=4, **overlapping(),
        )  # fmt: skip
