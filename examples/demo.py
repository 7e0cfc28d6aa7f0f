"""An agent solves three tasks before your eyes: the embedded model calls the sandboxed tools, and both are real.

``make demo`` runs this. Exit status 0 only if all three answers are right.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from agenthost.server.agent.agent import Agent
from agenthost.server.agent.events import Answer, CallFinished
from agenthost.server.commands.display import Display
from agenthost.server.commands.hosted import hosted
from agenthost.server.commands.problems import reported
from rich.console import Console

FILES = Path(__file__).parent / "workspace"


@dataclass(frozen=True)
class Task:
    """``expected`` must be part of the answer, thousands separators aside; ``tools`` must have been called."""

    why: str
    request: str
    expected: str
    tools: frozenset[str]


TASKS = [
    Task(
        "needs code: no model multiplies this in its head",
        "What is 123456789 * 987654321?",
        str(123456789 * 987654321),
        frozenset({"python"}),
    ),
    Task(
        "needs a file of the workspace",
        "What is the port in server.txt?",
        "7412",
        frozenset({"read_text_file"}),
    ),
    Task(
        "needs both",
        "What is the total amount in expenses.csv?",
        "1016.35",
        frozenset({"read_text_file", "python"}),
    ),
]

NEXT = """
Now start the server, which has the same model and an OpenAI-compatible API:

    . .venv/bin/activate
    agenthost serve

and from another terminal:

    curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
      -d '{"model": "pocket", "messages": [{"role": "user", "content": "Hello, who are you?"}]}'

Or give the agent a task of yours: agenthost run "How many days are there between 2024-02-11 and 2026-11-03?"
"""


async def demo(model: str) -> int:
    """Solve every task with one engine and one workspace. Returns how many answers were wrong."""
    console = Console(highlight=False)
    wrong = 0
    begun = time.monotonic()
    console.print(f"Starting the engine with the model {model!r} ...", style="dim", markup=False)
    with tempfile.TemporaryDirectory(prefix="agenthost-demo-") as directory:
        workspace = shutil.copytree(FILES, Path(directory) / "workspace")
        async with hosted({"model": model, "workspace": str(workspace)}) as host:
            for sentence in host.missing:
                console.print(sentence, style="yellow", markup=False)
            console.print(f"Ready after {time.monotonic() - begun:.1f} s.", style="dim")
            for number, task in enumerate(TASKS, start=1):
                console.rule(f"Task {number} of {len(TASKS)}: {task.why}", align="left")
                console.print(task.request, style="bold", markup=False)
                wrong += not await solved(host.agent, task, Display(console), console)
    console.rule()
    console.print(
        f"{len(TASKS) - wrong} of {len(TASKS)} tasks solved in {time.monotonic() - begun:.1f} s.", style="bold"
    )
    console.print(NEXT, markup=False, soft_wrap=True)
    return wrong


async def solved(agent: Agent, task: Task, display: Display, console: Console) -> bool:
    """Show the agent at work on ``task``; True when the tools were used and the answer is right."""
    answer, used = "", set[str]()
    async with agent.run(task.request) as events:
        async for event in events:
            display.show(event)
            match event:
                case CallFinished(tool=tool, is_error=False):
                    used.add(tool)
                case Answer(text=text):
                    answer = text
    if task.expected not in answer.replace(",", ""):
        console.print(f"Wrong: {task.expected} was expected.", style="bold red")
        return False
    if not task.tools <= used:
        console.print(f"Right, but without calling {', '.join(sorted(task.tools - used))}.", style="bold red")
        return False
    console.print("Right.", style="bold green")
    return True


def main() -> int:
    model = sys.argv[1] if len(sys.argv) > 1 else "pocket"
    return reported("demo", lambda: min(1, asyncio.run(demo(model))))


if __name__ == "__main__":
    sys.exit(main())
