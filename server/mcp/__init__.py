"""Our tools as an MCP server, over streamable HTTP and stdio.

Follows the Model Context Protocol, revisions 2025-03-26 to 2026-07-28, on the official SDK's low-level server. State
hangs on sessions that clients name in an argument, never on a connection.
"""
