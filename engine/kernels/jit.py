"""``triton.jit`` with a type that says what a kernel is: something to be indexed by a grid, then called."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import triton

# Triton compiles a kernel once more for every combination of pointers that are aligned or not, and of numbers that are
# 1 or multiples of 16. These lie anywhere in a step's one upload, or follow its size, and no step shall wait for a
# compiler.
_TABLES = {
    "slots_ptr", "positions_ptr", "starts_ptr", "pages_ptr", "lengths_ptr", "block_rows_ptr", "block_starts_ptr",
    "query_starts_ptr", "page_starts_ptr", "places_ptr", "strides_ptr", "numbers_ptr", "temperature_ptr", "top_k_ptr",
    "top_p_ptr", "min_p_ptr",
}  # fmt: skip
_COUNTS = {"splits", "parts"}


def jit(kernel: Callable[..., Any]) -> Any:
    """Compile ``kernel`` at its first launch for each kind of arguments."""
    names = inspect.signature(kernel).parameters
    compiled: Any = triton.jit(
        do_not_specialize=[name for name in names if name in _COUNTS],
        do_not_specialize_on_alignment=[name for name in names if name in _TABLES],
    )
    return compiled(kernel)
