"""Tasks: a request, the script of a right solution, and how to tell a right answer.

A script is a generator. It yields turns of tool calls, receives their results, and returns an answer. The same task
serves generation (the script plays the model) and evaluation (the model plays itself, the answer is judged).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from .chat import Message, tool_call
from .world import World


@dataclass(frozen=True)
class Call:
    """A call by the tool's own name and arguments."""

    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """One assistant turn with calls. ``trained`` is False for a deliberate mistake."""

    calls: tuple[Call, ...]
    say: str = ""
    trained: bool = True


@dataclass(frozen=True)
class Answer:
    """A final answer.

    Args:
        text: what the model is trained to say.
        expect: every element must occur in a right answer; alternatives are separated by ``|``.
        check: a test of the world after the task.
        calls: whether a right solution needs at least one call (False: none may be made, None: either).
    """

    text: str
    expect: tuple[str, ...] = ()
    check: Callable[[World], bool] | None = None
    calls: bool | None = True


Script = Generator[Turn, list[str], Answer]


@dataclass
class Round:
    """One user turn and its solution."""

    request: str
    script: Callable[[], Script]


@dataclass
class Task:
    """One or more rounds about the same things.

    ``tools`` are hosted tools that the scripts use (``name:full`` with all optional parameters); tools in ``barred``
    must not be offered.
    """

    category: str
    rounds: list[Round]
    tools: tuple[str, ...] = ()
    barred: tuple[str, ...] = ()


def turn(tool: str, arguments: dict[str, Any], say: str = "", *, trained: bool = True) -> Turn:
    """A turn with one call."""
    return Turn((Call(tool, arguments),), say, trained)


def single(category: str, request: str, script: Callable[[], Script], tools: tuple[str, ...] = ()) -> Task:
    """A task of one round."""
    return Task(category, [Round(request, script)], tools)


def says(text: str, expect: tuple[str, ...] = (), *, calls: bool | None = False) -> Callable[[], Script]:
    """A script that only answers."""

    def script() -> Script:
        return Answer(text, expect, calls=calls)
        yield

    return script


def play(world: World, round_: Round, messages: list[Message]) -> Answer:
    """Run the script against the world and append its messages."""
    messages.append({"role": "user", "content": round_.request})
    script = round_.script()
    try:
        step = next(script)
        while True:
            step = script.send(_perform(world, step, messages))
    except StopIteration as stop:
        answer: Answer = stop.value
    messages.append({"role": "assistant", "content": answer.text})
    return answer


def _perform(world: World, step: Turn, messages: list[Message]) -> list[str]:
    views = world.toolbox.views
    shown = [tool_call(views[call.tool].name, views[call.tool].show(call.arguments)) for call in step.calls]
    messages.append({"role": "assistant", "content": step.say, "tool_calls": shown, "trained": step.trained})
    results = [world.call(call.tool, call.arguments) for call in step.calls]
    messages.extend({"role": "tool", "content": result} for result in results)
    return results
