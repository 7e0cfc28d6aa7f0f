"""``agenthost bench``: finds the named benchmark; each is a module with a ``main(arguments) -> int``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

# name: (module, what it measures)
BENCHMARKS = {
    "offline": ("agenthost.engine.bench.offline", "throughput of the engine alone"),
    "overhead": ("agenthost.engine.bench.overhead", "what a step costs beside the model"),
    "serve": ("agenthost.server.bench.serve", "a running server under concurrent requests"),
}


def main(options: Mapping[str, Any]) -> int:
    arguments = options.get("arguments", [])
    if not arguments or arguments[0] not in BENCHMARKS:
        known = "\n".join(f"  {name:<10} {summary}" for name, (_, summary) in BENCHMARKS.items())
        print(f"usage: agenthost bench BENCHMARK [-h] ...\n\n{known}", file=sys.stderr)
        return 2
    module = importlib.import_module(BENCHMARKS[arguments[0]][0])
    return module.main(arguments[1:])
