"""The connections of a server to external MCP servers, from start to stop.

The operator's servers are started beside the model and kept up; requests that name one wait for it alone.
"""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import TYPE_CHECKING, Self

import anyio
import anyio.abc

from ...tools import ToolError
from ...tools.egress.policy import EgressPolicy, rules
from ..agent.approval import ApprovalPolicy
from ..mcp.sdk import load_sdk
from .config import ExternalConfig

if TYPE_CHECKING:
    from ...tools.remote import Pool, PooledServer, RemoteServer, RemoteServers, RemoteTool, ServerConfig

log = logging.getLogger(__name__)

_MOST_BYTES = 256 << 20  # exchanged over one connection to a server that a request names


class External:
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
        self._group: anyio.abc.TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._started = asyncio.get_running_loop().create_future()
        self._group = await anyio.create_task_group().__aenter__()
        self._group.start_soon(self._run, self._started)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._group is not None
        self._group.cancel_scope.cancel()
        return await self._group.__aexit__(kind, error, trace)

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
        try:
            await asyncio.to_thread(load_sdk)
        except Exception as error:
            log.exception("the MCP SDK could not be loaded")
            started.set_exception(error)
            started.exception()  # seen: it is logged
            return
        from ...tools.remote import Pool, RemoteServers
        from ...tools.remote.http import egress_client, trusted_client
        from ...tools.remote.login import Login

        trusted = trusted_client(Login(self._config.logins))
        async with RemoteServers(self._config.servers, trusted) as servers, Pool(egress_client(self._egress)) as pool:
            started.set_result((servers, pool))
            await anyio.sleep_forever()
