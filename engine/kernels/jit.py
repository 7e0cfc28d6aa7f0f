"""``triton.jit`` with a type that says what a kernel is: something to be indexed by a grid, then called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

# Triton compiles a kernel once more for every combination of pointers that are aligned or not, and of numbers that are
# 1 or multiples of 16. These lie anywhere in a step's one upload, or follow its size, and no step shall wait for a
# compiler.
_TABLES = {
    "slots_ptr", "positions_ptr", "pages_ptr", "lengths_ptr", "block_rows_ptr", "block_starts_ptr",
    "query_starts_ptr", "page_starts_ptr", "stretches_ptr", "places_ptr", "strides_ptr", "numbers_ptr", "random_ptr",
    "temperature_ptr", "top_k_ptr", "top_p_ptr", "min_p_ptr", "ids_ptr",
}  # fmt: skip
_COUNTS = {"parts", "count", "shift"}


def jit(kernel: Callable[..., Any]) -> Any:
    """Compile ``kernel`` at its first launch for each kind of arguments."""
    names = inspect.signature(kernel).parameters
    compiled: Any = triton.jit(
        do_not_specialize=[name for name in names if name in _COUNTS],
        do_not_specialize_on_alignment=[name for name in names if name in _TABLES],
    )
    return compiled(kernel)


@jit
def launch_next(OVERLAP: tl.constexpr) -> None:
    """Let the next kernel begin as soon as all programs of this one have; see :func:`overlapping`."""
    if OVERLAP:
        gdc_launch_dependents()


@jit
def wait_for_last(OVERLAP: tl.constexpr) -> None:
    """Wait until the kernel in front has ended. All programs must, before they touch what other kernels write."""
    if OVERLAP:
        gdc_wait()


@cache
def overlapping() -> dict[str, bool]:
    """Launch options of kernels that may begin while the one in front still runs, where the device can do that.

    Programmatic dependent launch, from Hopper on: what a kernel does before :func:`wait_for_last`, such as loading
    weights, happens while the kernel in front comes to its end.
    """
    if torch.cuda.is_available() and torch.cuda.get_device_capability()[0] >= 9:
        return {"OVERLAP": True, "launch_pdl": True}
    return {"OVERLAP": False}
