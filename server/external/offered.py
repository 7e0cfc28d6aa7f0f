"""External tools for requests whose calls nobody can approve while they wait: those that the operator trusts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from ...tools import Tool, ToolError
from ...tools.interaction import Ask
from ...tools.remote.names import label_of
from ..agent.approval import approval_by, approved
from ..agent.hosted_tools import NotOffered
from ..chat.schema_check import SchemaError, check_object_schema
from .external import External

if TYPE_CHECKING:
    from ...tools.remote import RemoteTool

T = TypeVar("T", bound=Tool)

log = logging.getLogger(__name__)

EVERY = "mcp"  # asks for the tools of all servers


class Listed:
    """What a session has been told of external tools: once, since definitions stand at the front of its prompts."""

    def __init__(self) -> None:
        self._tools: dict[str, dict[str, tuple[RemoteTool, bool]]] = {}

    async def of(self, label: str, external: External) -> dict[str, tuple[RemoteTool, bool]]:
        """A server's tools by their aliases, and whether each could be called without asking. Raises ToolError."""
        if label not in self._tools:
            tools = await usable(await external.tools(label))
            self._tools[label] = {tool.spec.name: (tool, external.policy.asks(tool, {}) is None) for tool in tools}
        return self._tools[label]

    async def close(self) -> None:
        self._tools.clear()


def split(names: Iterable[str], own: Collection[str], external: External) -> tuple[list[str], list[str]]:
    """The names that ask for tools of this server, and those that ask for external ones; ``own`` are never external."""
    asks = [(name, name not in own and label_of(name) in (EVERY, *external.labels)) for name in names]
    return [name for name, is_external in asks if not is_external], [name for name, is_external in asks if is_external]


async def unattended(names: Sequence[str], external: External, listed: Listed) -> list[Tool]:
    """The tools that ``names`` ask for: all servers' (``mcp``), one server's (its label), or one tool by its alias.

    Raises NotOffered: there is nothing by a name, or nothing that may be called without asking.
    """
    chosen: dict[str, RemoteTool] = {}
    for label in external.labels:
        wanted = [name for name in names if name == EVERY or label_of(name) == label]
        if not wanted:
            continue
        try:
            there = await listed.of(label, external)
        except ToolError as error:
            if EVERY not in wanted:
                raise NotOffered(str(error)) from error
            log.warning("%s", error)
            continue
        for name in wanted:
            chosen.update(_found(name, label, there))
    return approved(chosen.values(), external.policy, None)


async def attended(external: External, ask: Ask | None) -> list[Tool]:
    """The tools of all servers that can be used, for an agent behind which ``ask`` reaches a person, or nobody."""
    tools: list[RemoteTool] = []
    for label in external.labels:
        try:
            tools += await usable(await external.tools(label))
        except ToolError as error:
            log.warning("%s", error)
    if ask is None:
        return approved([tool for tool in tools if external.policy.asks(tool, {}) is None], external.policy, None)
    return approved(tools, external.policy, approval_by(ask))


async def usable(tools: Iterable[T]) -> list[T]:
    """Those whose schemas a model can be held to."""
    return await asyncio.to_thread(_usable, tools)  # schemas that are new take long enough to be felt by others


def _usable(tools: Iterable[T]) -> list[T]:
    found = []
    for tool in tools:
        try:
            check_object_schema(tool.spec.parameters)
        except SchemaError as error:
            log.warning("the external tool %s is left out: the schema of its arguments: %s", tool.spec.name, error)
        else:
            found.append(tool)
    return found


def _found(name: str, label: str, there: Mapping[str, tuple[RemoteTool, bool]]) -> dict[str, RemoteTool]:
    asked = {alias: entry for alias, entry in there.items() if name in (EVERY, label, alias)}
    allowed = {alias: tool for alias, (tool, free) in asked.items() if free}
    if not asked and name != EVERY:
        raise NotOffered(f"There is no external tool {name[:100]!r} on this server.")
    if not allowed and name != EVERY:
        raise NotOffered(
            f"{name[:100]!r} needs somebody's approval for each call, which only the Responses API can ask for. "
            "The operator can allow it with autoApprove in mcp.json, or all with --mcp-approval never."
        )
    return allowed
