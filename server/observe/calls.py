"""A call of a hosted tool that is over, as metrics and the audit log tell of it: not what it said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Door = Literal["api", "mcp"]
Verdict = Literal["ok", "error", "refused", "cancelled"]

EXTERNAL = "(external)"  # stands for tools of external servers, whose names requests and strangers choose
UNKNOWN = "(unknown)"  # stands for tools that there are not, whose names anybody can make up


@dataclass(frozen=True)
class ToolCall:
    """
    Args:
        door: by which it came: the hosted loop of an API, or an MCP client.
        owner: who called. session: the id of the session that it worked in, a secret; empty where there was none.
        verdict: ``refused`` says that it was not made.
        arguments_size, output_size: characters.
        external: the tool is an external server's.
    """

    door: Door
    owner: str
    session: str
    tool: str
    call_id: str
    verdict: Verdict
    arguments_size: int
    output_size: int
    seconds: float
    external: bool = False


OnCall = Callable[[ToolCall], None]
