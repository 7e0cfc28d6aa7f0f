"""The agent loop of the evaluation: generate, run the calls for real, append the results, generate again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import jsonschema

from .chat import Message, prompt, tool_call
from .toolbox import Toolbox
from .world import UnexpectedCall, World

Generate = Callable[[Sequence[str], Sequence[Toolbox]], list[str]]
"""Prompts (and each one's tools, for grammars) to the texts that follow."""

_CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
MOST_TURNS = 8
RESULT_LIMIT = 6000  # characters of one tool result


@dataclass
class Run:
    """One conversation under evaluation. ``failure`` is the first thing that no right answer can follow."""

    world: World
    messages: list[Message]
    requests: list[str]
    answers: list[str] = field(default_factory=list)
    used: list[list[str]] = field(default_factory=list)
    failure: str = ""
    turns: int = 0

    def next_request(self) -> None:
        self.messages.append({"role": "user", "content": self.requests[len(self.answers)]})
        self.used.append([])
        self.turns = 0

    @property
    def finished(self) -> bool:
        return bool(self.failure) or len(self.answers) == len(self.requests)


def drive(runs: Sequence[Run], generate: Generate, *, strict: bool = True) -> None:
    """Run all conversations to their ends, in step. ``strict`` counts an invalid call as failure; else it is told."""
    for run in runs:
        run.next_request()
    with ThreadPoolExecutor(16) as pool:
        while active := [run for run in runs if not run.finished]:
            texts = generate(
                [prompt(run.messages, run.world.toolbox.lines()) for run in active],
                [run.world.toolbox for run in active],
            )
            list(pool.map(lambda run, text: _advance(run, text, strict), active, texts))


def _advance(run: Run, text: str, strict: bool) -> None:
    run.turns += 1
    found = _CALL.findall(text)
    if not found:
        if "<tool_call>" in text:
            run.failure = f"unfinished call: {text[-80:]!r}"
            return
        run.messages.append({"role": "assistant", "content": text})
        run.answers.append(text)
        if not run.finished:
            run.next_request()
        return
    if run.turns > MOST_TURNS:
        run.failure = "too many turns"
        return
    said = text.split("<tool_call>", 1)[0].strip()
    message: Message = {"role": "assistant", "content": said, "tool_calls": []}
    results = []
    for source in found:
        try:
            call = json.loads(source)
            name, arguments = call["name"], call["arguments"]
        except (ValueError, KeyError, TypeError):
            run.failure = f"not a call: {source!r}"
            return
        message["tool_calls"].append(tool_call(name, arguments))
        results.append(_perform(run, name, arguments, strict))
    run.messages.append(message)
    run.messages.extend({"role": "tool", "content": result[:RESULT_LIMIT]} for result in results)


def _perform(run: Run, name: str, arguments: dict[str, object], strict: bool) -> str:
    view = run.world.toolbox.by_shown_name(name)
    if view is None:
        run.failure = f"no tool is called {name}" if strict else ""
        return f"Error: there is no tool named {name!r}."
    run.used[-1].append(view.tool)
    try:
        jsonschema.validate(arguments, view.schema)
        return run.world.call(view.tool, view.understand(arguments))
    except jsonschema.ValidationError as error:
        run.failure = f"invalid arguments for {name}: {error.message}" if strict else ""
        return f"Error: wrong arguments for {name}: {error.message}."
    except UnexpectedCall as error:
        run.failure = f"wrong arguments: {error}"
        return ""
