"""From the fused projection to attention in one pass: head norms, rotation, and the write into the paged cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_FEW = 512  # tokens
_HEADS = 8


@jit
def _rotate_store(
    heads_ptr, norm_ptr, cos_ptr, sin_ptr, positions_ptr, slots_ptr, q_ptr, keys_ptr, values_ptr,
    copies_ptr, places_ptr, strides_ptr, numbers_ptr, eps,
    Q: tl.constexpr, KV: tl.constexpr, DIM: tl.constexpr, HALF: tl.constexpr, PAGE: tl.constexpr,
    HAS_NORM: tl.constexpr, HAS_COPIES: tl.constexpr, QUANTIZE: tl.constexpr, HEADS: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1) * HEADS + tl.arange(0, HEADS)
    half = tl.arange(0, HALF)
    there = (head < Q + 2 * KV)[:, None]
    turns = (head < Q + KV)[:, None]
    at = head[:, None] * DIM + half[None, :]
    source = heads_ptr + token * (Q + 2 * KV) * DIM
    first = tl.load(source + at, there, other=0.0).to(tl.float32)
    second = tl.load(source + HALF + at, there, other=0.0).to(tl.float32)
    slot = tl.load(slots_ptr + token).to(tl.int64)
    position = tl.load(positions_ptr + token).to(tl.int64)
    cos = tl.load(cos_ptr + position * DIM + half).to(tl.float32)[None, :]
    sin = tl.load(sin_ptr + position * DIM + HALF + half).to(tl.float32)[None, :]
    normed, other = first, second
    if HAS_NORM:
        scale = tl.rsqrt((tl.sum(first * first, 1) + tl.sum(second * second, 1)) / DIM + eps)[:, None]
        normed = first * scale * tl.load(norm_ptr + at, turns, other=0.0).to(tl.float32)
        other = second * scale * tl.load(norm_ptr + HALF + at, turns, other=0.0).to(tl.float32)
    first = tl.where(turns, normed * cos - other * sin, first)
    second = tl.where(turns, other * cos + normed * sin, second)
    is_query = (head < Q)[:, None]
    target = q_ptr + token * Q * DIM + at
    tl.store(target, first.to(q_ptr.dtype.element_ty), is_query)
    tl.store(target + HALF, second.to(q_ptr.dtype.element_ty), is_query)
    if HAS_COPIES:
        copy = tl.load(places_ptr + token).to(tl.int64)
        stride = tl.load(strides_ptr + token)
        for _ in range(tl.load(numbers_ptr + token)):
            target = copies_ptr + copy * Q * DIM + at
            tl.store(target, first.to(q_ptr.dtype.element_ty), is_query)
            tl.store(target + HALF, second.to(q_ptr.dtype.element_ty), is_query)
            copy += stride
    kv_head = tl.where(head < Q + KV, head - Q, head - Q - KV)
    place = ((slot // PAGE) * KV + kv_head) * PAGE * DIM + (slot % PAGE) * DIM
    if QUANTIZE:
        first = tl.clamp(first, -448.0, 448.0)
        second = tl.clamp(second, -448.0, 448.0)
    is_key = turns & (head >= Q)[:, None]
    is_value = there & (head >= Q + KV)[:, None]
    target = place[:, None] + half[None, :]
    tl.store(keys_ptr + target, first.to(keys_ptr.dtype.element_ty), is_key)
    tl.store(keys_ptr + target + HALF, second.to(keys_ptr.dtype.element_ty), is_key)
    tl.store(values_ptr + target, first.to(values_ptr.dtype.element_ty), is_value)
    tl.store(values_ptr + target + HALF, second.to(values_ptr.dtype.element_ty), is_value)


@dataclass(frozen=True)
class Copies:
    """Where copies of the queries go: ``room`` (copies, num_q, head_dim); the rest as in :class:`attention.cut.Cut`."""

    room: torch.Tensor
    places: torch.Tensor
    strides: torch.Tensor
    numbers: torch.Tensor


def rotate_store(
    heads: torch.Tensor,
    norm: torch.Tensor | None,
    eps: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    positions: torch.Tensor,
    slots: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    num_q: int,
    copies: Copies | None = None,
) -> torch.Tensor:
    """Returns the rotated queries (tokens, num_q, head_dim); keys and values go into the cache.

    Args:
        heads: (tokens, num_q + 2 * kv_heads, head_dim), queries first, then keys, then values.
        norm: (num_q + kv_heads, head_dim) weights of the head norms, or None.
        cos, sin: (positions, head_dim) tables of :class:`layers.rotary.Rotary`.
        positions, slots: (tokens,) integers; a slot is page * page_size + place in the page.
        keys, values: (pages, kv_heads, page_size, head_dim), the model's dtype or float8_e4m3fn.
    """
    tokens, all_heads, dim = heads.shape
    _, kv, page, _ = keys.shape
    q = heads.new_empty(tokens, num_q, dim)
    if tokens:
        # Single tokens are spread over many programs; of thousands, each takes one whole.
        together = _HEADS if tokens <= _FEW else triton.next_power_of_2(all_heads)
        more = (copies.room, copies.places, copies.strides, copies.numbers) if copies else (q, slots, slots, slots)
        _rotate_store[(tokens, triton.cdiv(all_heads, together))](
            heads, norm if norm is not None else heads, cos, sin, positions, slots, q, keys, values, *more,
            eps, Q=num_q, KV=kv, DIM=dim, HALF=dim // 2, PAGE=page,
            HAS_NORM=norm is not None, HAS_COPIES=copies is not None, QUANTIZE=keys.dtype == torch.float8_e4m3fn,
            HEADS=together, num_warps=max(1, min(8, together // 4)), **overlapping(),
        )  # fmt: skip
    return q
