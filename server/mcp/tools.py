"""``tools/list`` and ``tools/call``: the hosted tools, each call in a session that the client names."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass

import mcp.types as types
from mcp.shared.exceptions import MCPError

from ...tools import Progress, Registry, ToolContext, ToolError
from ...tools.interaction import Ask, Report
from ..http.caller import Caller
from ..http.rate import Rate
from ..json_values import JsonObject
from ..observe.calls import UNKNOWN, OnCall, ToolCall, Verdict
from . import content
from .asking import asks_by_task, asks_over_connection
from .content import SESSION_ID
from .tasks import Task, Tasks, supported, within
from .visits import Context, Visits, caller

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CallLimits:
    """
    Attributes:
        max_result: bytes of one result.
        per_second, burst: how often one caller may call, see `Rate`.
        task_after: seconds after which a call becomes a task, for clients that know tasks.
    """

    max_result: int = 8 * 1024 * 1024
    per_second: float = 50.0
    burst: int = 200
    task_after: float = 2.0


_LIMITS = CallLimits()


@dataclass(frozen=True)
class Told:
    """What a client hears of a call before its result: news, and questions for the person behind it."""

    report: Report
    ask: Ask | None


class Tools:
    """The tools of ``registry`` for MCP clients, in the registry's order."""

    def __init__(
        self,
        registry: Registry,
        visits: Visits,
        tasks: Tasks,
        limits: CallLimits = _LIMITS,
        on_call: OnCall | None = None,
    ) -> None:
        self._registry = registry
        self._visits = visits
        self._tasks = tasks
        self._limits = limits
        self._on_call = on_call
        self._rate = Rate(limits.per_second, limits.burst)
        own_session = visits.own is not None
        self._listed = [content.tool(spec, own_session=own_session) for spec in registry.specs()]
        self._schemas = {tool.name: tool.input_schema for tool in self._listed}

    def schema(self, name: str) -> JsonObject | None:
        """A tool's input schema, by which the transport checks headers."""
        return self._schemas.get(name)

    async def list(self, context: Context, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        """All of them on one page: the same for everybody, so that clients may keep it."""
        return types.ListToolsResult(tools=self._listed)

    async def call(self, context: Context, params: types.CallToolRequestParams) -> types.CallToolResult | JsonObject:
        """Run a tool. What the model can put right is a result with ``isError``; only an unknown name is refused."""
        who, arguments = caller(context), params.arguments or {}
        if params.name not in self._schemas:
            self._note(who, UNKNOWN, arguments, "refused")
            raise MCPError(types.INVALID_PARAMS, f"Unknown tool: {params.name[:200]}")
        seconds = self._rate.wait(who.name)
        if seconds:
            self._note(who, params.name, arguments, "refused")
            return content.failure(f"too many calls. Try again in {seconds:.1f} seconds.")
        if supported(context) and self._tasks.room(who.name):  # else the client waits, as one that knows no tasks
            return await self._call_or_task(context, who, params.name, arguments)
        told = Told(_reporter(context), asks_over_connection(context))
        return await self._run(who, params.name, arguments, told)

    async def _call_or_task(
        self, context: Context, who: Caller, name: str, arguments: JsonObject
    ) -> types.CallToolResult | JsonObject:
        """The result of a call that is quick; of one that is not, a task by which the client gets it later."""
        attended = True
        tell = _reporter(context)

        async def report(progress: Progress) -> None:
            task.note(progress.output or progress.message or "")
            if attended:
                await tell(progress)

        async def work(task: Task) -> types.CallToolResult:
            return await self._run(who, name, arguments, Told(report, asks_by_task(context, task)))

        task = self._tasks.start(who.name, work)
        try:
            if not await within(task, self._limits.task_after):
                return self._tasks.keep(task).created_result()
        except BaseException:
            self._tasks.drop(task)
            raise
        finally:
            attended = False
        self._tasks.drop(task)
        if task.result is None:
            raise MCPError(types.INTERNAL_ERROR, "The call was stopped")
        return task.result

    async def _run(self, who: Caller, name: str, arguments: JsonObject, told: Told) -> types.CallToolResult:
        """Run a known tool for ``who``. Cancelling this stops the tool."""
        begun = time.monotonic()
        try:
            result = await self._result(who, name, arguments, told)
        except BaseException:
            self._note(who, name, arguments, "cancelled", seconds=time.monotonic() - begun)
            raise
        verdict = "error" if result.is_error else "ok"
        self._note(who, name, arguments, verdict, result, time.monotonic() - begun)
        return result

    def _note(
        self,
        who: Caller,
        name: str,
        arguments: JsonObject,
        verdict: Verdict,
        result: types.CallToolResult | None = None,
        seconds: float = 0.0,
    ) -> None:
        if self._on_call is None:
            return
        session = content.session_id(result) or arguments.get(SESSION_ID)
        given = {key: value for key, value in arguments.items() if key != SESSION_ID}
        call = ToolCall(
            "mcp", who.name, session if isinstance(session, str) else "", name, "", verdict,
            len(json.dumps(given)), content.size(result), seconds,
        )  # fmt: skip
        self._on_call(call)

    async def _result(self, who: Caller, name: str, arguments: JsonObject, told: Told) -> types.CallToolResult:
        arguments = dict(arguments)
        session_id = arguments.pop(SESSION_ID, None)
        if session_id is not None and not isinstance(session_id, str):
            return content.failure(f"wrong arguments for {name}: ['{SESSION_ID}']: expected a string.")
        problem = self._registry.problem(name, arguments)
        if problem is not None:  # before a session is made for the call
            return content.failure(problem)
        try:
            visit = await self._visits.visit(who, session_id)
        except ToolError as error:
            return content.failure(str(error))
        try:
            context = ToolContext(visit.session, report=told.report, ask=told.ask)
            given = await self._registry.call(name, arguments, context)
        except Exception:
            log.exception("the tool %s failed", name)
            return content.failure(f"{name} failed unexpectedly.")
        return content.result(given, visit.session, is_new=visit.is_new, limit=self._limits.max_result)


def _reporter(context: Context) -> Report:
    """Sends news as progress notifications to a client that asked for them; what a call prints is its message."""

    async def report(progress: Progress) -> None:
        message = progress.output or progress.message
        await context.session.report_progress(progress.done, progress.total, message)

    return report
