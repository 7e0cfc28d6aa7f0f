# pyright: reportGeneralTypeIssues=false
# (a kernel's loops are not what the type checker takes them for)
"""Linear layers for a few rows: products that are nothing but the reading of their weights.

One program reads one or two rows of the weights from end to end and multiplies them with every row of x, so that the
whole card reads at once whatever the shape; libraries leave a third of the bandwidth unused here.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_BLOCK = 4096  # inputs whose weights a program holds at once


@jit
def _linear(
    x_ptr, weight_ptr, bias_ptr, out_ptr, inputs, outputs,
    ROWS: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    column = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    row = tl.arange(0, ROWS)
    total = tl.zeros((ROWS, BLOCK), tl.float32)
    other = tl.zeros((ROWS, BLOCK), tl.float32)
    # The weights are asked for a block ahead, the first ones before x is there.
    first_row, second_row = weight_ptr + column * inputs, weight_ptr + (outputs + column) * inputs
    weight = tl.load(first_row + place, place < inputs, other=0.0)
    second = weight
    if GATED:
        second = tl.load(second_row + place, place < inputs, other=0.0)
    wait_for_last(OVERLAP)
    for start in range(0, inputs, BLOCK):
        at, ahead = start + place, start + BLOCK + place
        x = tl.load(x_ptr + row[:, None] * inputs + at[None, :], (at < inputs)[None, :], other=0.0).to(tl.float32)
        total += x * weight.to(tl.float32)[None, :]
        weight = tl.load(first_row + ahead, ahead < inputs, other=0.0)
        if GATED:
            other += x * second.to(tl.float32)[None, :]
            second = tl.load(second_row + ahead, ahead < inputs, other=0.0)
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
        ROWS=rows, HAS_BIAS=bias is not None, GATED=gated, BLOCK=min(_BLOCK, triton.next_power_of_2(inputs)),
        num_warps=4, **overlapping(),
    )  # fmt: skip
    return out


@jit
def _normed_linear(
    x_ptr, residual_ptr, norm_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, inputs, outputs, eps,
    ROWS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr, BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    column = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    mask = place < inputs
    # The weights are asked for first: they come from far, and what follows needs only the few values of x.
    weight = tl.load(weight_ptr + column * inputs + place, mask, other=0.0)
    other = weight
    if GATED:
        other = tl.load(weight_ptr + (outputs + column) * inputs + place, mask, other=0.0)
    norm = tl.load(norm_ptr + place, mask, other=0.0).to(tl.float32)
    wait_for_last(OVERLAP)
    for row in tl.static_range(ROWS):  # pyright: ignore[reportGeneralTypeIssues] # Triton unrolls it
        x = tl.load(x_ptr + row * inputs + place, mask, other=0.0).to(tl.float32)
        if HAS_RESIDUAL:
            x += tl.load(residual_ptr + row * inputs + place, mask, other=0.0).to(tl.float32)
            # Rounded here and below as it would be between kernels.
            summed = x.to(out_ptr.dtype.element_ty)
            if column == 0:
                tl.store(summed_ptr + row * inputs + place, summed, mask)
            x = summed.to(tl.float32)
        scale = tl.rsqrt(tl.sum(x * x, 0) / inputs + eps)
        x = (x * scale * norm).to(out_ptr.dtype.element_ty).to(tl.float32)
        result = tl.sum(weight.to(tl.float32) * x, 0)
        if HAS_BIAS:
            result += tl.load(bias_ptr + column).to(tl.float32)
        if GATED:
            up = tl.sum(other.to(tl.float32) * x, 0)  # pyright: ignore[reportPossiblyUnboundVariable]
            if HAS_BIAS:
                up += tl.load(bias_ptr + outputs + column).to(tl.float32)
            result = result.to(out_ptr.dtype.element_ty).to(tl.float32)
            result = result * tl.sigmoid(result) * up.to(out_ptr.dtype.element_ty).to(tl.float32)
        tl.store(out_ptr + row * outputs + column, result.to(out_ptr.dtype.element_ty))


def normed_linear(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    norm: torch.Tensor,
    eps: float,
    weight: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    gated: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`small_linear` of the norm of ``x + residual``, and that sum, in one pass.

    Every program norms the few values of x for itself, which costs less than a kernel of its own. It holds a whole
    row of x at once, so x may have a few thousand inputs.
    """
    rows, inputs = x.shape
    outputs = weight.shape[0] // (2 if gated else 1)
    out = x.new_empty(rows, outputs)
    summed = torch.empty_like(x) if residual is not None else x
    _normed_linear[(outputs,)](
        x, residual if residual is not None else x, norm, weight, bias if bias is not None else weight, out, summed,
        inputs, outputs, eps, ROWS=rows, HAS_RESIDUAL=residual is not None,
        HAS_BIAS=bias is not None, GATED=gated, BLOCK=triton.next_power_of_2(inputs), num_warps=4,
        **overlapping(),
    )  # fmt: skip
    return out, summed
