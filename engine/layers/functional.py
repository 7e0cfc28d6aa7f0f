"""Operators between the products: plain torch on CPU, one Triton kernel each on CUDA."""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F

_FEW = (1, 2)  # rows of a product that has its own kernel on CUDA
_MOST_NORMED = 4096  # inputs of one that norms them too, which only a single row gains by


def add_rms_norm(
    x: torch.Tensor, residual: torch.Tensor | None, weight: torch.Tensor, eps: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """The root-mean-square norm (arXiv:1910.07467) of ``x + residual``, and that sum; both (tokens, size).

    ``residual`` may be overwritten. None stands for zeros.
    """
    if x.is_cuda:
        from ..kernels import norm

        return norm.add_rms_norm(x, residual, weight, eps), x if residual is None else residual
    residual = x if residual is None else residual + x
    return rms_norm(residual, weight, eps), residual


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """``weight * x / sqrt(mean(x^2) + eps)`` over the last dimension of (tokens, size).

    torch's own takes seven operators on CPU; a single row, of which a decode step of one stream has dozens, needs two.
    """
    if not is_cpu_row(x):
        return F.rms_norm(x, weight.shape, weight, eps)
    row = x.view(-1)
    scale = 1 / math.sqrt(torch.dot(row, row).item() / len(row) + eps)
    return torch.addcmul(_constant(0.0), x, weight, value=scale)


def head_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """The same for each head of (tokens, heads, head_dim), with weights (heads, head_dim)."""
    if not is_cpu_row(x):
        return F.rms_norm(x, x.shape[-1:], None, eps) * weight
    size = x.shape[-1]
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot_(_constant(math.sqrt(size * eps)))
    return torch.addcdiv(_constant(0.0), x, length, value=math.sqrt(size)).mul_(weight)


def is_cpu_row(x: torch.Tensor) -> bool:
    """Whether ``x`` (tokens, ...) is one token in fp32 on CPU, where the number of operators is what counts."""
    return x.shape[0] == 1 and x.dtype == torch.float32 and x.device.type == "cpu"


@cache
def _constant(value: float) -> torch.Tensor:
    return torch.tensor(value)


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x W^T + b`` for x (rows, inputs) and W (outputs, inputs)."""
    if x.is_cuda and x.shape[0] in _FEW:
        from ..kernels import small_linear

        return small_linear.small_linear(x, weight, bias)
    return F.linear(x, weight, bias)


def normed_linear(
    x: torch.Tensor,
    residual: torch.Tensor | None,
    norm: torch.Tensor,
    eps: float,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    *,
    gated: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`linear` or :func:`gated_linear` of :func:`add_rms_norm`, and the sum; in one kernel for one row."""
    if x.is_cuda and x.shape[0] == 1 and x.shape[1] <= _MOST_NORMED:
        from ..kernels import small_linear

        return small_linear.normed_linear(x, residual, norm, eps, weight, bias, gated=gated)
    x, summed = add_rms_norm(x, residual, norm, eps)
    return (gated_linear if gated else linear)(x, weight, bias), summed


def row_linear(x: torch.Tensor, parts: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The same for a single row on CPU, where W is (parts, outputs / parts, inputs): the threads share the parts.

    The product of a matrix and a vector runs on one thread in BLAS, and one does not reach the memory's bandwidth.
    """
    count, outputs, inputs = parts.shape
    # These strides say that the vector is a column; with others of the same meaning bmm takes a slow way.
    out = torch.bmm(parts, x.as_strided((count, inputs, 1), (0, 1, inputs))).view(1, count * outputs)
    return out if bias is None else out.add_(bias)


def gated_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``silu(gate) * up`` (SwiGLU, arXiv:2002.05202), where W (2 * outputs, inputs) holds the gate's rows first."""
    if x.is_cuda and x.shape[0] in _FEW:
        from ..kernels import small_linear

        return small_linear.small_linear(x, weight, bias, gated=True)
    return silu_mul(F.linear(x, weight, bias))


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` (SwiGLU, arXiv:2002.05202) for (tokens, 2 * size), the gate first; may overwrite it."""
    if gate_up.is_cuda:
        from ..kernels import activation

        return activation.silu_mul(gate_up)
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate).mul_(up)
