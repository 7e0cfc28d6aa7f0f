"""How far the start of an engine is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

Stage = Literal["weights", "graphs", "kernels", "attention"]

Progress = Callable[[Stage, int, int], None]
"""Called with the stage, and how much of how much is done: bytes of weights, CUDA graphs, kinds of steps, modules."""
