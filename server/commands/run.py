"""``agenthost run``: one task, shown live or as one JSON object. Exit status 0 only when there is an answer."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..json_values import JsonObject
from ..observe import logs
from .hosted import hosted
from .person import Person
from .problems import reported

if TYPE_CHECKING:
    from ..agent.events import Event, Failed


def main(options: Mapping[str, Any]) -> int:
    """0: answered. 1: the loop ended without an answer. 2: it could not start."""
    logs.set_up()
    return reported("run", lambda: asyncio.run(_run(options)))


async def _run(options: Mapping[str, Any]) -> int:
    begun = time.monotonic()
    async with hosted(options, Person()) as host:
        from rich.console import Console

        from .display import Display

        for sentence in host.missing:
            print(sentence, file=sys.stderr)
        display = None if options["json"] else Display(Console())
        report = Report()
        async with host.agent.run(options["task"]) as events:
            async for event in events:
                report.add(event)
                if display is not None:
                    display.show(event)
    seconds = time.monotonic() - begun
    if options["json"]:
        print(json.dumps(report.json(seconds), ensure_ascii=False))
        if report.failure is not None:
            print(f"agenthost run: {report.failure.message}", file=sys.stderr)
    else:
        print(report.figures(seconds))
    return 0 if report.answer is not None else 1


@dataclass
class Report:
    """What a task came to."""

    answer: str | None = None
    failure: Failed | None = None
    steps: list[JsonObject] = field(default_factory=list)
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def add(self, event: Event) -> None:
        from ..agent.events import Answer, CallFinished, CallStarted, Failed, StepFinished

        match event:
            case CallStarted():
                # Calls may end in another order than they began; steps are in the order of the calls.
                self.steps.append({"id": event.id})
            case CallFinished():
                step = next(step for step in self.steps if step.get("id") == event.id)
                step.clear()
                step.update(tool=event.tool, arguments=_object(event.arguments), output=event.output)
            case StepFinished():
                self.prompt_tokens += event.usage.prompt_tokens
                self.cached_tokens += event.usage.cached_tokens
                self.completion_tokens += event.usage.completion_tokens
            case Answer():
                self.answer = event.text
            case Failed():
                self.failure = event

    def json(self, seconds: float) -> JsonObject:
        return {
            "answer": self.answer,
            "steps": self.steps,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "cached_tokens": self.cached_tokens,
                "completion_tokens": self.completion_tokens,
            },
            "seconds": round(seconds, 3),
        }

    def figures(self, seconds: float) -> str:
        return (
            f"{len(self.steps)} tool calls, {self.prompt_tokens} prompt tokens ({self.cached_tokens} from the cache), "
            f"{self.completion_tokens} generated, {seconds:.1f} s"
        )


def _object(arguments: str) -> object:
    """The arguments as JSON; what is none stays the text that the model wrote."""
    try:
        return json.loads(arguments)
    except (ValueError, RecursionError):
        return arguments
