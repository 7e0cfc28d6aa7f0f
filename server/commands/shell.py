"""``agenthost shell``: a conversation with an agent that has tools and a workspace."""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from anyio.from_thread import BlockingPortal, start_blocking_portal

from ..observe import logs
from .hosted import hosted
from .person import Person
from .problems import reported

if TYPE_CHECKING:
    from rich.console import Console

    from ..agent.agent import Agent
    from .display import Display

_HELP = "Type a request. Ctrl-C stops the agent, Ctrl-D ends the conversation."


def main(options: Mapping[str, Any]) -> int:
    logs.set_up()
    return reported("shell", lambda: _shell(options))


def _shell(options: Mapping[str, Any]) -> int:
    """The prompt has the main thread, where Ctrl-C interrupts it; the agent works in the portal's."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(hosted(options, Person())) as host:
        from rich.console import Console

        from .display import Display

        with contextlib.suppress(ImportError):
            importlib.import_module("readline")  # line editing and history in input()
        console = Console()
        display = Display(console)
        for sentence in (*host.missing, _HELP):
            console.print(sentence, style="dim", markup=False)
        while (request := _ask(console)) is not None:
            if request:
                _interruptible(portal, host.agent, request, display)
    return 0


def _ask(console: Console) -> str | None:
    """The next request, None when the user is done."""
    try:
        return console.input("[bold]> [/bold]").strip()
    except (EOFError, KeyboardInterrupt):
        console.print()
        return None


def _interruptible(portal: BlockingPortal, agent: Agent, request: str, display: Display) -> None:
    over = threading.Event()

    async def work() -> None:
        try:
            async with agent.run(request) as events:
                async for event in events:
                    display.show(event)
        finally:
            over.set()

    working = portal.start_task_soon(work)
    try:
        working.result()
    except KeyboardInterrupt:
        working.cancel()
        over.wait()
        display.stopped()
