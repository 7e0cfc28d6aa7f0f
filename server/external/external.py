"""The connections of a server to external MCP servers, from start to stop.

The operator's servers are started beside the model and kept up; requests that name one wait for it alone.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import anyio

from ...tools import ToolError
from ...tools.background import Background
from ...tools.egress.policy import EgressPolicy, rules
from ..agent.approval import ApprovalPolicy
from ..mcp.sdk import load_sdk
from .config import ExternalConfig

if TYPE_CHECKING:
    from ...tools.remote import Pool, PooledServer, RemoteServer, RemoteServers, RemoteTool, ServerConfig

log = logging.getLogger(__name__)

_MOST_BYTES = 256 << 20  # exchanged over one connection to a server that a request names


class External(Background):
    """Use it as an async context manager.

    Args:
        config: what the operator wants. Raises ValueError for hosts that are none.

    Attributes:
        labels: of the operator's servers, in the configuration's order.
        policy: which of their tools may be called without asking.
    """

    def __init__(self, config: ExternalConfig | None = None) -> None:
        self._config = config or ExternalConfig()
        self.labels = tuple(server.label for server in self._config.servers)
        self.deferred = frozenset(server.label for server in self._config.servers if server.defer)
        self.policy = ApprovalPolicy(self._config.approval)
        self._egress = EgressPolicy(allow=rules(self._config.allow_host), max_bytes=_MOST_BYTES)
        self._started: asyncio.Future[tuple[RemoteServers, Pool]] | None = None

    def begin(self) -> None:
        self._started = asyncio.get_running_loop().create_future()
        self.group.start_soon(self._run, self._started)

    async def tools(self, label: str) -> list[RemoteTool]:
        """The tools of one of the operator's servers as they are now.

        Raises ToolError: it cannot be used.
        """
        servers, _ = await self._parts()
        await servers.server(label).reach()
        return servers.tools(label)

    async def server(self, label: str) -> RemoteServer:
        """One of the operator's servers. Raises ToolError, and KeyError when there is none."""
        servers, _ = await self._parts()
        return servers.server(label)

    async def requested(self, owner: str, config: ServerConfig) -> PooledServer:
        """A server that a request names; it is connected to when it is used. Raises ToolError."""
        from ...tools.remote import PooledServer

        _, pool = await self._parts()
        return PooledServer(pool, owner, config)

    async def _parts(self) -> tuple[RemoteServers, Pool]:
        if self._started is None:
            raise RuntimeError("enter External with `async with` before asking for its tools")
        try:
            return await asyncio.shield(self._started)
        except Exception as error:
            raise ToolError("external MCP servers cannot be used. The server's log says why.") from error

    async def _run(self, started: asyncio.Future[tuple[RemoteServers, Pool]]) -> None:
        async with AsyncExitStack() as stack:
            try:
                started.set_result(await self._start(stack))
            except Exception as error:
                log.exception("external MCP servers cannot be used")
                started.set_exception(error)
                started.exception()  # seen: it is logged
            await anyio.sleep_forever()

    async def _start(self, stack: AsyncExitStack) -> tuple[RemoteServers, Pool]:
        await asyncio.to_thread(load_sdk)
        from ...tools.remote import Pool, RemoteServers
        from ...tools.remote.http import egress_client, trusted_client
        from ...tools.remote.login import Login

        servers = RemoteServers(self._config.servers, trusted_client(Login(self._config.logins)))
        pool = Pool(egress_client(self._egress))
        return await stack.enter_async_context(servers), await stack.enter_async_context(pool)
