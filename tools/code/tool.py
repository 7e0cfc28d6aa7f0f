"""The `python` tool: a session's interpreter, and its outcomes as sentences for the model."""

from __future__ import annotations

import asyncio
import logging
import time

from ..errors import SandboxUnavailable, ToolError
from ..interaction import Progress
from ..sandbox.backend import Backend
from ..spec import JsonObject, Media, Tool, ToolContext, ToolResult
from ..workspace import Session
from .artifacts import Listing, made, small
from .interpreter import Idle, Interpreter, Listen, Outcome
from .network import CodeNetwork
from .residents import Residents
from .spec import NO_OUTPUT, PYTHON, RESTARTED, STATE_KEPT, STATE_LOST, python_text, with_figures

log = logging.getLogger(__name__)
_IDLE = Idle()
_MARGIN = 5.0  # seconds of the tool's timeout that are left for stopping code and saying what it printed


class PythonTool(Tool):
    """Runs code in the session's sandbox, with variables kept between calls.

    Args:
        backend: how to isolate, see `sandbox.probe`.
        timeout: seconds that one call's code may run.
        idle: what happens to an interpreter between calls.
        network: the way out of the code; None for none.
        running: how many interpreters live at a time; for one more, the one that was idle for longest is ended.
    """

    spec = PYTHON

    def __init__(
        self,
        backend: Backend,
        timeout: float = PYTHON.timeout - _MARGIN,
        *,
        idle: Idle = _IDLE,
        running: int = 256,
        network: CodeNetwork | None = None,
    ) -> None:
        self._backend = backend
        self._timeout = timeout
        self._idle = idle
        self._residents = Residents(running)
        self._network = network

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        session = context.session
        session.touch()
        listing = session.keep(Listing, lambda: Listing(session.files))
        interpreter = self._interpreter(session)
        try:
            await self._residents.admit(interpreter)
            before = await listing.take()
            outcome = await interpreter.execute(arguments["code"], self._timeout, self._listener(context))
            after = await listing.take()
        except SandboxUnavailable as error:
            log.warning("a session's sandbox did not start: %s", error)  # may name host paths
            raise ToolError("Python could not be started. Try again, or go on without it.") from error
        finally:
            session.touch()
        return ToolResult(
            text=self._text(outcome),
            is_error=outcome.status != "ok",
            state_lost=outcome.state_lost,
            media=tuple(Media(figure.png, "image/png") for figure in outcome.figures),
            files=made(before, after),
        )

    def _listener(self, context: ToolContext) -> Listen | None:
        report, began = context.report, time.monotonic()
        if report is None:
            return None

        async def listen(output: str) -> None:
            await report(Progress(time.monotonic() - began, self._timeout, output=output))

        return listen

    def _interpreter(self, session: Session) -> Interpreter:
        async def over_quota(times: int) -> str | None:
            root = session.files.as_server()
            if small(root):
                return session.quota.excess(root, times)
            return await asyncio.to_thread(session.quota.excess, root, times)

        connect = self._network.connect(session) if self._network else None
        return session.keep(
            Interpreter,
            lambda: Interpreter(
                self._backend, session.sandbox, over_quota=over_quota, idle=self._idle, connect=connect,
                lost=session.resumed,
            ),
        )  # fmt: skip

    def _text(self, outcome: Outcome) -> str:
        text = python_text(outcome.stdout, outcome.stderr, outcome.value, outcome.traceback)
        text = with_figures(text, [(figure.width, figure.height) for figure in outcome.figures])
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
            case "cpu-limit":
                return "the code used up the processor time of its session and was stopped."
            case "disk-limit":
                return outcome.excess or "the code wrote too much to the workspace."
            case _:
                return None
