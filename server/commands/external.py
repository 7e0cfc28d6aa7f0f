"""The tools of external MCP servers for the terminal commands. Without any, MCP is not even imported."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...tools import Registry, Tool
    from ...tools.remote import ServerConfig
    from .person import Person

_CHARACTERS = 4  # in a token, about
_SHARE = 0.2  # of the context that definitions of external tools may take


@dataclass(frozen=True)
class External:
    """Tools of external servers, which of them go behind a search, and which servers cannot be used."""

    tools: tuple[Tool, ...] = ()
    hidden: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()

    def beside(self, own: Registry, context: int) -> Registry:
        """``own`` and these; behind a search where their definitions would fill a context of so many tokens."""
        if not self.tools:
            return own
        from ...tools import Registry
        from ...tools.remote import deferred

        most = int(context * _CHARACTERS * _SHARE)
        tools = deferred(self.tools, most, lambda tool: tool.spec.name in self.hidden)
        return Registry.of([*own.tools.values(), *tools])


def external_servers(options: Mapping[str, Any]) -> Sequence[ServerConfig]:
    """What ``--mcp-config`` describes. Raises RemoteConfigError."""
    if "mcp_config" not in options:
        return ()
    from ...tools.remote import read_config

    return read_config(Path(options["mcp_config"]), os.environ)


@asynccontextmanager
async def external_tools(
    servers: Sequence[ServerConfig], options: Mapping[str, Any], person: Person | None
) -> AsyncIterator[External]:
    """Start ``servers``; calls of their tools need the approval that ``options`` want, of ``person``."""
    if not servers:
        yield External()
        return
    from ...tools.remote import RemoteServers
    from ..agent.approval import ApprovalPolicy, approved

    policy = ApprovalPolicy(options.get("mcp_approval", "ask"))
    behind = frozenset(config.label for config in servers if config.defer)
    async with RemoteServers(servers) as running:
        tools = running.tools()
        hidden = frozenset(tool.spec.name for tool in tools if tool.label in behind)
        ask = person.approve if person else None
        yield External(tuple(approved(tools, policy, ask)), hidden, running.problems())
