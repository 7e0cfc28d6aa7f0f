"""Muon for the matrices, AdamW for the embedding and the norms.

Muon (Keller Jordan, 2024): momentum whose update is made orthogonal by five Newton-Schulz steps in bf16. Matrices of
one shape are updated together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 5


def orthogonalize(update: Tensor) -> Tensor:
    """(n, rows, columns) to nearly orthogonal matrices of the same directions."""
    matrix = update.bfloat16()
    tall = matrix.shape[-2] > matrix.shape[-1]
    if tall:
        matrix = matrix.mT
    matrix = matrix / (matrix.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = _COEFFICIENTS
    for _ in range(_STEPS):
        square = matrix @ matrix.mT
        matrix = a * matrix + (b * square + c * square @ square) @ matrix
    return matrix.mT if tall else matrix


def _muon(gradient: Tensor, momentum: Tensor, rate: Tensor, inertia: Tensor) -> Tensor:
    momentum.lerp_(gradient, 1 - inertia)
    update = orthogonalize(gradient.lerp(momentum, inertia)).float()
    return update * (rate * max(1, gradient.shape[-2] / gradient.shape[-1]) ** 0.5)


@dataclass
class _Group:
    matrices: list[nn.Parameter]
    momentum: Tensor


class Optimizer:
    """Both optimisers behind one step. Rates are given each step, as the schedule has them."""

    def __init__(self, model: nn.Module, *, compiled: bool) -> None:
        shapes: dict[tuple[int, ...], list[nn.Parameter]] = {}
        rest: list[nn.Parameter] = []
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2 and "embed" not in name:
                shapes.setdefault(tuple(parameter.shape), []).append(parameter)
            else:
                rest.append(parameter)
        self._groups = [
            _Group(group, torch.zeros(len(group), *shape, device=group[0].device)) for shape, group in shapes.items()
        ]
        self._adam = torch.optim.AdamW(rest, lr=0.0, betas=(0.9, 0.95), weight_decay=0.0, fused=rest[0].is_cuda)
        self._rest = rest
        self._update: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor] = (
            torch.compile(_muon, dynamic=False) if compiled else _muon
        )

    @torch.no_grad()
    def step(self, matrix_rate: float, other_rate: float, inertia: float) -> None:
        """Apply the gradients and clear them."""
        for group in self._groups:
            device = group.momentum.device
            gradients = torch.stack([matrix.grad for matrix in group.matrices if matrix.grad is not None])
            rate, keep = torch.tensor(matrix_rate, device=device), torch.tensor(inertia, device=device)
            updates = self._update(gradients, group.momentum, rate, keep)
            for matrix, update in zip(group.matrices, updates.unbind(0), strict=True):
                matrix -= update
        for settings in self._adam.param_groups:
            settings["lr"] = other_rate
        self._adam.step()
        for parameter in [*self._rest, *(matrix for group in self._groups for matrix in group.matrices)]:
            parameter.grad = None
