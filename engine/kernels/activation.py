"""The gate of SwiGLU (arXiv:2002.05202)."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last


@jit
def _silu_mul(x_ptr, out_ptr, size, BLOCK: tl.constexpr, OVERLAP: tl.constexpr):
    launch_next(OVERLAP)
    wait_for_last(OVERLAP)
    row = tl.program_id(0).to(tl.int64)
    columns = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = columns < size
    gate = tl.load(x_ptr + row * 2 * size + columns, mask, other=0.0).to(tl.float32)
    up = tl.load(x_ptr + row * 2 * size + size + columns, mask, other=0.0).to(tl.float32)
    tl.store(out_ptr + row * size + columns, (gate * tl.sigmoid(gate) * up).to(out_ptr.dtype.element_ty), mask)


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` for (tokens, 2 * size) with the gate first; returns (tokens, size)."""
    tokens, twice = gate_up.shape
    size = twice // 2
    out = gate_up.new_empty(tokens, size)
    if tokens:
        block = min(1024, triton.next_power_of_2(size))
        _silu_mul[(tokens, triton.cdiv(size, block))](gate_up, out, size, BLOCK=block, num_warps=4, **overlapping())
    return out
