"""Large sets of tools behind a search, so that their definitions do not fill the model's context."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from ..spec import Annotations, JsonObject, Registry, Tool, ToolContext, ToolResult, ToolSpec, failure, parameters

SEARCH = ToolSpec(
    "search_tools",
    "Find more tools by what they do. Returns their names, descriptions and arguments, for call_tool.",
    parameters(
        {
            "query": {"type": "string", "description": "What the tool should do, in a few words"},
            "limit": {"type": "integer", "minimum": 1, "maximum": 20, "description": "How many (default 5)"},
        },
        ["query"],
    ),
    Annotations(read_only=True, destructive=False, idempotent=True),
)
CALL = ToolSpec(
    "call_tool",
    "Call a tool that search_tools has found.",
    parameters(
        {
            "name": {"type": "string", "description": "The tool's name"},
            "arguments": {"type": "object", "description": "Its arguments"},
        },
        ["name", "arguments"],
    ),
    timeout=3600.0,  # the called tool has its own
)
_CHARACTERS = 4  # in a token, about
_SHARE = 0.2  # of a context that definitions of external tools may take
_WORD = re.compile(r"[a-z0-9]+")


def deferred(tools: Sequence[Tool], context: int, always: Callable[[Tool], bool] = lambda tool: False) -> list[Tool]:
    """``tools`` as they are, or the two that search and call them when their definitions are too long.

    Args:
        context: tokens of the model's context, of which definitions may take a fifth.
        always: tools that go behind the search in any case.
    """
    most = int(context * _CHARACTERS * _SHARE)
    shown = [tool for tool in tools if not always(tool)]
    if sum(len(json.dumps(tool.spec.function())) for tool in shown) > most:
        shown = []
    names = {tool.spec.name for tool in shown}
    hidden = [tool for tool in tools if tool.spec.name not in names]
    if not hidden:
        return shown
    registry = Registry.of(hidden)
    return [*shown, SearchTools(registry), CallTool(registry)]


class SearchTools(Tool):
    spec = SEARCH

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._words = {
            name: _WORD.findall(f"{name.replace('_', ' ')} {tool.spec.description}".lower())
            for name, tool in registry.tools.items()
        }

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        wanted = set(_WORD.findall(arguments["query"].lower()))
        scores = {name: sum(_matches(word, words) for word in wanted) for name, words in self._words.items()}
        best = sorted((name for name in scores if scores[name]), key=lambda name: -scores[name])
        found = best[: arguments.get("limit", 5)]
        if not found:
            return ToolResult(f"No tool matches. There are {len(scores)}: {', '.join(scores)[:2000]}")
        return ToolResult("\n\n".join(_shown(self._registry.tools[name].spec) for name in found))


class CallTool(Tool):
    spec = CALL

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        if arguments["name"] not in self._registry.tools:
            return failure(f"there is no tool named {arguments['name'][:100]!r}. Find one with search_tools.")
        return await self._registry.call(arguments["name"], arguments["arguments"], context)


def _matches(word: str, words: Sequence[str]) -> float:
    """1 for the word itself, a half for one that begins like it."""
    if word in words:
        return 1.0
    return 0.5 if len(word) > 3 and any(other.startswith(word[:4]) for other in words) else 0.0


def _shown(spec: ToolSpec) -> str:
    return f"{spec.name}: {spec.description}\narguments: {json.dumps(spec.parameters, ensure_ascii=False)}"
