# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Causal attention of prompt chunks over a paged cache (FlashAttention-2, arXiv:2307.08691), where no library is."""

from __future__ import annotations

import torch
import triton.language as tl

from .jit import jit
from .paged_decode import _LOG2E

BLOCK_Q = 64
"""Queries that one program serves."""
_BLOCK_BYTES = 16384  # of keys that it reads at once, so that it fits into the 99 KB of the smaller cards


@jit
def _prefill(
    q_ptr, keys_ptr, values_ptr, block_rows_ptr, block_starts_ptr, query_starts_ptr, page_starts_ptr, pages_ptr,
    lengths_ptr, out_ptr, scale,
    HEADS: tl.constexpr, KV: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr, ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    block = tl.program_id(0)
    head = tl.program_id(1)
    kv_head = head // (HEADS // KV)
    row = tl.load(block_rows_ptr + block)
    if row < 0:
        return
    in_row = tl.load(block_starts_ptr + block) + tl.arange(0, ROWS)
    first_query = tl.load(query_starts_ptr + row)
    count = tl.load(query_starts_ptr + row + 1) - first_query
    length = tl.load(lengths_ptr + row)
    position = length - count + in_row  # of each query in its sequence
    dim = tl.arange(0, DIM)
    inside = in_row < count
    places = ((first_query + in_row).to(tl.int64) * HEADS + head) * DIM
    q = tl.load(q_ptr + places[:, None] + dim[None, :], inside[:, None], other=0.0)
    first_page = pages_ptr + tl.load(page_starts_ptr + row)
    most = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, DIM), tl.float32)
    last = tl.minimum(length, tl.max(tl.where(inside, position, 0), 0) + 1)
    for start in range(0, last, BLOCK):
        token = start + tl.arange(0, BLOCK)
        known = token < last
        page = tl.load(first_page + token // PAGE, known, other=0).to(tl.int64)
        offset = (page * KV + kv_head) * PAGE * DIM + (token % PAGE) * DIM
        k = tl.load(keys_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        v = tl.load(values_ptr + offset[:, None] + dim[None, :], known[:, None], other=0.0).to(q.dtype)
        scores = tl.dot(q, k.T, input_precision="ieee") * scale
        scores = tl.where(known[None, :] & (token[None, :] <= position[:, None]), scores, -float("inf"))
        highest = tl.maximum(most, tl.max(scores, 1))
        faded = tl.exp2(most - highest)
        weights = tl.exp2(scores - highest[:, None])
        total = total * faded + tl.sum(weights, 1)
        mixed = mixed * faded[:, None] + tl.dot(weights.to(q.dtype), v, input_precision="ieee")
        most = highest
    mixed = mixed / total[:, None]
    tl.store(out_ptr + places[:, None] + dim[None, :], mixed.to(out_ptr.dtype.element_ty), inside[:, None])


def paged_prefill(
    q: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    block_rows: torch.Tensor,
    block_starts: torch.Tensor,
    query_starts: torch.Tensor,
    page_starts: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """Attends into ``out``.

    Args:
        q: (tokens, heads, head_dim), the rows' queries one after another, maybe behind others.
        keys, values: (pages, kv_heads, page_size, head_dim).
        block_rows, block_starts: (blocks,) int32: each program's row, negative for none, and its first query counted in
            the row.
        query_starts, page_starts: (rows + 1,) int32.
        lengths: (rows,) int32, tokens of each row with its queries, which are the last of them.
        out: (tokens, heads * head_dim).
    """
    tokens, heads, dim = q.shape
    _, kv, page, _ = keys.shape
    if tokens:
        block = max(16, min(64, _BLOCK_BYTES // (dim * q.element_size())))
        _prefill[(len(block_rows), heads)](
            q, keys, values, block_rows, block_starts, query_starts, page_starts, pages, lengths, out,
            dim**-0.5 * _LOG2E.value,
            HEADS=heads, KV=kv, DIM=dim, PAGE=page, ROWS=BLOCK_Q, BLOCK=block,
            num_warps=4, num_stages=min(2, block // 16),
        )  # fmt: skip
