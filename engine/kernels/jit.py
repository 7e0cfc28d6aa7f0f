"""``triton.jit`` with a type that says what a kernel is: something to be indexed by a grid, then called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import triton


def jit(kernel: Callable[..., Any]) -> Any:
    """Compile ``kernel`` at its first launch for each kind of arguments."""
    return triton.jit(kernel)
