# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""A decode's attention in one pass: head norms, rotation, the write into the paged cache, and one query a sequence.

Split along the sequence (Flash-Decoding). The loads of keys and values are all that counts: every program streams a
stretch of one sequence's pages for one key/value head and serves that head's whole group of queries from it. The newest
token's key and value never leave the registers of the program that has the last stretch, except for the cache. A second
kernel joins the stretches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit

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
    heads_ptr, norm_ptr, cos_ptr, sin_ptr, slots_ptr, keys_ptr, values_ptr, starts_ptr, pages_ptr, lengths_ptr,
    out_ptr, partial_ptr, stats_ptr, eps, scale, k_scale, v_scale, splits,
    KV: tl.constexpr, GROUP: tl.constexpr, ROWS: tl.constexpr, DIM: tl.constexpr, PAGE: tl.constexpr,
    BLOCK: tl.constexpr, SPLIT: tl.constexpr, HAS_NORM: tl.constexpr, QUANTIZE: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)
    row = tl.program_id(1).to(tl.int64)
    split = tl.program_id(2)
    last = tl.load(lengths_ptr + row) - 1  # place of the newest token
    blocks = tl.maximum(tl.cdiv(last, BLOCK), 1)
    share = tl.cdiv(blocks, splits)
    used = tl.cdiv(blocks, share)
    if split >= used:
        return
    begin = split * share * BLOCK
    end = tl.minimum(last, begin + share * BLOCK)
    group = tl.arange(0, ROWS)
    inside = group < GROUP
    dim = tl.arange(0, DIM)
    place = tl.arange(0, BLOCK)
    first_page = pages_ptr + tl.load(starts_ptr + row)
    of_row = heads_ptr + row * (GROUP + 2) * KV * DIM
    cos, sin = cos_ptr + last * DIM, sin_ptr + last * DIM
    member = (head * GROUP + group)[:, None] * DIM
    q = _turned(of_row + member, norm_ptr + member, cos, sin, inside[:, None], eps, DIM, HAS_NORM)
    q = q.to(heads_ptr.dtype.element_ty)
    most = tl.full((ROWS,), -float("inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    mixed = tl.zeros((ROWS, DIM), tl.float32)
    if split == used - 1:
        one = tl.zeros((1, 1), tl.int32)
        mine = (GROUP * KV + head) * DIM + one
        key = _turned(of_row + mine, norm_ptr + mine, cos, sin, one == 0, eps, DIM, HAS_NORM)
        value = tl.load(of_row + ((GROUP + 1) * KV + head) * DIM + dim)[None, :].to(tl.float32)
        if QUANTIZE:
            key = tl.clamp(key / k_scale, -448.0, 448.0)
            value = tl.clamp(value / v_scale, -448.0, 448.0)
        key, value = key.to(keys_ptr.dtype.element_ty), value.to(values_ptr.dtype.element_ty)
        slot = tl.load(slots_ptr + row).to(tl.int64)
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
    mixed *= v_scale
    pair = row * KV + head
    if SPLIT:
        mine = (pair * splits + split) * GROUP + group
        tl.store(partial_ptr + mine[:, None] * DIM + dim[None, :], mixed, inside[:, None])
        tl.store(stats_ptr + mine * 2, most, inside)
        tl.store(stats_ptr + mine * 2 + 1, total, inside)
    else:
        target = out_ptr + (pair * GROUP + group[:, None]) * DIM + dim[None, :]
        tl.store(target, (mixed / total[:, None]).to(out_ptr.dtype.element_ty), inside[:, None])


@jit
def _join(
    partial_ptr, stats_ptr, lengths_ptr, out_ptr, splits,
    KV: tl.constexpr, GROUP: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64)  # of row and key/value head
    member = tl.program_id(1)
    blocks = tl.maximum(tl.cdiv(tl.load(lengths_ptr + pair // KV) - 1, BLOCK), 1)
    used = tl.cdiv(blocks, tl.cdiv(blocks, splits))
    split = tl.arange(0, SPLITS)
    dim = tl.arange(0, DIM)
    there = split < used
    place = (pair * splits + split) * GROUP + member
    most = tl.load(stats_ptr + place * 2, there, other=-float("inf"))
    total = tl.load(stats_ptr + place * 2 + 1, there, other=0.0)
    mixed = tl.load(partial_ptr + place[:, None] * DIM + dim[None, :], there[:, None], other=0.0)
    weight = tl.exp2(most - tl.max(most, 0))
    joined = tl.sum(mixed * weight[:, None], 0) / tl.sum(total * weight, 0)
    tl.store(out_ptr + (pair * GROUP + member) * DIM + dim, joined.to(out_ptr.dtype.element_ty))


class DecodeWorkspace:
    """Room for the partial results of at most ``programs`` (row, head, split) triples; one for all layers."""

    def __init__(self, programs: int, group: int, head_dim: int, device: torch.device) -> None:
        self.programs = programs
        self.partial = torch.empty(programs * group * head_dim, dtype=torch.float32, device=device)
        self.stats = torch.empty(programs * group * 2, dtype=torch.float32, device=device)


def paged_decode(
    heads: torch.Tensor,
    norm: torch.Tensor | None,
    eps: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    starts: torch.Tensor,
    pages: torch.Tensor,
    lengths: torch.Tensor,
    splits: int,
    workspace: DecodeWorkspace,
    out: torch.Tensor,
    k_scale: float = 1.0,
    v_scale: float = 1.0,
) -> None:
    """Attends into ``out``. The newest token of each row, the last of its length, goes into the cache.

    Args:
        heads, norm, eps, cos, sin, k_scale, v_scale: see :func:`.rotate_store.rotate_store`.
        slots: (rows,) int32, where the newest token's key and value go.
        keys, values: (pages, kv_heads, page_size, head_dim).
        starts: (rows + 1,) int32 or more, where each row's pages begin in ``pages``.
        lengths: (rows,) int32 tokens to attend to, the newest included. Fastest when the longest come first.
        splits: programs that share a row and head; a power of two is not needed.
        out: (rows, heads * head_dim).
    """
    rows, all_heads, dim = heads.shape
    _, kv, page, _ = keys.shape
    group = all_heads // kv - 2
    assert rows * kv * splits <= workspace.programs or splits == 1
    block = max(page, 64 if dim <= 128 else 32)
    # Programs start in the grid's order: a row's heads, whose lines are neighbours, and the longest rows first.
    _decode[(kv, rows, splits)](
        heads, norm if norm is not None else heads, cos, sin, slots, keys, values, starts, pages, lengths,
        out, workspace.partial, workspace.stats, eps, dim**-0.5 * _LOG2E.value * k_scale, k_scale, v_scale, splits,
        KV=kv, GROUP=group, ROWS=max(16, triton.next_power_of_2(group)), DIM=dim, PAGE=page, BLOCK=block,
        SPLIT=splits > 1, HAS_NORM=norm is not None, QUANTIZE=keys.dtype == torch.float8_e4m3fn,
        num_warps=4, num_stages=3,
    )  # fmt: skip
    if splits > 1:
        _join[(rows * kv, group)](
            workspace.partial, workspace.stats, lengths, out, splits,
            KV=kv, GROUP=group, DIM=dim, BLOCK=block, SPLITS=triton.next_power_of_2(splits), num_warps=2,
        )  # fmt: skip
