"""How much work fits into a step. Work is counted in units of one token at depth 0.

A token at depth d costs ``1 + d / unit``, where ``unit`` is the depth at which attention costs as much as the linear
layers (ModelConfig.attention_unit). So a budget stands for time: chunks of a prompt get shorter as it gets deeper, and
decodes in the same step wait about as long for each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST_STEP = 16384
"""Most work of a step that is not asked for otherwise; on CUDA memory for it is set aside."""


@dataclass(frozen=True)
class Budget:
    """Limits of one step.

    Attributes:
        busy: most work in a step that also decodes.
        idle: most work in a step that only prefills; larger, since only newcomers wait for it.
        least: prefill tokens that a step with prompts always takes, however many sequences decode.
        unit: see the module.
    """

    busy: float
    idle: float
    least: int
    unit: float

    def cost(self, tokens: int, depth: int) -> float:
        """Work of ``tokens`` tokens after ``depth`` earlier ones."""
        return tokens * (1 + (depth + tokens / 2) / self.unit)

    def cost_of_decodes(self, count: int, depths: int) -> float:
        """Work of one token of each of ``count`` sequences whose depths add up to ``depths``."""
        return count + (depths + count / 2) / self.unit

    def tokens(self, work: float, depth: int) -> int:
        """How many tokens after ``depth`` earlier ones the work pays for: the inverse of :meth:`cost`."""
        if work <= 0:
            return 0
        base = 1 + depth / self.unit
        return int(self.unit * (math.sqrt(base * base + 2 * work / self.unit) - base))
