"""The log of a command: which lines it has, and which never."""

from __future__ import annotations

import logging


def set_up(level: str = "warning", line: str = "%(levelname)s %(name)s: %(message)s") -> None:
    """Write the log to stderr from ``level`` on; ``line`` is each line's format.

    What HTTP and MCP clients say is left out at every level: they write whole URLs, in which callers put their
    credentials for external servers, and those servers' words. Our own lines say what failed.
    """
    logging.basicConfig(level=level.upper(), format=line)
    for name in ("httpx2", "httpcore2", "mcp.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
