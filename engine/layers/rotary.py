"""Rotary position embedding (RoFormer, arXiv:2104.09864) with the half-split pairing of the Hugging Face models."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch

from ..models.config import RopeConfig
from .functional import is_cpu_row


@dataclass(frozen=True)
class Rotation:
    """A step's rotation: the tables (positions, head_dim), and where its tokens stand (tokens,)."""

    cos: torch.Tensor
    sin: torch.Tensor
    positions: torch.Tensor

    @cached_property
    def _angles(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.cos[self.positions].unsqueeze(1), self.sin[self.positions].unsqueeze(1)

    @cached_property
    def _matrix(self) -> torch.Tensor:
        """The rotation of a single token as a product: one operator in each layer instead of several."""
        cos, sin = self.cos[self.positions[0]], self.sin[self.positions[0]]
        return torch.diag(cos) + torch.diag(sin).roll(len(sin) // 2, 0)

    def rotate(self, x: torch.Tensor) -> torch.Tensor:
        """``x`` (tokens, heads, head_dim), rotated."""
        if is_cpu_row(x):
            return torch.matmul(x, self._matrix)
        cos, sin = self._angles
        return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, -1), sin)


class Rotary:
    """Tables of cosines and sines for all positions of a model.

    The sine table carries the sign of the rotation, so that ``x * cos + roll(x, half) * sin`` is the whole of it.
    """

    def __init__(
        self, config: RopeConfig, head_dim: int, max_position: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        angles = torch.outer(torch.arange(max_position, dtype=torch.float32), _frequencies(config, head_dim))
        cos, sin = angles.cos(), angles.sin()
        self.cos = torch.cat((cos, cos), -1).to(dtype=dtype, device=device)
        self.sin = torch.cat((-sin, sin), -1).to(dtype=dtype, device=device)

    def at(self, positions: torch.Tensor) -> Rotation:
        """The rotation of a step whose tokens stand at ``positions`` (tokens,)."""
        return Rotation(self.cos, self.sin, positions)


def _frequencies(config: RopeConfig, head_dim: int) -> torch.Tensor:
    """Inverse wavelengths in radians per position, (head_dim / 2,) float32."""
    inverse = 1.0 / (config.theta ** (torch.arange(0, head_dim, 2, dtype=torch.int64).float() / head_dim))
    if config.kind == "linear":
        return inverse / config.factor
    if config.kind == "llama3":
        wavelength = 2 * math.pi / inverse
        low = config.original_max_position / config.low_freq_factor
        high = config.original_max_position / config.high_freq_factor
        blend = (config.original_max_position / wavelength - config.low_freq_factor) / (
            config.high_freq_factor - config.low_freq_factor
        )
        between = (1 - blend) * inverse / config.factor + blend * inverse
        scaled = torch.where(wavelength > low, inverse / config.factor, inverse)
        return torch.where((wavelength <= low) & (wavelength >= high), between, scaled)
    return inverse
