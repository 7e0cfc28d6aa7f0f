"""Tools of external MCP servers, as tools of our own.

    async with RemoteServers(read_config(Path("mcp.json"), os.environ)) as servers:
        tools = servers.tools()

What these servers say is untrusted: definitions are bounded and pinned, results capped and marked. Each server is
supervised on its own: when it crashes or hangs, its calls end with an error, and nothing else does.
"""

from ..errors import RemoteConfigError
from .config import ServerConfig, read_config
from .deferred import deferred
from .servers import RemoteServers
from .tool import RemoteTool

__all__ = [
    "RemoteConfigError",
    "RemoteServers",
    "RemoteTool",
    "ServerConfig",
    "deferred",
    "read_config",
]
