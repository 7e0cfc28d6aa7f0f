"""``agenthost bench``: finds the named benchmark; each is a module with a ``main(arguments) -> int``."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

# name: (module, what it measures)
BENCHMARKS = {
    "targets": (
        "agenthost.server.bench.targets",
        "what is promised of the engine and of an agent, beside its targets",
    ),
    "serve": ("agenthost.server.bench.serve", "a running server under concurrent requests"),
    "front": ("agenthost.server.bench.front", "the server around an engine that echoes, beside a bare route"),
    "turn": ("agenthost.server.bench.turn", "what a turn of a long conversation costs the front"),
    "agent": ("agenthost.server.bench.agent", "an agent's waits: cold start, second turn, steps with tools"),
    "files": ("agenthost.server.bench.files", "whether file tools can be led out of a workspace by racing links"),
    "tools": ("agenthost.tools.bench.sandboxes", "the code interpreter's sandboxes, beside ipykernel"),
    "browser": ("agenthost.server.bench.browser", "how fast the browser tools open a page, and a browser's memory"),
    "mcp": ("agenthost.server.bench.mcp", "MCP: our server beside the SDK's, external tools, idle sessions"),
    "offline": ("agenthost.engine.bench.offline", "throughput of the engine alone"),
    "kernels": ("agenthost.engine.bench.kernels", "each kernel of a step on CUDA, beside plain torch"),
    "single": ("agenthost.engine.bench.single", "decode speed of one stream, beside transformers"),
    "batch": ("agenthost.engine.bench.batch", "what batching brings over one stream"),
    "overhead": ("agenthost.engine.bench.overhead", "what a step costs beside the model"),
    "memory": ("agenthost.engine.bench.memory", "whether memory stays flat over many requests and aborts"),
}


def main(options: Mapping[str, Any]) -> int:
    """What the benchmark returns; 2 when there is none of that name, or when it could not be run."""
    name, *words = options.get("arguments") or [""]
    if name not in BENCHMARKS:
        print(f"usage: agenthost bench BENCHMARK [-h] ...\n\n{listing()}", file=sys.stderr)
        return 2
    from .problems import reported

    return reported(f"bench {name}", lambda: importlib.import_module(BENCHMARKS[name][0]).main(words))


def listing() -> str:
    """One line for each benchmark."""
    lines = (f"  {name:<10} {summary}" for name, (_, summary) in BENCHMARKS.items())
    return "\n".join(lines) + "\n\nagenthost bench BENCHMARK --help explains one and lists its options."
