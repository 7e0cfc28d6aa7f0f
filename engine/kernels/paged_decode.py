# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Attention of one query a sequence over a paged cache, split along the sequence (Flash-Decoding).

The loads of keys and values are all that counts: every program streams a stretch of one sequence's pages for one
key/value head and serves that head's whole group of queries from it. A second kernel joins the stretches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit

_LOG2E = tl.constexpr(1.4426950408889634)


@jit
def _decode(
    q_ptr, keys_ptr, values_ptr, starts_ptr, pages_ptr, lengths_ptr, out_ptr, partial_ptr, stats_ptr,
    scale, v_scale, splits,
    KV: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
    BLOCK: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    head = tl.program_id(1)
    split = tl.program_id(2)
    length = tl.load(lengths_ptr + row)
    blocks = tl.cdiv(length, BLOCK)
    share = tl.cdiv(blocks, splits)
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
    if SPLIT:
        place_of = (row * KV + head) * splits + split
        inside = group < GROUP
        tl.store(partial_ptr + (place_of * GROUP + group[:, None]) * DIM + dim[None, :], mixed, inside[:, None])
        tl.store(stats_ptr + (place_of * GROUP + group) * 2, most, inside)
        tl.store(stats_ptr + (place_of * GROUP + group) * 2 + 1, total, inside)
    else:
        target = out_ptr + (row * KV + head) * GROUP * DIM
        mixed = mixed / total[:, None]
        tl.store(
            target + group[:, None] * DIM + dim[None, :], mixed.to(out_ptr.dtype.element_ty), (group < GROUP)[:, None]
        )


@jit
def _join(partial_ptr, stats_ptr, out_ptr, splits, GROUP: tl.constexpr, DIM: tl.constexpr, SPLITS: tl.constexpr):
    pair = tl.program_id(0).to(tl.int64)  # of row and key/value head
    member = tl.program_id(1)
    split = tl.arange(0, SPLITS)
    dim = tl.arange(0, DIM)
    there = split < splits
    place = (pair * splits + split) * GROUP + member
    most = tl.load(stats_ptr + place * 2, there, other=-float("inf"))
    total = tl.load(stats_ptr + place * 2 + 1, there, other=0.0)
    highest = tl.max(most, 0)
    weight = tl.where(total > 0, tl.exp2(most - highest), 0.0)
    mixed = tl.load(partial_ptr + place[:, None] * DIM + dim[None, :], there[:, None], other=0.0)
    joined = tl.sum(mixed * weight[:, None], 0) / tl.sum(total * weight, 0)
    tl.store(out_ptr + (pair * GROUP + member) * DIM + dim, joined.to(out_ptr.dtype.element_ty))


class DecodeWorkspace:
    """Room for the partial results of at most ``programs`` (row, head, split) triples; one for all layers."""

    def __init__(self, programs: int, group: int, head_dim: int, device: torch.device) -> None:
        self.programs = programs
        self.partial = torch.empty(programs * group * head_dim, dtype=torch.float32, device=device)
        self.stats = torch.empty(programs * group * 2, dtype=torch.float32, device=device)


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
        q, keys, values, starts, pages, lengths, out, workspace.partial, workspace.stats,
        dim**-0.5 * _LOG2E.value * k_scale, v_scale, splits,
        KV=kv, GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, PAGE=page, BLOCK=block,
        SPLIT=splits > 1, num_warps=4, num_stages=3,
    )  # fmt: skip
    if splits > 1:
        _join[(rows * kv, group)](
            workspace.partial, workspace.stats, out, splits,
            GROUP=group, DIM=dim, SPLITS=triton.next_power_of_2(splits), num_warps=2,
        )  # fmt: skip
    return out
