"""All external servers together: started side by side, listed once."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import anyio

from .config import ServerConfig
from .names import Aliases
from .server import HttpClient, RemoteServer, plain_client
from .tool import RemoteTool


class RemoteServers:
    """Use it as an async context manager; entering it waits until each server was reached or could not be.

    Args:
        configs: in the order in which models see their tools.
    """

    def __init__(self, configs: Iterable[ServerConfig], http_client: HttpClient = plain_client) -> None:
        self._servers = [RemoteServer(config, http_client) for config in configs]
        self._aliases = Aliases()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        group = await self._stack.enter_async_context(anyio.create_task_group())
        self._stack.callback(group.cancel_scope.cancel)
        for server in self._servers:
            group.start_soon(server.run)
        for server in self._servers:
            await server.tried()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    def tools(self) -> list[RemoteTool]:
        """The tools as they are now: by server in the configuration's order, then by name.

        List them once for a conversation: their order and text are part of the model's prompt.
        """
        return [
            RemoteTool(server, server.definitions[name], self._aliases.add(server.config.label, name))
            for server in self._servers
            for name in sorted(server.definitions)
        ]

    def problems(self) -> tuple[str, ...]:
        """One sentence for each server that cannot be used now."""
        return tuple(
            f"The MCP server {server.config.label} cannot be used: {server.problem}."
            for server in self._servers
            if server.problem is not None
        )
