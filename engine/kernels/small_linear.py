"""Linear layers for a few rows: products that are nothing but the reading of their weights.

One program reads one or two rows of the weights from end to end and multiplies them with every row of x, so that the
whole card reads at once whatever the shape; libraries leave a third of the bandwidth unused here.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit

MOST_ROWS = 4
"""Rows of x up to which this is the faster way."""


@jit
def _linear(
    x_ptr, weight_ptr, bias_ptr, out_ptr, inputs, outputs,
    ROWS: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    other = tl.zeros((ROWS, BLOCK), tl.float32)
    for start in range(0, inputs, BLOCK):
        at = start + place
        mask = at < inputs
        x = tl.load(x_ptr + row[:, None] * inputs + at[None, :], mask[None, :], other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + column * inputs + at, mask, other=0.0).to(tl.float32)
        total += x * weight[None, :]
        if GATED:
            weight = tl.load(weight_ptr + (outputs + column) * inputs + at, mask, other=0.0).to(tl.float32)
            other += x * weight[None, :]
    result = tl.sum(total, 1)
    if HAS_BIAS:
        result += tl.load(bias_ptr + column).to(tl.float32)
    if GATED:
        up = tl.sum(other, 1)
        if HAS_BIAS:
            up += tl.load(bias_ptr + outputs + column).to(tl.float32)
        # Rounded as it would be between two kernels.
        result = result.to(out_ptr.dtype.element_ty).to(tl.float32)
        result = result * tl.sigmoid(result) * up.to(out_ptr.dtype.element_ty).to(tl.float32)
    tl.store(out_ptr + row * outputs + column, result.to(out_ptr.dtype.element_ty))


def small_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, gated: bool = False
) -> torch.Tensor:
    """``x W^T + b`` for x (rows, inputs), rows 1, 2 or 4, and W (outputs, inputs).

    ``gated``: W holds gate and up projections one after the other; returns ``silu(gate) * up``, (rows, outputs / 2).
    """
    rows, inputs = x.shape
    outputs = weight.shape[0] // (2 if gated else 1)
    out = x.new_empty(rows, outputs)
    _linear[(outputs,)](
        x, weight, bias if bias is not None else weight, out, inputs, outputs,
        ROWS=rows, HAS_BIAS=bias is not None, GATED=gated, BLOCK=min(1024, triton.next_power_of_2(inputs)), num_warps=4,
    )  # fmt: skip
    return out
