"""Each kernel of a step on CUDA beside plain torch: time, what it moves or computes, and how far that is from the card.

The ceilings are measured first: a large copy for what is bound by memory, a large product for what is bound by
arithmetic. Caches are emptied before every run; times are medians.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.attention.bias import causal_lower_right

from ..attention.base import Heads, StepLayout
from ..attention.paged import PagedAttention
from ..device import multiply_rate
from ..errors import EngineError
from ..layers.functional import add_rms_norm, gated_linear, linear, normed_linear, silu_mul
from ..layers.rotary import Rotary
from ..models.config import ModelConfig
from .report import Figure, Report, arguments, progress
from .shapes import SHAPES, model_folder
from .table import Table

_EPS = 1e-6
_COPY = 2**30  # bytes of the copy that gives the ceiling
_PAGE = 16
_UNITS = {
    "kernel": "", "time": "us", "torch": "us", "ratio": "torch / ours", "bandwidth": "GB/s", "rate": "TFLOP/s",
    "of_ceiling": "%", "error": "relative",
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One kernel at one size.

    Attributes:
        run, reference: the kernel and what torch does instead; their results are compared.
        bytes, operations: what it must move and compute at least, one of them 0.
    """

    name: str
    run: Callable[[], torch.Tensor]
    reference: Callable[[], torch.Tensor]
    bytes: float = 0
    operations: float = 0


@dataclass(frozen=True)
class Sizes:
    """Of the steps that are measured: sequences of a large batch and their depth, and lengths of prompts."""

    rows: int = 256
    depth: int = 600
    prompt: int = 4096
    deep: int = 32000
    turn: int = 700


def main(words: Sequence[str]) -> int:
    parser = arguments("kernels", __doc__)
    parser.add_argument(
        "model", nargs="?", default="qwen3-8b", help=f"a shape ({', '.join(SHAPES)}), a folder, a hub id or pocket"
    )
    sizes = Sizes()
    parser.add_argument("--rows", type=int, default=sizes.rows, help="sequences of a large decode")
    parser.add_argument("--depth", type=int, default=sizes.depth, metavar="TOKENS", help="in front of each of them")
    options = parser.parse_args(words)
    if not torch.cuda.is_available():
        raise EngineError("these kernels are for CUDA, and torch sees no CUDA device.")
    with model_folder(options.model) as folder:
        model = ModelConfig.load(Path(folder))
    measure(model, options, Sizes(rows=options.rows, depth=options.depth)).emit(options.json)
    return 0


def measure(model: ModelConfig, options: argparse.Namespace, sizes: Sizes) -> Report:
    device = torch.device("cuda")
    copy, multiply = _copy_rate(device), multiply_rate(device, torch.bfloat16)
    every = list(cases(model, sizes, torch.bfloat16, device))
    with progress() as bar:
        rows = [_row(case, copy, multiply) for case in bar.track(every, description="kernels")]
    settings = {"model": options.model, "dtype": "bfloat16", "rows": sizes.rows, "depth": sizes.depth}
    ceilings = [
        Figure("copy", copy / 1e9, "GB/s", f"of {_COPY / 2**30:.0f} GiB, read and written bytes"),
        Figure("product", multiply / 1e12, "TFLOP/s", "of 4096 x 4096 x 4096"),
    ]
    return Report("kernels", settings, ceilings, [Table("kernels", _UNITS, rows)])


def _row(case: Case, copy: float, multiply: float) -> dict[str, float | str | None]:
    ours, theirs = _microseconds(case.run), _microseconds(case.reference)
    seconds = ours / 1e6
    bandwidth, rate = case.bytes / seconds, case.operations / seconds
    return {
        "kernel": case.name, "time": ours, "torch": theirs, "ratio": theirs / ours,
        "bandwidth": bandwidth / 1e9 or None, "rate": rate / 1e12 or None,
        "of_ceiling": 100 * (bandwidth / copy + rate / multiply), "error": error(case),
    }  # fmt: skip


def error(case: Case) -> float:
    """Distance of the kernel's result from torch's, beside the length of torch's."""
    ours, theirs = case.run().double(), case.reference().double()
    return ((ours - theirs).norm() / theirs.norm()).item()


def _microseconds(run: Callable[[], object]) -> float:
    from triton.testing import do_bench

    milliseconds = do_bench(run, return_mode="median")
    assert isinstance(milliseconds, float)
    return 1000 * milliseconds


def _copy_rate(device: torch.device) -> float:
    source = torch.empty(_COPY, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * _COPY / (_microseconds(lambda: target.copy_(source)) / 1e6)


def cases(model: ModelConfig, sizes: Sizes, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    """The kernels of a step: products of a few rows, what lies between products, attention, sampling."""
    for rows in (1, 2):
        yield from _products(model, rows, dtype, device)
    yield from _elementwise(model, sizes.rows, dtype, device)
    yield from _attention(model, sizes, dtype, device)
    yield from _sampling(model, sizes.rows, dtype, device)


def _products(model: ModelConfig, rows: int, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    size, inner = model.hidden_size, model.intermediate_size
    outputs = (model.num_heads + 2 * model.num_kv_heads) * model.head_dim
    x, residual = (_random(rows, size, dtype=dtype, device=device) for _ in range(2))
    y = _random(rows, inner, dtype=dtype, device=device)
    norm = _random(size, dtype=dtype, device=device)
    qkv, gate_up, down = (
        _random(*shape, dtype=dtype, device=device) for shape in ((outputs, size), (2 * inner, size), (size, inner))
    )
    yield Case(
        f"norm and qkv product, {rows} rows",
        lambda: normed_linear(x, residual.clone(), norm, _EPS, qkv, None)[0],
        lambda: F.linear(F.rms_norm(x + residual, (size,), norm, _EPS), qkv),
        bytes=qkv.nbytes,
    )
    yield Case(
        f"gate and up product with SwiGLU, {rows} rows",
        lambda: gated_linear(x, gate_up, None),
        lambda: _swiglu(F.linear(x, gate_up)),
        bytes=gate_up.nbytes,
    )
    yield Case(
        f"down product, {rows} rows", lambda: linear(y, down, None), lambda: F.linear(y, down), bytes=down.nbytes
    )  # fmt: skip


def _elementwise(model: ModelConfig, rows: int, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    size = model.hidden_size
    x, residual = (_random(rows, size, dtype=dtype, device=device) for _ in range(2))
    norm = _random(size, dtype=dtype, device=device)
    yield Case(
        f"add, norm, {rows} rows",
        lambda: add_rms_norm(x, residual.clone(), norm, _EPS)[0],
        lambda: F.rms_norm(x + residual, (size,), norm, _EPS),
        bytes=6 * x.nbytes,  # the clone included
    )
    inner = _random(rows, 2 * model.intermediate_size, dtype=dtype, device=device)
    yield Case(
        f"SwiGLU, {rows} rows", lambda: silu_mul(inner.clone()), lambda: _swiglu(inner), bytes=3.5 * inner.nbytes
    )  # fmt: skip


def _attention(model: ModelConfig, sizes: Sizes, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    steps = [
        (f"decode, {sizes.rows} rows of {sizes.depth}", sizes.rows, sizes.depth, 1),
        (f"decode, 1 row of {sizes.deep}", 1, sizes.deep, 1),
        (f"prompt of {sizes.prompt}", 1, 0, sizes.prompt),
        (f"{sizes.turn} more after {sizes.deep}", 1, sizes.deep, sizes.turn),
    ]
    for name, rows, depth, count in steps:
        yield _attending(f"attention, {name}", model, StepShape(rows, depth, count), dtype, device)


@dataclass(frozen=True)
class StepShape:
    """``rows`` sequences that compute ``count`` tokens each after ``depth`` earlier ones."""

    rows: int
    depth: int
    count: int

    @property
    def length(self) -> int:
        return self.depth + self.count


def _attending(name: str, model: ModelConfig, step: StepShape, dtype: torch.dtype, device: torch.device) -> Case:
    """A layer's attention from the projection on: norms, rotation, the write to the cache, attention itself.

    torch does less: it attends to keys and values that are contiguous already.
    """
    group = replace(model.kv_groups[0], layers=1)
    held = -(-step.length // _PAGE)
    backend = PagedAttention(
        group, model.num_heads, step.rows * held, _PAGE, dtype, dtype, device, max_rows=step.rows,
        max_pages=step.rows * held,
    )  # fmt: skip
    backend.cache.normal_()
    pages = np.random.default_rng(0).permutation(step.rows * held).reshape(step.rows, held) + 1
    every = np.ones(step.rows, np.int64)
    backend.prepare(StepLayout(every * step.depth, every * step.count, pages.astype(np.int32)))
    tokens, kv, dim = step.rows * step.count, group.kv_heads, group.head_dim
    rotary = Rotary(model.rope, dim, step.length, dtype, device)
    positions = torch.arange(step.depth, step.length, device=device).repeat(step.rows)
    norm = _random(model.num_heads + kv, dim, dtype=dtype, device=device) if model.qk_norm else None
    projected = _random(tokens, model.num_heads + 2 * kv, dim, dtype=dtype, device=device)
    heads = Heads(projected, model.num_heads, kv, norm, _EPS, rotary.at(positions))
    backend.forward(0, heads)
    q = heads.rotated()[0].view(step.rows, step.count, model.num_heads, dim).transpose(1, 2)
    table = torch.from_numpy(pages).to(device)
    k, v = (
        part[table].permute(0, 2, 1, 3, 4).flatten(2, 3)[:, :, : step.length].repeat_interleave(q.shape[1] // kv, 1)
        for part in backend.cache[0]
    )
    mask = causal_lower_right(step.count, step.length) if step.count > 1 else None
    pairs = step.rows * (step.count * step.depth + step.count * (step.count + 1) / 2)
    read = 2 * step.rows * step.length * kv * dim * dtype.itemsize
    return Case(
        name,
        lambda: backend.forward(0, heads).view(step.rows, step.count, model.num_heads, dim).transpose(1, 2),
        lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask),
        bytes=read if step.count == 1 else 0,
        operations=4 * model.num_heads * dim * pairs if step.count > 1 else 0,
    )


def _sampling(model: ModelConfig, rows: int, dtype: torch.dtype, device: torch.device) -> Iterator[Case]:
    from ..kernels.sampling import draw

    logits = _random(rows, model.vocab_size, dtype=dtype, device=device)
    slots = torch.arange(rows, dtype=torch.int32, device=device)
    keys = torch.zeros(rows, 2, dtype=torch.int32, device=device)
    newest = torch.zeros(rows, dtype=torch.int64, device=device)
    greedy, warm = (torch.full((rows,), value, device=device) for value in (0.0, 1.0))
    first = tuple(torch.full((rows,), value, device=device) for value in (1.0, 0.9, 0.0))  # top_k 1: comparable
    yield Case(
        f"greedy choice, {rows} rows", lambda: draw(logits, slots, keys, greedy, newest),
        lambda: logits.argmax(-1), bytes=logits.nbytes,
    )  # fmt: skip
    yield Case(
        f"draw with top-k and top-p, {rows} rows", lambda: draw(logits, slots, keys, warm, newest, first),
        lambda: logits.float().softmax(-1).sort(descending=True)[1][:, 0], bytes=logits.nbytes,
    )  # fmt: skip


def _swiglu(gate_up: torch.Tensor) -> torch.Tensor:
    gate, up = gate_up.chunk(2, -1)
    return F.silu(gate) * up


def _random(*shape: int, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.randn(*shape, device=device).to(dtype)
