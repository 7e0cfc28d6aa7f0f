"""The steps of the hosted loop on one task, with its real tools in a workspace of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ..agent.events import Answer, CallFinished, Failed, StepFinished
from ..commands.hosted import hosted

_EXPENSES = """date,category,amount
2026-03-02,travel,184.50
2026-03-04,food,37.25
2026-03-09,office,412.00
2026-03-18,travel,96.40
2026-03-27,food,28.10
"""


@dataclass
class Step:
    """One turn of the model and the calls it made. Tokens; seconds, of the calls all together."""

    number: int
    prompt: int
    cached: int
    output: int
    first_token: float
    turn: float
    tools: list[str] = field(default_factory=list)
    tool_time: float = 0.0


async def loop_steps(model: str, task: str) -> tuple[list[Step], str]:
    """The steps until the agent answers or gives up, and which of both. Raises what :func:`hosted` raises."""
    steps: list[Step] = []
    ending = ""
    with _workspace() as workspace:
        options = {"model": model, "workspace": workspace, "temperature": 0.0}
        async with hosted(options) as host, host.agent.run(task) as events:
            async for event in events:
                match event:
                    case StepFinished(number, usage, first_token, seconds):
                        tokens = (usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens)
                        steps.append(Step(number, *tokens, first_token, seconds))
                    case CallFinished():
                        steps[-1].tools.append(event.tool)
                        steps[-1].tool_time += event.seconds
                    case Answer():
                        ending = "an answer"
                    case Failed():
                        ending = event.message
    return steps, ending


@contextmanager
def _workspace() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="agenthost-bench-") as folder:
        Path(folder, "expenses.csv").write_text(_EXPENSES)
        yield folder
