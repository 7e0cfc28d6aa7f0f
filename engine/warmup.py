"""Compile everything that a model's engine needs, ahead of the first request: ``agenthost warmup``.

Kernels are kept on disk by the libraries that compile them, so the next start finds them there.
"""

from __future__ import annotations

import time

from .config import EngineConfig
from .engine import build_engine
from .loading import LoadingBars


def warm_up(config: EngineConfig) -> float:
    """Start the engine once and end it; the seconds that took. Shows bars where a terminal does.

    Raises EngineError subclasses when the engine cannot be built.
    """
    begun = time.perf_counter()
    with LoadingBars(soon=0) as show:
        engine = build_engine(config, show)
        try:
            show("attention", 0, 1)
            engine.runner.settle()
            show("attention", 1, 1)
        finally:
            engine.close()
    return time.perf_counter() - begun
