"""Root-mean-square norm (arXiv:1910.07467), with the residual sum before it."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last


@jit
def _add_rms_norm(
    x_ptr, residual_ptr, weight_ptr, out_ptr, size, eps,
    HAS_RESIDUAL: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    mask = columns < size
    weight = tl.load(weight_ptr + columns, mask, other=0.0).to(tl.float32)
    wait_for_last(OVERLAP)
    x = tl.load(x_ptr + row * size + columns, mask, other=0.0).to(tl.float32)
    if HAS_RESIDUAL:
        x += tl.load(residual_ptr + row * size + columns, mask, other=0.0).to(tl.float32)
        summed = x.to(residual_ptr.dtype.element_ty)
        tl.store(residual_ptr + row * size + columns, summed, mask)
        x = summed.to(tl.float32)
    scale = tl.rsqrt(tl.sum(x * x, 0) / size + eps)
    tl.store(out_ptr + row * size + columns, (x * scale * weight).to(out_ptr.dtype.element_ty), mask)


def add_rms_norm(x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """The norm of ``x + residual``; ``residual`` becomes that sum. Both (tokens, size), contiguous."""
    tokens, size = x.shape
    out = torch.empty_like(x)
    if tokens:
        block = triton.next_power_of_2(size)
        _add_rms_norm[(tokens,)](
            x, residual if residual is not None else x, weight, out, size, eps,
            HAS_RESIDUAL=residual is not None, BLOCK=block, num_warps=min(16, max(1, block // 256)),
            **overlapping(),
        )  # fmt: skip
    return out
