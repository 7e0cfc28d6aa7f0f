"""Compile everything that a model's engine needs, ahead of the first request: ``agenthost warmup``.

Kernels are kept on disk by the libraries that compile them, so the next start finds them there.
"""

from __future__ import annotations

import time

from .bench.report import progress as bar
from .config import EngineConfig
from .engine import build_engine
from .progress import Stage


def warm_up(config: EngineConfig) -> float:
    """Start the engine once and end it; the seconds that took. Shows bars where a terminal does.

    Raises EngineError subclasses when the engine cannot be built.
    """
    begun = time.perf_counter()
    with bar() as bars:
        tasks = {}

        def show(stage: Stage, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.update(tasks[stage], completed=done)

        engine = build_engine(config, show)
        try:
            waiting = bars.add_task("attention", total=None)
            engine.runner.settle()
            bars.update(waiting, total=1, completed=1)
        finally:
            engine.close()
    return time.perf_counter() - begun
