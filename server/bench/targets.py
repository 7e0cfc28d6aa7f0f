"""What this project promises of its engine and of an agent, measured on this machine beside its targets.

Runs the other benchmarks one after the other, each in a process of its own, with the settings that its target names.
Nothing else should run meanwhile: the targets are for a quiet machine. It takes some minutes on two CPU cores.
The exit status is 0 when every target is met, and 1 when one is missed or could not be measured.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal

from ...engine.bench.report import Report, arguments
from ...engine.bench.table import Table, Value
from ..json_values import JsonObject

# name: the words after `agenthost bench`
RUNS: Mapping[str, tuple[str, ...]] = {
    "single": ("single", "--dtype", "float32", "--device", "cpu"),
    "batch-float32": ("batch", "--batch", "16", "--dtype", "float32", "--device", "cpu"),
    "batch-bfloat16": ("batch", "--batch", "16", "--dtype", "bfloat16", "--device", "cpu"),
    "agent": ("agent", "--prefix-tokens", "2000", "--repeat", "3"),
    "overhead": ("overhead", "--batch", "64"),
    "memory": ("memory", "--requests", "1000", "--aborts", "200", "--first", "50"),
}


@dataclass(frozen=True)
class Target:
    """A figure of one run. Without ``bound`` it is only shown, beside the target that it explains."""

    what: str
    run: str
    figure: str
    sense: Literal["at least", "at most", "within"] = "at most"
    bound: float | None = None
    unit: str = ""

    @property
    def wanted(self) -> str:
        return "" if self.bound is None else f"{_SIGNS[self.sense]} {self.bound:g} {self.unit}".strip()

    def met(self, value: float) -> bool | None:
        match self.sense:
            case _ if self.bound is None:
                return None
            case "at least":
                return value >= self.bound
            case "at most":
                return value <= self.bound
            case "within":
                return abs(value) <= self.bound


_SIGNS = {"at least": "≥", "at most": "≤", "within": "±"}

TARGETS = (
    Target("one stream's decode / transformers', fp32", "single", "ratio", "at least", 1.4, "x"),
    Target("16 requests / one stream, fp32", "batch-float32", "ratio", "at least", 4, "x"),
    Target("16 requests / one stream, bf16", "batch-bfloat16", "ratio", unit="x"),
    Target("16 requests together, fp32", "batch-float32", "together", unit="tokens/s"),
    Target("16 requests together, bf16", "batch-bfloat16", "together", unit="tokens/s"),
    Target("second turn / first turn, to the first token", "agent", "second_turn_ratio", "at most", 15, "%"),
    Target("the scheduler's part of a step, batch 64", "overhead", "scheduler", "at most", 1, "ms"),
    Target("all of a step but the model", "overhead", "step_without_model", unit="ms"),
    Target("engine's memory, late / early", "memory", "engine_change", "within", 5, "%"),
    Target("front's memory, late / early", "memory", "front_change", "within", 5, "%"),
    Target("times that pages did not add up", "memory", "engine_restarts", "at most", 0),
    Target("agenthost run, cold start to first token", "agent", "cold_start", "at most", 5, "s"),
)

_COLUMNS = ("figure", "target", "bound", "measured", "unit", "verdict")


def main(words: Sequence[str]) -> int:
    parser = arguments("targets", __doc__)
    parser.add_argument("--only", nargs="+", choices=RUNS, metavar="RUN", help=f"some of: {', '.join(RUNS)}")
    options = parser.parse_args(words)
    reports: dict[str, JsonObject | str] = {}
    for name in options.only or RUNS:
        print(f"agenthost bench {' '.join(RUNS[name])}", file=sys.stderr)
        reports[name] = _run(name)
    rows = [row(target, reports[target.run]) for target in TARGETS if target.run in reports]
    settings = {name: " ".join(RUNS[name]) for name in reports}
    table = Table("targets", dict.fromkeys(_COLUMNS, ""), rows, hidden=("bound",))
    Report("targets", settings, tables=(table,), parts=reports).emit(options.json)
    return 0 if all(row["verdict"] in ("pass", "") for row in rows) else 1


def _run(name: str) -> JsonObject | str:
    """The benchmark's JSON object, or why there is none."""
    if name == "single" and find_spec("transformers") is None:
        return "transformers is not installed (pip install 'agenthost[dev]')"
    command = [sys.executable, "-m", "agenthost.server.cli", "bench", *RUNS[name], "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        return f"failed with exit status {done.returncode}"
    return json.loads(done.stdout)


def row(target: Target, report: JsonObject | str) -> dict[str, Value]:
    """``verdict`` is pass, MISS, or why there is none."""
    given = {"figure": target.what, "target": target.wanted, "bound": target.bound, "unit": target.unit}
    if isinstance(report, str):
        return {**given, "measured": None, "verdict": report}
    value = report["figures"][target.figure]
    return {**given, "measured": value, "verdict": {True: "pass", False: "MISS", None: ""}[target.met(value)]}
