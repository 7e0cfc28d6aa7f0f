"""The external tools of one request: listed now or before, and which of their calls must be approved."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from .....tools import Tool, ToolError
from .....tools.remote.names import Aliases
from .....tools.remote.search import CALL, SEARCH
from ....external.external import External
from ....external.offered import usable
from ....json_values import JsonObject
from ..tools import Face
from .listing import entry, listing, pinned, renewed
from .wanted import Wanted

if TYPE_CHECKING:
    from .....tools.remote import PinnedTool, PooledServer, RemoteServer
    from .....tools.remote.definition import Definition


@dataclass
class Lending:
    """
    Attributes:
        tools: what the servers lend. deferred: names of those that go behind a search in any case.
        faces: by what the model calls them.
        labels: the same names by their servers' labels.
        listings: items of servers that were listed for this request.
    """

    tools: Sequence[Tool] = ()
    deferred: frozenset[str] = frozenset()
    faces: dict[str, Face] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)
    listings: list[JsonObject] = field(default_factory=list)


@dataclass
class _Server:
    """What is known of one server: how to reach it, its tools, and which of them the client must approve."""

    wanted: Wanted
    connection: RemoteServer | PooledServer | None = None
    definitions: Mapping[str, Definition] = field(default_factory=dict)
    tools: list[PinnedTool] = field(default_factory=list)
    asking: set[str] = field(default_factory=set)
    listed: JsonObject | None = None


async def lend(
    wanted: Sequence[Wanted],
    items: Sequence[Mapping[str, Any]],
    external: External,
    owner: str,
) -> Lending:
    """Make the tools of ``wanted`` ready. A server that cannot be used lends none, and its listing says why.

    Args:
        items: the conversation.
    """
    if not wanted:
        return Lending()
    servers = [_Server(one) for one in wanted]
    async with anyio.create_task_group() as group:
        for server in servers:
            group.start_soon(_read, server, items, external, owner)
    aliases = Aliases()
    for server in servers:
        await _pin(server, aliases, external)
    asking = {tool.spec.name for server in servers for tool in server.tools if tool.definition.name in server.asking}
    tools = [tool for server in servers for tool in server.tools]
    faces = {
        tool.spec.name: Face("mcp_held" if tool.spec.name in asking else "mcp", tool.label, tool.definition.name)
        for tool in tools
    }
    return Lending(
        tools,
        frozenset(tool.spec.name for server in servers if server.wanted.deferred for tool in server.tools),
        {**faces, SEARCH.name: Face("tool_search"), CALL.name: Face("mcp_deferred", inner=faces)} if tools else {},
        {server.wanted.label: [tool.spec.name for tool in server.tools] for server in servers},
        [server.listed for server in servers if server.listed is not None],
    )


async def _read(server: _Server, items: Sequence[Mapping[str, Any]], external: External, owner: str) -> None:
    wanted = server.wanted
    try:
        connection = server.connection = await _connection(wanted, external, owner)
        # Clients choose how much there is to read, so it is read beside the event loop.
        definitions = await asyncio.to_thread(pinned, items, wanted.label)
        if definitions is None:
            await connection.reach()
            definitions = {name: connection.definitions[name] for name in sorted(connection.definitions)}
            server.listed = listing(wanted.label, map(_entry, filter(wanted.allows, definitions.values())))
    except ToolError as error:
        server.listed = listing(wanted.label, (), str(error))
        return
    definitions = {name: tool for name, tool in definitions.items() if wanted.allows(tool)}
    again = await asyncio.to_thread(renewed, items, wanted.label, definitions)
    server.definitions = definitions
    server.asking = {name for name, tool in definitions.items() if name in again or wanted.asks(tool)}


async def _pin(server: _Server, aliases: Aliases, external: External) -> None:
    from .....tools.remote import PinnedTool

    if server.connection is None:
        return
    label = server.wanted.label
    tools = [PinnedTool(server.connection, tool, aliases.add(label, name)) for name, tool in server.definitions.items()]
    server.tools = await usable(tools)
    if server.wanted.operator is not None:
        server.asking |= {tool.definition.name for tool in server.tools if external.policy.asks(tool, {}) is not None}


def _entry(tool: Definition) -> JsonObject:
    return entry(tool.name, tool.description, tool.parameters, read_only=tool.says_read_only)


async def _connection(wanted: Wanted, external: External, owner: str) -> RemoteServer | PooledServer:
    if wanted.operator is not None:
        return await external.server(wanted.operator)
    assert wanted.config is not None
    return await external.requested(owner, wanted.config)
