"""``agenthost warmup``: compile a model's kernels now, so that the next start does not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..config import ServerConfig
from .problems import reported


def main(flags: Mapping[str, Any]) -> int:
    """Exit status: 0 when everything is compiled, 2 when the model cannot be served here."""

    def work() -> int:
        config = ServerConfig.load(flags, os.environ)
        from ...engine.warmup import warm_up  # loads torch

        seconds = warm_up(config.engine)
        print(f"{config.engine.model} is warm: the engine started in {seconds:.1f} s, and will start faster now.")
        return 0

    return reported("warmup", work)
