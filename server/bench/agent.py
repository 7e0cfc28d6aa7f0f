"""What an agent waits for: its start, its second turn, and every step with tools.

Cold start: from the start of the `agenthost run` process to the first character that its model says, with files in
the page cache (one run before the measured ones is not counted).

Second turn: a conversation that begins with --prefix-tokens goes on after its first answer, through a server over
HTTP. What the second turn waits for its first token, as a share of what the first turn waited, tells what the prefix
cache saves.

Steps: the hosted loop works on one task with its real tools; every step's wait for its first token, the share of its
prompt that was cached, and the time in tools.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

import anyio

from ...engine.bench.report import Figure, Report, arguments, positive, progress
from ...engine.bench.table import Table, Value
from .cold_start import cold_start
from .own_server import own_server
from .second_turn import Turns, second_turns

if TYPE_CHECKING:
    from .loop_steps import Step

_TASK = "What is the total amount in expenses.csv?"
_UNITS = {
    "step": "", "prompt": "tokens", "cached": "%", "output": "tokens", "first_token": "ms", "turn": "s",
    "tool_time": "s", "tools": "",
}  # fmt: skip


def main(words: Sequence[str]) -> int:
    """Exit status 0 when all could be measured, whether the agent's answer is right or not."""
    options = parser().parse_args(words)
    from .loop_steps import loop_steps

    with progress() as bar:
        task = bar.add_task("cold starts", total=3 + options.repeat)
        cold_start(options.model)  # fills the page cache
        starts: list[float] = []
        for _ in range(options.repeat):
            bar.advance(task)
            starts.append(cold_start(options.model))
        bar.update(task, description="second turns", advance=1)
        with own_server(options.model) as endpoint:
            turns = anyio.run(second_turns, endpoint, options.prefix_tokens, options.repeat, options.seed)
        bar.update(task, description="steps", advance=1)
        steps, ending = anyio.run(loop_steps, options.model, options.task)
        bar.advance(task)
    report(options, starts, turns, steps, ending).emit(options.json)
    return 0


def parser() -> argparse.ArgumentParser:
    """Its options."""
    parser = arguments("agent", __doc__)
    parser.add_argument("--model", default="pocket", help="a folder, a hub id or pocket")
    parser.add_argument(
        "--repeat", type=positive, default=3, metavar="N", help="starts and conversations; medians are shown"
    )
    parser.add_argument("--prefix-tokens", type=positive, default=2000, metavar="N", help="before the second turn")
    parser.add_argument("--task", default=_TASK, help="for the steps; the workspace holds expenses.csv")
    parser.add_argument("--seed", type=int, default=0, help="of the conversations")
    return parser


def report(
    options: argparse.Namespace, starts: list[float], turns: list[Turns], steps: list[Step], ending: str
) -> Report:
    first = statistics.median(turn.first.first_token for turn in turns)
    second = statistics.median(turn.second.first_token for turn in turns)
    prompts = sum(turn.second.prompt_tokens for turn in turns)
    spread = f"median of {len(starts)}, {min(starts):.2f} to {max(starts):.2f}; process start to first token"
    figures = [
        Figure("cold_start", statistics.median(starts), "s", spread),
        Figure("first_turn", 1000 * first, "ms", f"to the first token, {turns[0].first.prompt_tokens:,} prompt tokens"),
        Figure("second_turn", 1000 * second, "ms", f"{turns[0].second.prompt_tokens:,} prompt tokens"),
        Figure("second_turn_ratio", 100 * second / first, "%", "second turn / first turn"),
        Figure("second_turn_cached", 100 * sum(t.second.cached_tokens for t in turns) / prompts, "%", "of its prompt"),
        Figure("steps_cached", _cached(steps), "%", "of the prompts of the loop's steps but the first"),
        Figure("tool_time", sum(step.tool_time for step in steps), "s", f"in {len(steps)} steps"),
        Figure("loop_ended_with", ending),
    ]
    settings = {
        "model": options.model, "repeat": options.repeat, "prefix_tokens": options.prefix_tokens,
        "task": options.task, "seed": options.seed,
    }  # fmt: skip
    return Report("agent", settings, figures, tables=(Table("steps", _UNITS, [_row(step) for step in steps]),))


def _cached(steps: list[Step]) -> float:
    later = steps[1:]
    return 100 * sum(s.cached for s in later) / sum(s.prompt for s in later) if later else 0.0


def _row(step: Step) -> dict[str, Value]:
    return {
        "step": step.number, "prompt": step.prompt, "cached": 100 * step.cached / step.prompt, "output": step.output,
        "first_token": 1000 * step.first_token, "turn": step.turn, "tool_time": step.tool_time,
        "tools": ", ".join(step.tools),
    }  # fmt: skip
