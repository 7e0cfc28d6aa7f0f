"""The tools of external MCP servers for the terminal commands. Without any, MCP is not even imported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..external.config import ExternalConfig

if TYPE_CHECKING:
    from ...tools import Registry, Tool
    from .person import Person


@dataclass(frozen=True)
class Lent:
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

        tools = deferred(self.tools, context, lambda tool: tool.spec.name in self.hidden)
        return Registry.of([*own.tools.values(), *tools])


@asynccontextmanager
async def external_tools(config: ExternalConfig, person: Person | None) -> AsyncIterator[Lent]:
    """Start the servers; calls of their tools need the approval that the configuration wants, of ``person``."""
    if not config.servers:
        yield Lent()
        return
    from ...tools.remote import RemoteServers
    from ...tools.remote.http import trusted_client
    from ...tools.remote.login import Login
    from ..agent.approval import ApprovalPolicy, approved

    policy = ApprovalPolicy(config.approval)
    behind = frozenset(server.label for server in config.servers if server.defer)
    login = Login(config.logins, person.login if person else None)
    async with RemoteServers(config.servers, trusted_client(login)) as running:
        await running.tried()
        tools = running.tools()
        hidden = frozenset(tool.spec.name for tool in tools if tool.label in behind)
        ask = person.approve if person else None
        yield Lent(tuple(approved(tools, policy, ask)), hidden, running.problems())
