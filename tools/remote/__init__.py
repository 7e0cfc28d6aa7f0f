"""Tools of external MCP servers, as tools of our own.

    async with RemoteServers(read_config(Path("mcp.json"), os.environ)) as servers:
        await servers.tried()
        tools = servers.tools()

What these servers say is untrusted: definitions are bounded and pinned, results capped and marked. Each server is
supervised on its own: when it crashes or hangs, its calls end with an error, and nothing else does.

Importing this package does not load the MCP SDK, which takes a second; what needs it does when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from ..errors import RemoteConfigError
from .config import ServerConfig, read_config

if TYPE_CHECKING:
    from .pool import Pool, PooledServer
    from .search import deferred
    from .server import RemoteServer
    from .servers import RemoteServers
    from .tool import PinnedTool, RemoteTool

_WHERE = {
    "PinnedTool": "tool",
    "Pool": "pool",
    "PooledServer": "pool",
    "RemoteServer": "server",
    "RemoteServers": "servers",
    "RemoteTool": "tool",
    "deferred": "search",
}

__all__ = [
    "PinnedTool",
    "Pool",
    "PooledServer",
    "RemoteConfigError",
    "RemoteServer",
    "RemoteServers",
    "RemoteTool",
    "ServerConfig",
    "deferred",
    "read_config",
]


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_WHERE[name]}", __name__), name)
