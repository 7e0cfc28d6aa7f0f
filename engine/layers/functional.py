"""Operators between the products: plain torch on CPU, one Triton kernel each on CUDA."""

from __future__ import annotations

import torch
import torch.nn.functional as F


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


def silu_mul(gate_up: torch.Tensor) -> torch.Tensor:
    """``silu(gate) * up`` (SwiGLU, arXiv:2002.05202) for (tokens, 2 * size), the gate first; may overwrite it."""
    if gate_up.is_cuda:
        from ..kernels import activation

        return activation.silu_mul(gate_up)
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate).mul_(up)
