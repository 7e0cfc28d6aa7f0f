"""The `python` tool: a session's interpreter, and its outcomes as sentences for the model."""

from __future__ import annotations

import asyncio
import logging

from ..errors import SandboxUnavailable, ToolError
from ..files.beneath import Root
from ..sandbox.backend import Backend
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from ..workspace import Session
from .interpreter import Interpreter, Outcome
from .spec import NO_OUTPUT, PYTHON, RESTARTED, STATE_KEPT, STATE_LOST, python_text

log = logging.getLogger(__name__)
_MARGIN = 5.0  # seconds of the tool's timeout that are left for stopping code and saying what it printed


class PythonTool(Tool):
    """Runs code in the session's sandbox, with variables kept between calls.

    Args:
        backend: how to isolate, see `sandbox.probe`.
        timeout: seconds that one call's code may run.
    """

    spec = PYTHON

    def __init__(self, backend: Backend, timeout: float = PYTHON.timeout - _MARGIN) -> None:
        self._backend = backend
        self._timeout = timeout

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        session = context.session
        session.touch()
        try:
            outcome = await self._interpreter(session).execute(arguments["code"], self._timeout)
        except SandboxUnavailable as error:
            log.warning("a session's sandbox did not start: %s", error)  # may name host paths
            raise ToolError("Python could not be started. Try again, or go on without it.") from error
        finally:
            session.touch()
        return ToolResult(
            text=self._text(outcome),
            is_error=outcome.status != "ok",
            state_lost=outcome.state_lost,
        )

    def _interpreter(self, session: Session) -> Interpreter:
        async def over_quota(times: int) -> str | None:
            # As the server, not as the session's user: a directory without permissions must not hide its size.
            return await asyncio.to_thread(session.quota.excess, Root(session.files.fd), times)

        return session.keep(Interpreter, lambda: Interpreter(self._backend, session.sandbox, over_quota=over_quota))

    def _text(self, outcome: Outcome) -> str:
        text = python_text(outcome.stdout, outcome.stderr, outcome.value, outcome.traceback)
        reason = self._reason(outcome)
        if reason:
            after = STATE_LOST if outcome.state_lost else STATE_KEPT
            error = f"Error: {reason} {after}"
            return error if text == NO_OUTPUT else f"{text}\n{error}"
        return f"{RESTARTED}\n{text}" if outcome.state_lost else text

    def _reason(self, outcome: Outcome) -> str | None:
        match outcome.status:
            case "timeout" | "killed":
                return f"the code did not finish within {self._timeout:g} seconds and was stopped."
            case "died":
                return "the Python process ended."
            case "out-of-memory":
                return "the code used too much memory and was killed."
            case "output-limit":
                return "the code printed too much and was stopped."
            case "disk-limit":
                return outcome.excess or "the code wrote too much to the workspace."
            case _:
                return None
