"""The SDK's own server with a tool that does nothing, to measure ours beside.

Run as a module with a port: as a script it would find this folder's ``mcp.py`` instead of the SDK.
"""

from __future__ import annotations

import sys

from mcp.server import MCPServer


def main() -> None:
    """Serve until killed."""
    server = MCPServer("bench", version="1", log_level="ERROR")

    @server.tool()
    def noop() -> str:
        """Do nothing."""
        return "ok"

    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))


if __name__ == "__main__":
    main()
