"""From the fused projection to attention in one pass: head norms, rotation, and the write into the paged cache."""

from __future__ import annotations

import torch
import triton.language as tl

from .jit import jit


@jit
def _rotate_store(
    heads_ptr, norm_ptr, cos_ptr, sin_ptr, positions_ptr, slots_ptr, q_ptr, keys_ptr, values_ptr,
    eps, k_scale, v_scale,
    Q: tl.constexpr, KV: tl.constexpr, DIM: tl.constexpr, HALF: tl.constexpr, PAGE: tl.constexpr,
    HAS_NORM: tl.constexpr, QUANTIZE: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    head = tl.program_id(1)
    half = tl.arange(0, HALF)
    source = heads_ptr + (token * (Q + 2 * KV) + head) * DIM
    first = tl.load(source + half).to(tl.float32)
    second = tl.load(source + HALF + half).to(tl.float32)
    slot = tl.load(slots_ptr + token).to(tl.int64)
    if head < Q + KV:
        if HAS_NORM:
            scale = tl.rsqrt((tl.sum(first * first, 0) + tl.sum(second * second, 0)) / DIM + eps)
            first *= scale * tl.load(norm_ptr + head * DIM + half).to(tl.float32)
            second *= scale * tl.load(norm_ptr + head * DIM + HALF + half).to(tl.float32)
        position = tl.load(positions_ptr + token).to(tl.int64)
        cos = tl.load(cos_ptr + position * DIM + half).to(tl.float32)
        sin = tl.load(sin_ptr + position * DIM + HALF + half).to(tl.float32)
        first, second = first * cos - second * sin, second * cos + first * sin
    if head < Q:
        target = q_ptr + (token * Q + head) * DIM
        tl.store(target + half, first.to(q_ptr.dtype.element_ty))
        tl.store(target + HALF + half, second.to(q_ptr.dtype.element_ty))
    else:
        is_key = head < Q + KV
        kv_head = tl.where(is_key, head - Q, head - Q - KV)
        place = ((slot // PAGE) * KV + kv_head) * PAGE * DIM + (slot % PAGE) * DIM
        if QUANTIZE:
            inverse = 1.0 / tl.where(is_key, k_scale, v_scale)
            first = tl.clamp(first * inverse, -448.0, 448.0)
            second = tl.clamp(second * inverse, -448.0, 448.0)
        if is_key:
            tl.store(keys_ptr + place + half, first.to(keys_ptr.dtype.element_ty))
            tl.store(keys_ptr + place + HALF + half, second.to(keys_ptr.dtype.element_ty))
        else:
            tl.store(values_ptr + place + half, first.to(values_ptr.dtype.element_ty))
            tl.store(values_ptr + place + HALF + half, second.to(values_ptr.dtype.element_ty))


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
    k_scale: float = 1.0,
    v_scale: float = 1.0,
) -> torch.Tensor:
    """Returns the rotated queries (tokens, num_q, head_dim); keys and values go into the cache.

    Args:
        heads: (tokens, num_q + 2 * kv_heads, head_dim), queries first, then keys, then values.
        norm: (num_q + kv_heads, head_dim) weights of the head norms, or None.
        cos, sin: (positions, head_dim) tables of :class:`layers.rotary.Rotary`.
        positions, slots: (tokens,) integers; a slot is page * page_size + place in the page.
        keys, values: (pages, kv_heads, page_size, head_dim), the model's dtype or float8_e4m3fn.
        k_scale, v_scale: what stored float8 values are to be multiplied by.
    """
    tokens, all_heads, dim = heads.shape
    _, kv, page, _ = keys.shape
    q = heads.new_empty(tokens, num_q, dim)
    if tokens:
        _rotate_store[(tokens, all_heads)](
            heads, norm if norm is not None else heads, cos, sin, positions, slots, q, keys, values,
            eps, k_scale, v_scale, Q=num_q, KV=kv, DIM=dim, HALF=dim // 2, PAGE=page,
            HAS_NORM=norm is not None, QUANTIZE=keys.dtype == torch.float8_e4m3fn, num_warps=1,
        )  # fmt: skip
    return q
