# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Attention of one query a sequence over a paged cache, split along the sequence (Flash-Decoding).

The loads of keys and values are all that counts: every program streams a stretch of one sequence's pages for one
key/value head and serves that head's whole group of queries from it. The last program of a row and head to finish joins
the stretches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit

_LOG2E = tl.constexpr(1.4426950408889634)


@jit
def _decode(
    q_ptr, keys_ptr, values_ptr, starts_ptr, pages_ptr, lengths_ptr, out_ptr, partial_ptr, stats_ptr, finished_ptr,
    scale, v_scale, splits,
    KV: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
    BLOCK: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths_ptr + row)
    blocks = tl.cdiv(length, BLOCK)
    share = tl.cdiv(blocks, splits)
    used = tl.cdiv(blocks, share)
    if split >= used:
        return
    begin = split * share * BLOCK
    end = tl.minimum(length, begin + share * BLOCK)
    group = tl.arange(0, ROWS)
    dim = tl.arange(0, DIM)
    place = tl.arange(0, BLOCK)
    first_page = pages_ptr + tl.load(starts_ptr + row)
    queries = q_ptr + (row * KV + head) * GROUP * DIM
    q = tl.load(queries + group[:, None] * DIM + dim[None, :], (group < GROUP)[:, None], other=0.0)
    most = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, DIM), tl.float32)
    for start in range(begin, end, BLOCK):
        token = start + place
        known = token < end
        page = tl.load(first_page + token // PAGE, known, other=0).to(tl.int64)
        offset = (page * KV + head) * PAGE * DIM + (token % PAGE) * DIM
        k = tl.load(keys_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        v = tl.load(values_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        scores = tl.dot(q, k.T) * scale
        scores = tl.where(known[None, :], scores, -float("inf"))
        highest = tl.maximum(most, tl.max(scores, 1))
        faded = tl.exp2(most - highest)
        weights = tl.exp2(scores - highest[:, None])
        total = total * faded + tl.sum(weights, 1)
        mixed = mixed * faded[:, None] + tl.dot(weights.to(q.dtype), v)
        most = highest
    mixed *= v_scale
    pair = (row * KV + head).to(tl.int64)
    inside = group < GROUP
    if SPLITS == 1:
        target = out_ptr + pair * GROUP * DIM
        mixed = mixed / total[:, None]
        tl.store(target + group[:, None] * DIM + dim[None, :], mixed.to(out_ptr.dtype.element_ty), inside[:, None])
    else:
        mine = (pair * splits + split) * GROUP + group
        tl.store(partial_ptr + mine[:, None] * DIM + dim[None, :], mixed, inside[:, None])
        tl.store(stats_ptr + mine * 2, most, inside)
        tl.store(stats_ptr + mine * 2 + 1, total, inside)
        tl.debug_barrier()  # all of this program's stores come before its count
        if tl.atomic_add(finished_ptr + pair, 1, sem="acq_rel") == used - 1:
            tl.store(finished_ptr + pair, 0)  # for the next launch
            stretch = tl.arange(0, SPLITS)
            there = stretch < used
            for member in tl.static_range(GROUP):
                theirs = (pair * splits + stretch) * GROUP + member
                tops = tl.load(stats_ptr + theirs * 2, there, other=-float("inf"), cache_modifier=".cg")
                totals = tl.load(stats_ptr + theirs * 2 + 1, there, other=0.0, cache_modifier=".cg")
                weight = tl.exp2(tops - tl.max(tops, 0))
                parts = tl.load(
                    partial_ptr + theirs[:, None] * DIM + dim[None, :], there[:, None], other=0.0, cache_modifier=".cg"
                )
                joined = tl.sum(parts * weight[:, None], 0) / tl.sum(totals * weight, 0)
                tl.store(out_ptr + (pair * GROUP + member) * DIM + dim, joined.to(out_ptr.dtype.element_ty))


class DecodeWorkspace:
    """Room for the partial results of at most ``programs`` (row, head, split) triples, and for counting how many of a
    (row, head) pair have finished; one for all layers.
    """

    def __init__(self, programs: int, group: int, head_dim: int, device: torch.device) -> None:
        self.programs = programs
        self.partial = torch.empty(programs * group * head_dim, dtype=torch.float32, device=device)
        self.stats = torch.empty(programs * group * 2, dtype=torch.float32, device=device)
        self.finished = torch.zeros(programs, dtype=torch.int32, device=device)


def paged_decode(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    starts: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
    splits: int,
    workspace: DecodeWorkspace,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
) -> torch.Tensor:
    """Returns (rows, heads * head_dim).

    Args:
        q: (rows, heads, head_dim).
        keys, values: (pages, kv_heads, page_size, head_dim).
        starts: (rows + 1,) int32 or more, where each row's pages begin in ``pages``.
        lengths: (rows,) int32 tokens to attend to, at least 1.
        splits: programs that share a row and head; a power of two is not needed.
    """
    rows, heads, dim = q.shape
    _, kv, page, _ = keys.shape
    group = heads // kv
    assert rows * kv * splits <= workspace.programs or splits == 1
    out = q.new_empty(rows, heads * dim)
    block = max(page, 64 if dim <= 128 else 32)
    _decode[(rows, kv, splits)](
        q, keys, values, starts, pages, lengths, out, workspace.partial, workspace.stats, workspace.finished,
        dim**-0.5 * _LOG2E.value * k_scale, v_scale, splits,
        KV=kv, GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, PAGE=page, BLOCK=block,
        SPLITS=triton.next_power_of_2(splits), num_warps=4, num_stages=3,
    )  # fmt: skip
    return out
