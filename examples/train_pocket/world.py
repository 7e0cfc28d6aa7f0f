"""What tools act on in one conversation: a workspace, an interpreter, a web, and the answers of foreign tools."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from agenthost.tools.files.specs import FILE_SPECS

from .interpreter import Interpreter
from .toolbox import Toolbox
from .web import Web
from .workspace import Workspace

FILE_TOOLS = {spec.name for spec in FILE_SPECS}
BROWSER_TOOLS = {"search", "open", "find"}


class Python(Protocol):
    """Runs cells: in this process while generating, in another one while evaluating."""

    def run(self, code: str) -> str: ...


@dataclass
class ForeignCall:
    """What a foreign tool answers to the arguments that a task expects of the model."""

    tool: str
    arguments: dict[str, Any]
    result: str


class UnexpectedCall(Exception):
    """A foreign tool was called with arguments that no task expects."""


@dataclass
class World:
    """Everything outside the model. ``workspace.root`` is the current directory of the interpreter."""

    workspace: Workspace
    toolbox: Toolbox = field(default_factory=Toolbox)
    web: Web = field(default_factory=Web)
    python: Python = field(default_factory=Interpreter)
    foreign: list[ForeignCall] = field(default_factory=list)

    def call(self, tool: str, arguments: dict[str, Any]) -> str:
        """Run a tool by its own name and arguments. Raises UnexpectedCall."""
        if tool == "python":
            return self.python.run(arguments["code"])
        if tool in FILE_TOOLS:
            return self.workspace.call(tool, arguments)
        if tool in BROWSER_TOOLS:
            return self.web.call(tool, arguments)
        for expected in self.foreign:
            if expected.tool == tool and _same(expected.arguments, arguments):
                return expected.result
        raise UnexpectedCall(
            f"{tool} with {arguments}; expected {[c.arguments for c in self.foreign if c.tool == tool]}"
        )


def _same(expected: dict[str, Any], actual: dict[str, Any]) -> bool:
    return expected.keys() == actual.keys() and all(_equal(expected[name], actual[name]) for name in expected)


def _equal(expected: Any, actual: Any) -> bool:
    """Equal up to case, outer punctuation and a number's spelling, which carry no meaning in a request."""
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, int | float) and isinstance(actual, int | float):
        return abs(expected - actual) < 1e-9 * max(1.0, abs(expected))
    if isinstance(expected, str) and isinstance(actual, str):
        return expected.strip(" .!?'\"").lower() == actual.strip(" .!?'\"").lower()
    return expected == actual


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    """Make ``directory`` current, since generation runs cells in this process."""
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
