"""Linear layers that hold several of a checkpoint's matrices in one, so that a step launches fewer products."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from .functional import add_rms_norm, gated_linear, linear, normed_linear, row_linear, silu_mul

_TRIALS = 4
_COMPILED_ROWS = 64
_SAMPLE = 256 * 2**20  # bytes of weights that are tried: more than caches hold
_WORTH = 1.2  # times as fast is worth a second copy of the weight


class FusedLinear(nn.Module):
    """``y = x W^T + b`` where the rows of W are several checkpoint matrices, one after another.

    Args:
        inputs: size of x's last dimension.
        outputs: rows of each part, in order.
    """

    def __init__(self, inputs: int, outputs: tuple[int, ...], bias: bool = False) -> None:
        super().__init__()
        self.inputs = inputs
        self.outputs = outputs
        self.size = sum(outputs) * inputs
        self.weight = nn.Parameter(torch.empty(sum(outputs), inputs), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(sum(outputs)), requires_grad=False) if bias else None

        self._packed: torch.Tensor | None = None
        self._parts: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows = x.shape[0]
        if self._packed is None:
            return linear(x, self.weight, self.bias)
        if rows == 1 and self._parts is not None:
            return self.row(x)
        more = _rounded(rows) - rows
        if more:
            x = F.pad(x, (0, 0, 0, more))
        out = self.packed(x)
        return out[:rows] if more else out

    def gated(self, x: torch.Tensor) -> torch.Tensor:
        """``silu(gate) * up`` (SwiGLU, arXiv:2002.05202) where the two parts are gate and up."""
        if self._packed is None:
            return gated_linear(x, self.weight, self.bias)
        return silu_mul(self(x))

    def row(self, x: torch.Tensor) -> torch.Tensor:
        """The product of a single row with the plain weight on CPU; :meth:`share_out` comes before."""
        assert self._parts is not None
        return row_linear(x, self._parts, self.bias)

    def after(self, norm: RMSNorm, x: torch.Tensor, residual: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """The product with the norm of ``x + residual``, and that sum; ``residual`` may be overwritten."""
        if self._packed is None:
            return normed_linear(x, residual, norm.weight, norm.eps, self.weight, self.bias)
        x, summed = norm(x, residual)
        return self(x), summed

    def gated_after(
        self, norm: RMSNorm, x: torch.Tensor, residual: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The same with :meth:`gated`."""
        if self._packed is None:
            return normed_linear(x, residual, norm.weight, norm.eps, self.weight, self.bias, gated=True)
        x, summed = norm(x, residual)
        return self.gated(x), summed

    def packed(self, x: torch.Tensor) -> torch.Tensor:
        """The product with the packed weight; :meth:`pack` comes before."""
        return torch.ops.mkldnn._linear_pointwise(x, self._packed, self.bias, "none", [], "")

    def pack(self) -> None:
        """Lay the loaded weight out in oneDNN's blocked order, beside the plain one."""
        if self._packed is None:
            self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)

    def share_out(self) -> None:
        """Multiply single rows by the plain weight, with all threads."""
        outputs, inputs = self.weight.shape
        self._parts = self.weight.detach().view(math.gcd(outputs, torch.get_num_threads()), -1, inputs)

    def drop_plain(self) -> None:
        """Keep the packed weight only."""
        self._parts = None
        self.register_parameter("weight", None)

    def part(self, name: str, index: int) -> torch.Tensor:
        """The rows of parameter ``name`` (weight or bias) that the ``index``-th checkpoint matrix fills; a view."""
        start = sum(self.outputs[:index])
        return self.get_parameter(name)[start : start + self.outputs[index]]


def pack_all(layers: Sequence[FusedLinear]) -> None:
    """Bring loaded CPU weights into the form that is multiplied fastest. Nothing can be loaded after it.

    In fp32 oneDNN's blocked order makes products 1.1 to 5 times as fast as F.linear on the CPUs measured. Only single
    rows go faster by the plain weight on some of them; there it is kept beside. For bf16 oneDNN has that order on CPUs
    with AVX-512 or AVX-NE-CONVERT only; elsewhere the weights stay as they are.
    """
    dtype = layers[0].weight.dtype
    if not _can_pack(dtype):
        return
    ends = itertools.accumulate(layer.weight.nbytes for layer in layers)
    some = [layer for layer, end in zip(layers, ends, strict=True) if end - layer.weight.nbytes < _SAMPLE]
    for layer in some:
        layer.pack()
        layer.share_out()
    keep = _rows_are_faster_plain(some)
    for layer in layers:
        layer.pack()
        layer.share_out() if keep else layer.drop_plain()
    _compile(layers, dtype)


def _rows_are_faster_plain(layers: Sequence[FusedLinear]) -> bool:
    """Measured here and now, one layer after the other, so that weights come from where they come from in a step."""
    rows = {layer.inputs: torch.zeros(1, layer.inputs, dtype=layer.weight.dtype) for layer in layers}

    def seconds(product: Callable[[FusedLinear, torch.Tensor], torch.Tensor]) -> float:
        begun = time.perf_counter()
        for layer in layers:
            product(layer, rows[layer.inputs])
        return time.perf_counter() - begun

    with torch.inference_mode():
        plain, packed = zip(
            *((seconds(FusedLinear.row), seconds(FusedLinear.packed)) for _ in range(_TRIALS)), strict=True
        )
    return min(plain) * _WORTH < min(packed)


def _rounded(rows: int) -> int:
    """The next of two sizes in each doubling: oneDNN compiles code for every size it meets, and keeps it for good."""
    step = max(1, 1 << (rows - 1).bit_length() >> 2)
    return -(-rows // step) * step


def _compile(layers: Sequence[FusedLinear], dtype: torch.dtype) -> None:
    """Have the code for the sizes that decodes have made now, not within a request, one layer for each shape."""
    sizes = sorted({_rounded(rows) for rows in range(1, _COMPILED_ROWS + 1)})
    with torch.inference_mode():
        for layer in {(layer.inputs, layer.outputs): layer for layer in layers}.values():
            for rows in sizes:
                layer(torch.zeros(rows, layer.inputs, dtype=dtype))


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
