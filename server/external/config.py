"""What the operator says about external MCP servers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from ...tools.remote import ServerConfig

Approval = Literal["ask", "never"]


@dataclass(frozen=True)
class ExternalConfig:
    """
    Args:
        servers: what ``--mcp-config`` describes, in its order.
        approval: whether calls of their tools need somebody's approval; ``never`` is for servers that are trusted.
        logins: the folder that keeps what was logged in to; None for none.
        allow_host: hosts at which requests may name servers although they are not on the public internet.
    """

    servers: tuple[ServerConfig, ...] = ()
    approval: Approval = "ask"
    allow_host: tuple[str, ...] = ()
    logins: Path | None = None
