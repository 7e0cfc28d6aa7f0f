"""Operators between the products: plain torch on CPU, one Triton kernel each on CUDA."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_FEW = (1, 2, 4)  # rows of a product that has its own kernel on CUDA


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
    return F.rms_norm(residual, weight.shape, weight, eps), residual


def linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """``x W^T + b`` for x (rows, inputs) and W (outputs, inputs)."""
    if x.is_cuda and x.shape[0] in _FEW:
        from ..kernels import small_linear

        return small_linear.small_linear(x, weight, bias)
    return F.linear(x, weight, bias)


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
