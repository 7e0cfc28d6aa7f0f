"""Rotary position embedding (RoFormer, arXiv:2104.09864) with the half-split pairing of the Hugging Face models."""

from __future__ import annotations

import math

import torch

from ..models.config import RopeConfig


class Rotary:
    """Tables of cosines and sines for all positions of a model.

    The sine table carries the sign of the rotation, so that ``x * cos + roll(x, half) * sin`` is the whole of it.
    """

    def __init__(
        self, config: RopeConfig, head_dim: int, max_position: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        angles = torch.outer(torch.arange(max_position, dtype=torch.float32), _frequencies(config, head_dim))
        cos, sin = angles.cos(), angles.sin()
        self._half = head_dim // 2
        self._cos = torch.cat((cos, cos), -1).to(dtype=dtype, device=device)
        self._sin = torch.cat((-sin, sin), -1).to(dtype=dtype, device=device)

    def at(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines, each (tokens, 1, head_dim), for int64 ``positions`` (tokens,)."""
        return self._cos[positions].unsqueeze(1), self._sin[positions].unsqueeze(1)

    def rotate(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """``x`` (tokens, heads, head_dim), rotated."""
        return torch.addcmul(x * cos, x.roll(self._half, -1), sin)


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
