"""All external servers of a configuration: started side by side, their tools listed in its order."""

from __future__ import annotations

from collections.abc import Iterable

from ..background import Background
from .config import ServerConfig
from .http import HttpClient, trusted_client
from .names import Aliases
from .server import RemoteServer
from .tool import RemoteTool


class RemoteServers(Background):
    """Use it as an async context manager; entering it starts the servers and does not wait for them.

    Args:
        configs: in the order in which models see their tools.
        http_client: makes what requests to URLs go through; None for one that does not log in.
    """

    def __init__(self, configs: Iterable[ServerConfig], http_client: HttpClient | None = None) -> None:
        client = http_client or trusted_client()
        self._servers = {config.label: RemoteServer(config, client) for config in configs}
        self._aliases = Aliases()

    def begin(self) -> None:
        for server in self._servers.values():
            self.group.start_soon(server.run)

    async def tried(self, *labels: str) -> None:
        """Wait until each of these servers, or of all, was reached or could not be."""
        for label in labels or self._servers:
            await self._servers[label].tried()

    def tools(self, *labels: str) -> list[RemoteTool]:
        """The tools of these servers, or of all, as they are now: in the configuration's order, then by name.

        List them once for a conversation: their order and text are part of the model's prompt.
        """
        return [
            RemoteTool(server, server.definitions[name], self._aliases.add(label, name))
            for label, server in self._servers.items()
            if not labels or label in labels
            for name in sorted(server.definitions)
        ]

    def server(self, label: str) -> RemoteServer:
        """Raises KeyError."""
        return self._servers[label]

    def problems(self) -> tuple[str, ...]:
        """One sentence for each server that cannot be used now."""
        return tuple(
            f"The MCP server {label} cannot be used: {server.problem}."
            for label, server in self._servers.items()
            if server.problem is not None
        )
