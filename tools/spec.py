"""What a tool is: a name, a description, JSON Schemas, and an async call.

The same :class:`Tool` object serves the hosted agent loop and the MCP server. This room knows nothing of HTTP or of
models. Field meanings follow the MCP specification (tools, annotations, ``isError``).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .arguments import problem_of
from .errors import ToolError
from .interaction import Ask, Report
from .json_values import JsonObject

if TYPE_CHECKING:
    from .workspace import Session


@dataclass(frozen=True)
class Annotations:
    """MCP hints about a tool's effects. Defaults are the cautious ones."""

    read_only: bool = False
    destructive: bool = True
    idempotent: bool = False
    open_world: bool = False


@dataclass(frozen=True)
class ToolSpec:
    """The part of a tool that a model or an MCP client sees.

    Args:
        name: matches ``^[a-zA-Z0-9_-]{1,64}$`` (the rule of OpenAI functions, stricter than MCP's).
        description: what the tool does and how its result reads.
        parameters: JSON Schema (2020-12) of the arguments; ``type`` is ``object``.
        output: JSON Schema of :attr:`ToolResult.structured`, or None when results are text only.
        timeout: seconds after which one call is cancelled.
        foreign: somebody else wrote it, so that checking arguments by it may take as long as that is allowed to.
    """

    name: str
    description: str
    parameters: JsonObject
    annotations: Annotations = Annotations()
    output: JsonObject | None = None
    timeout: float = 60.0
    foreign: bool = False

    def function(self) -> JsonObject:
        """The tool in OpenAI's shape, as chat templates expect it."""
        function = {"name": self.name, "description": self.description, "parameters": self.parameters}
        return {"type": "function", "function": function}


@dataclass(frozen=True)
class Media:
    """An image or a sound that a call gave back."""

    data: bytes
    mime_type: str


@dataclass(frozen=True)
class FileLink:
    """A file of the session's workspace that a call made or is about; ``path`` is relative to the workspace."""

    path: str
    mime_type: str | None = None
    size: int | None = None


@dataclass(frozen=True)
class ToolResult:
    """What a call gave back.

    ``text`` is what the model reads; ``media`` and ``files`` come with it for those who can show them. ``state_lost``
    says that the session's interpreter was restarted, so that earlier variables are gone.
    """

    text: str
    is_error: bool = False
    structured: JsonObject | None = None
    state_lost: bool = False
    media: tuple[Media, ...] = ()
    files: tuple[FileLink, ...] = ()


@dataclass(frozen=True)
class ToolContext:
    """What a call may use: the session it belongs to. Deadlines come as cancellation.

    Args:
        report: takes news of a call that runs for long; None where nobody listens.
        ask: puts a question to the person behind the agent; None where there is nobody to ask.
    """

    session: Session
    report: Report | None = None
    ask: Ask | None = None


class Tool(ABC):
    """One tool. ``call`` gets arguments that already fit ``spec.parameters``."""

    spec: ToolSpec

    @abstractmethod
    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        """Do the work. Raise :class:`ToolError` for what the model should read and act on."""


@dataclass
class Registry:
    """The tools that one server offers, by name, in a stable order (the order is part of the model's prompt)."""

    tools: dict[str, Tool] = field(default_factory=dict)

    @classmethod
    def of(cls, tools: Iterable[Tool]) -> Registry:
        registry = cls()
        for tool in tools:
            if tool.spec.name in registry.tools:
                raise ValueError(f"two tools are named {tool.spec.name!r}")
            registry.tools[tool.spec.name] = tool
        return registry

    def specs(self) -> list[ToolSpec]:
        return [tool.spec for tool in self.tools.values()]

    def problem(self, name: str, arguments: object) -> str | None:
        """What is wrong with a call before it is made, in a sentence, or None."""
        tool = self.tools.get(name)
        if tool is None:
            return f"there is no tool named {name!r}. Available tools: {', '.join(self.tools)}."
        problem = problem_of(arguments, tool.spec.parameters)
        return f"wrong arguments for {name}: {problem}" if problem else None

    async def call(self, name: str, arguments: object, context: ToolContext) -> ToolResult:
        """Validate, run under the tool's timeout, and turn every failure into a result that the model can read.

        Cancellation passes through: a client that disconnects stops the tool.
        """
        foreign = name in self.tools and self.tools[name].spec.foreign
        problem = await asyncio.to_thread(self.problem, name, arguments) if foreign else self.problem(name, arguments)
        if problem:
            return failure(problem)
        assert isinstance(arguments, dict)
        tool = self.tools[name]
        try:
            async with asyncio.timeout(tool.spec.timeout):
                return await tool.call(arguments, context)
        except ToolError as error:
            return failure(str(error), state_lost=error.state_lost)
        except TimeoutError:
            return failure(f"{name} did not finish within {tool.spec.timeout:g} seconds and was stopped.")


def failure(message: str, *, state_lost: bool = False) -> ToolResult:
    """A tool error as the model reads it: ``Error: what was wrong. What to do.``"""
    return ToolResult(text=f"Error: {message}", is_error=True, state_lost=state_lost)


def parameters(properties: Mapping[str, JsonObject], required: Iterable[str] = ()) -> JsonObject:
    """An object schema that admits nothing but ``properties``."""
    schema: JsonObject = {"type": "object", "properties": dict(properties)}
    names = list(required)
    if names:
        schema["required"] = names
    schema["additionalProperties"] = False
    return schema
