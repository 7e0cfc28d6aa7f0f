"""Which caller a request comes from, and which session it works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mcp.server.context import ServerRequestContext

from ...tools import Session, Sessions, ToolError, TooManySessions, UnknownSession
from ..http.caller import KEYHOLDER, Caller, caller_of

Context = ServerRequestContext[Any, Any]


def caller(context: Context) -> Caller:
    """Over stdio there is one caller, who started this process."""
    return caller_of(context.request.scope) if context.request is not None else KEYHOLDER


@dataclass(frozen=True)
class Visit:
    """A session, and whether it was made just now for a caller who does not know its id yet."""

    session: Session
    is_new: bool = False


class Visits:
    """Finds or makes the session of a request.

    Args:
        sessions: where they live.
        own: the session of requests that name none; None makes a new one for each of them.
    """

    def __init__(self, sessions: Sessions, own: Session | None = None) -> None:
        self.sessions = sessions
        self.own = own

    async def visit(self, caller: Caller, session_id: str | None) -> Visit:
        """Raises ToolError: there is no such session for this caller, or the caller has too many."""
        if session_id is not None:
            return Visit(self.find(caller, session_id))
        if self.own is not None:
            return Visit(self.own)
        try:
            return Visit(await self.sessions.create(caller.name), is_new=True)
        except TooManySessions:
            raise ToolError(
                "there are as many open sessions as you may have. Pass the session_id of an earlier result, or wait "
                "until unused sessions expire."
            ) from None

    def find(self, caller: Caller, session_id: str) -> Session:
        """Raises ToolError: never made, somebody else's, or expired; which of these is not told."""
        try:
            return self.sessions.get(session_id, caller.name)
        except UnknownSession:
            raise ToolError(
                "there is no such session: it may have expired. Leave session_id out to start a new one."
            ) from None

    def listed(self, caller: Caller) -> list[Session]:
        """The sessions that this caller may be told of. Anonymous callers share a name, so they are told of none."""
        return [] if caller.anonymous else self.sessions.owned_by(caller.name)
