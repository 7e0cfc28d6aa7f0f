"""How long the browser tools take to open a page, over plain HTTP and in a real Chromium, and what Chromium's processes
hold with many sessions. The page is on this host; every request passes the egress proxy.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Sequence

from ...engine.bench.report import Figure, Report, arguments, positive
from ...tools.bench.browsing import Outcome, measure


def main(words: Sequence[str]) -> int:
    parser = arguments("browser", __doc__)
    parser.add_argument("--sessions", type=positive, default=10, metavar="N", help="that stay open")
    parser.add_argument("--opens", type=positive, default=40, metavar="N", help="pages opened warm")
    options = parser.parse_args(words)
    chromium = asyncio.run(measure("chromium", options.sessions, options.opens))
    text = asyncio.run(measure("text", options.sessions, options.opens))
    figures = [
        *_times("chromium", chromium),
        Figure("chromium_memory", chromium.memory / 2**20, "MiB", f"PSS of its processes, {options.sessions} sessions"),
        *_times("text", text),
    ]
    Report("browser", {"sessions": options.sessions, "opens": options.opens}, figures).emit(options.json)
    return 0


def _times(name: str, outcome: Outcome) -> list[Figure]:
    times = sorted(outcome.opens)
    return [
        Figure(f"{name}_first_open", outcome.first, "s", "starts everything"),
        Figure(f"{name}_open", statistics.median(times), "s", "warm, median"),
        Figure(f"{name}_open_p95", times[min(len(times) - 1, len(times) * 95 // 100)], "s", "warm"),
    ]
