"""Linear layers that hold several of a checkpoint's matrices in one, so that a step launches fewer products."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import nn

from .functional import add_rms_norm, gated_linear, linear, silu_mul

_TRIALS = 24
_WORTH = 1.2  # times as fast is worth a second copy of the weight


class FusedLinear(nn.Module):
    """``y = x W^T + b`` where the rows of W are several checkpoint matrices, one after another.

    Args:
        inputs: size of x's last dimension.
        outputs: rows of each part, in order.
    """

    def __init__(self, inputs: int, outputs: tuple[int, ...], bias: bool = False) -> None:
        super().__init__()
        self.outputs = outputs
        self.weight = nn.Parameter(torch.empty(sum(outputs), inputs), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(sum(outputs)), requires_grad=False) if bias else None

        self._packed: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        if self._packed is None or (rows == 1 and self.weight is not None):
            return linear(x, self.weight, self.bias)
        more = _rounded(rows) - rows
        if more:
            x = F.pad(x, (0, 0, 0, more))
        out = torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")
        return out[:rows] if more else out

    def gated(self, x: torch.Tensor) -> torch.Tensor:
        """``silu(gate) * up`` (SwiGLU, arXiv:2002.05202) where the two parts are gate and up."""
        if self._packed is None:
            return gated_linear(x, self.weight, self.bias)
        return silu_mul(self(x))

    def pack(self) -> None:
        """Lay a CPU weight out in oneDNN's blocked order, once it holds its values; the plain one is given up.

        In fp32 this makes products 1.1 to 5 times as fast as F.linear on the CPUs measured. Only single rows go faster
        by the plain weight on some of them; there it is kept beside. For bf16 oneDNN has that order on CPUs with
        AVX-512 or AVX-NE-CONVERT only; elsewhere the weight stays as it is.
        """
        if self._packed is None and _can_pack(self.weight.dtype):
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)
            if not _one_row_is_faster_plain(*self.weight.shape, self.weight.dtype):
                self.register_parameter("weight", None)

    def part(self, name: str, index: int) -> torch.Tensor:
        """The rows of parameter ``name`` (weight or bias) that the ``index``-th checkpoint matrix fills; a view."""
        start = sum(self.outputs[:index])
        return self.get_parameter(name)[start : start + self.outputs[index]]


@cache
def _one_row_is_faster_plain(outputs: int, inputs: int, dtype: torch.dtype) -> bool:
    """Measured here and now, by the best of some runs."""
    x, weight = torch.zeros(1, inputs, dtype=dtype), torch.zeros(outputs, inputs, dtype=dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, None)

    def seconds(product: Callable[[], torch.Tensor]) -> float:
        times = []
        for _ in range(_TRIALS):
            begun = time.perf_counter()
            product()
            times.append(time.perf_counter() - begun)
        return sorted(times)[_TRIALS // 4]

    plain = seconds(lambda: F.linear(x, weight))
    return plain * _WORTH < seconds(lambda: torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], ""))


def _rounded(rows: int) -> int:
    """The next of four sizes in each doubling: oneDNN compiles code for every size it meets, and keeps it for good."""
    step = max(1, 1 << (rows - 1).bit_length() >> 3)
    return -(-rows // step) * step


def _can_pack(dtype: torch.dtype) -> bool:
    return dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported()


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last dimension (arXiv:1910.07467)."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size), requires_grad=False)
        self.eps = eps

    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The norm of ``x + residual``, and that sum; ``residual`` may be overwritten."""
        return add_rms_norm(x, residual, self.weight, self.eps)
