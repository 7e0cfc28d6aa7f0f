# pyright: reportOperatorIssue=false
# (a kernel's values are not what the type checker takes them for)
"""Join attention over parts of the keys (arXiv:2501.01005, section 2.2)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last


@jit
def _merge(
    out_ptr, log_ptr, parts_ptr, part_logs_ptr, places_ptr, strides_ptr, numbers_ptr,
    HEADS: tl.constexpr, DIM: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    token = tl.program_id(0).to(tl.int64)
    number = tl.load(numbers_ptr + token)
    wait_for_last(OVERLAP)
    if number == 0:
        return
    head = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = head < HEADS
    at = head[:, None] * DIM + tl.arange(0, DIM)[None, :]
    target = out_ptr + token * HEADS * DIM + at
    most = tl.load(log_ptr + token * HEADS + head, there, other=0.0)
    total = tl.full((BLOCK,), 1.0, tl.float32)
    mixed = tl.load(target, there[:, None], other=0.0).to(tl.float32)
    place = tl.load(places_ptr + token).to(tl.int64)
    stride = tl.load(strides_ptr + token)
    for _ in range(number):
        log = tl.load(part_logs_ptr + place * HEADS + head, there, other=0.0)
        part = tl.load(parts_ptr + place * HEADS * DIM + at, there[:, None], other=0.0).to(tl.float32)
        highest = tl.maximum(most, log)
        faded, weight = tl.exp2(most - highest), tl.exp2(log - highest)
        mixed = mixed * faded[:, None] + part * weight[:, None]
        total = total * faded + weight
        most = highest
        place += stride
    tl.store(target, (mixed / total[:, None]).to(out_ptr.dtype.element_ty), there[:, None])


def merge(
    out: torch.Tensor,
    log: torch.Tensor,
    parts: torch.Tensor,
    part_logs: torch.Tensor,
    places: torch.Tensor,
    strides: torch.Tensor,
    numbers: torch.Tensor,
) -> None:
    """Join ``out`` (tokens, heads, head_dim), attention over some keys, with that over others, in place.

    Args:
        log: (tokens, heads) float32, base-2 logarithms of the sums of the exponentiated scores.
        parts, part_logs: the same for (copies of the tokens, ...).
        places, strides, numbers: (tokens,) int32, each token's copies: see :class:`attention.cut.Cut`.
    """
    tokens, heads, dim = out.shape
    block = min(8, triton.next_power_of_2(heads))
    _merge[(tokens, triton.cdiv(heads, block))](
        out, log, parts, part_logs, places, strides, numbers, HEADS=heads, DIM=dim, BLOCK=block, num_warps=4,
        **overlapping(),
    )  # fmt: skip
