# pyright: reportGeneralTypeIssues=false
# (a kernel's loops are not what the type checker takes them for)
"""Linear layers for a few rows: products that are nothing but the reading of their weights.

A program reads a few rows of the weights from end to end and multiplies them with every row of x, so that the whole
card reads at once whatever the shape; libraries leave a third of the bandwidth unused here. It asks for its weights
before it waits for the kernel in front, so that they are on their way while that comes to its end.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from .jit import jit, launch_next, overlapping, wait_for_last

_BLOCK = 4096  # inputs whose weights a program holds at once
_WEIGHTS = 16384  # that a program multiplies at once, of some rows: x is read as often as there are programs
_WARPS = 4


@jit
def _linear(
    x_ptr, weight_ptr, bias_ptr, out_ptr, inputs, outputs,
    ROWS: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr, TOGETHER: tl.constexpr, BLOCK: tl.constexpr,
    OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    column = tl.program_id(0).to(tl.int64) * TOGETHER + tl.arange(0, TOGETHER)
    there = (column < outputs)[:, None]
    place = tl.arange(0, BLOCK)[None, :]
    first = weight_ptr + column[:, None] * inputs + place
    second = first + outputs.to(tl.int64) * inputs
    weight = tl.load(first, there & (place < inputs), other=0.0)
    other = weight
    if GATED:
        other = tl.load(second, there & (place < inputs), other=0.0)
    row = tl.arange(0, ROWS)[:, None]
    result = tl.zeros((ROWS, TOGETHER), tl.float32)
    up = tl.zeros((ROWS, TOGETHER), tl.float32)
    wait_for_last(OVERLAP)
    for start in range(0, inputs, BLOCK):
        x = tl.load(x_ptr + row * inputs + start + place, start + place < inputs, other=0.0).to(tl.float32)
        result += tl.sum(x[:, None, :] * weight.to(tl.float32)[None, :, :], 2)
        ahead = there & (start + BLOCK + place < inputs)
        weight = tl.load(first + start + BLOCK, ahead, other=0.0)
        if GATED:
            up += tl.sum(x[:, None, :] * other.to(tl.float32)[None, :, :], 2)
            other = tl.load(second + start + BLOCK, ahead, other=0.0)
    if HAS_BIAS:
        result += tl.load(bias_ptr + column, column < outputs, other=0.0).to(tl.float32)[None, :]
    if GATED:
        if HAS_BIAS:
            up += tl.load(bias_ptr + outputs + column, column < outputs, other=0.0).to(tl.float32)[None, :]
        result = _gated(result, up, out_ptr)
    out = out_ptr + row * outputs + column[None, :]
    tl.store(out, result.to(out_ptr.dtype.element_ty), (column < outputs)[None, :])


@jit
def _gated(gate, up, out_ptr):
    """SwiGLU, rounded as it would be between two kernels."""
    gate = gate.to(out_ptr.dtype.element_ty).to(tl.float32)
    return gate * tl.sigmoid(gate) * up.to(out_ptr.dtype.element_ty).to(tl.float32)


def small_linear(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, *, gated: bool = False
) -> torch.Tensor:
    """``x W^T + b`` for x (rows, inputs), few rows and a power of two, and W (outputs, inputs).

    ``gated``: W holds gate and up projections one after the other; returns ``silu(gate) * up``, (rows, outputs / 2).
    """
    rows, inputs = x.shape
    outputs = weight.shape[0] // (2 if gated else 1)
    out = x.new_empty(rows, outputs)
    block = min(_BLOCK, triton.next_power_of_2(inputs))
    together = _together(block, rows, gated)
    _linear[(triton.cdiv(outputs, together),)](
        x, weight, bias if bias is not None else weight, out, inputs, outputs,
        ROWS=rows, HAS_BIAS=bias is not None, GATED=gated, TOGETHER=together, BLOCK=block,
        num_warps=_WARPS, **overlapping(),
    )  # fmt: skip
    return out


def _together(block: int, rows: int, gated: bool) -> int:
    """Outputs that a program computes, from ``block`` inputs at once."""
    return max(1, _WEIGHTS // (block * rows * (2 if gated else 1)))


@jit
def _normed_linear(
    x_ptr, residual_ptr, norm_ptr, weight_ptr, bias_ptr, out_ptr, summed_ptr, inputs, outputs, eps,
    ROWS: tl.constexpr, HAS_RESIDUAL: tl.constexpr, HAS_BIAS: tl.constexpr, GATED: tl.constexpr,
    TOGETHER: tl.constexpr, BLOCK: tl.constexpr, OVERLAP: tl.constexpr,
):  # fmt: skip
    launch_next(OVERLAP)
    program = tl.program_id(0).to(tl.int64)
    column = program * TOGETHER + tl.arange(0, TOGETHER)
    place = tl.arange(0, BLOCK)
    mask = place < inputs
    there = column < outputs
    both = there[:, None] & mask[None, :]
    first = weight_ptr + column[:, None] * inputs + place[None, :]
    weight = tl.load(first, both, other=0.0)
    other = weight
    if GATED:
        other = tl.load(first + outputs.to(tl.int64) * inputs, both, other=0.0)
    norm = tl.load(norm_ptr + place, mask, other=0.0).to(tl.float32)
    wait_for_last(OVERLAP)
    for row in tl.static_range(ROWS):  # pyright: ignore[reportGeneralTypeIssues] # Triton unrolls it
        x = tl.load(x_ptr + row * inputs + place, mask, other=0.0).to(tl.float32)
        if HAS_RESIDUAL:
            x += tl.load(residual_ptr + row * inputs + place, mask, other=0.0).to(tl.float32)
            # Rounded here and below as it would be between kernels.
            summed = x.to(out_ptr.dtype.element_ty)
            if program == 0:
                tl.store(summed_ptr + row * inputs + place, summed, mask)
            x = summed.to(tl.float32)
        scale = tl.rsqrt(tl.sum(x * x, 0) / inputs + eps)
        x = (x * scale * norm).to(out_ptr.dtype.element_ty).to(tl.float32)
        result = tl.sum(weight.to(tl.float32) * x[None, :], 1)
        if HAS_BIAS:
            result += tl.load(bias_ptr + column, there, other=0.0).to(tl.float32)
        if GATED:
            up = tl.sum(other.to(tl.float32) * x[None, :], 1)
            if HAS_BIAS:
                up += tl.load(bias_ptr + outputs + column, there, other=0.0).to(tl.float32)
            result = _gated(result, up, out_ptr)
        tl.store(out_ptr + row * outputs + column, result.to(out_ptr.dtype.element_ty), there)


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
    block = triton.next_power_of_2(inputs)
    together = _together(block, 1, gated)
    _normed_linear[(triton.cdiv(outputs, together),)](
        x, residual if residual is not None else x, norm, weight, bias if bias is not None else weight, out, summed,
        inputs, outputs, eps, ROWS=rows, HAS_RESIDUAL=residual is not None, HAS_BIAS=bias is not None, GATED=gated,
        TOGETHER=together, BLOCK=block, num_warps=_WARPS, **overlapping(),
    )  # fmt: skip
    return out, summed
