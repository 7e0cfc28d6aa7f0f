"""The Tasks extension: calls that outlive the request that made them, and wait for answers to their questions.

``io.modelcontextprotocol/tasks`` (SEP-2663), revision 2026-07-28: the server decides which calls become tasks, and only
for clients that declare the extension.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import anyio
import anyio.abc
import mcp.types as types
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from ..json_values import JsonObject
from .visits import Context, caller

log = logging.getLogger(__name__)

Status = Literal["working", "input_required", "completed", "failed", "cancelled"]

EXTENSION = "io.modelcontextprotocol/tasks"
_POLL_MS = 500
_TTL = 3600.0  # seconds after its start for which a task is kept; one that still runs then is stopped
_MOST = 64  # tasks of one caller that run at a time
_MOST_OVER, _MOST_BYTES = 64, 32 << 20  # those that are over, and what their results hold
_MISSING_CAPABILITY = -32021
_HEADER_MISMATCH = -32020


class TaskParams(types.RequestParams):
    task_id: str


class UpdateParams(TaskParams):
    input_responses: dict[str, Any]


@dataclass
class Task:
    """One call. ``questions`` holds what it asks now, by keys that answers come back with."""

    owner: str
    id: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    status: Status = "working"
    message: str | None = None
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    result: JsonObject | None = None
    size: int = 0  # of the result as JSON, when it is over
    error: JsonObject | None = None
    questions: dict[str, JsonObject] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    over: anyio.Event = field(default_factory=anyio.Event)
    answered: anyio.Event = field(default_factory=anyio.Event)

    def note(self, message: str) -> None:
        """Say what is going on, for those who ask."""
        self.message, self.updated = message[:2000], time.time()

    async def ask(self, questions: JsonObject) -> JsonObject:
        """Wait until the client has answered all ``questions``, input requests by key; gives the answers by key."""
        self.questions.update(questions)
        self._become("input_required")
        while any(key in self.questions for key in questions):
            self.answered = anyio.Event()
            await self.answered.wait()
        self._become("working")
        return {key: self.answers.pop(key) for key in questions}

    def answer(self, answers: JsonObject) -> None:
        """Take the client's answers; keys that nothing asks for are ignored."""
        for key, value in answers.items():
            if self.questions.pop(key, None) is not None:
                self.answers[key] = value
                self.updated = time.time()
                self.answered.set()

    def end(self, status: Status) -> None:
        self.questions.clear()
        self._become(status)
        self.over.set()

    def _become(self, status: Status) -> None:
        self.status, self.updated = status, time.time()

    def created_result(self) -> JsonObject:
        """What the call is answered with instead of its result."""
        return {"resultType": "task", **self._metadata()}

    def detailed(self) -> JsonObject:
        """What ``tasks/get`` tells."""
        shown: JsonObject = {"resultType": "complete", **self._metadata()}
        if self.result is not None:
            shown["result"] = self.result
        if self.error is not None:
            shown["error"] = self.error
        if self.questions:
            shown["inputRequests"] = dict(self.questions)
        return shown

    def _metadata(self) -> JsonObject:
        shown: JsonObject = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": _iso(self.created),
            "lastUpdatedAt": _iso(self.updated),
            "ttlMs": int(_TTL * 1000),
            "pollIntervalMs": _POLL_MS,
        }
        return shown if self.message is None else {**shown, "statusMessage": self.message}


Work = Callable[[Task], Awaitable[types.CallToolResult]]


class Tasks:
    """The tasks of all callers; :meth:`run` runs for as long as tasks may."""

    def __init__(self) -> None:
        self._tasks: dict[str, Task] = {}  # those that clients know of, the ones that are over in the order of ending
        self._running: Counter[str] = Counter()  # by their owners, also what no client knows of yet
        self._group: anyio.abc.TaskGroup | None = None

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run what is started, until cancelled."""
        async with anyio.create_task_group() as self._group:
            task_status.started()
            while True:
                await anyio.sleep(10.0)
                self._forget()

    def install(self, server: Server) -> None:
        """Serve ``tasks/get``, ``tasks/update`` and ``tasks/cancel`` on ``server``, and say so."""
        server.extensions[EXTENSION] = {}
        server.add_request_handler("tasks/get", TaskParams, self._get)
        server.add_request_handler("tasks/update", UpdateParams, self._update)
        server.add_request_handler("tasks/cancel", TaskParams, self._cancel)

    def room(self, owner: str) -> bool:
        """Whether the caller may have one more."""
        return self._running[owner] < _MOST

    def start(self, owner: str, work: Work) -> Task:
        """Begin ``work``, which ends a task as its result or MCPError says. Nobody can ask for it yet."""
        if self._group is None:
            raise RuntimeError("run the tasks before starting one")
        task = Task(owner)
        self._running[owner] += 1
        self._group.start_soon(self._work, task, work)
        return task

    def keep(self, task: Task) -> Task:
        """From now on its owner can ask for it."""
        self._tasks[task.id] = task
        return task

    def drop(self, task: Task) -> None:
        """Forget a task, and stop it if it still runs."""
        self._tasks.pop(task.id, None)
        task.scope.cancel()

    async def _work(self, task: Task, work: Work) -> None:
        with task.scope:
            try:
                result = await work(task)
            except MCPError as error:
                task.error = error.error.model_dump(by_alias=True, mode="json", exclude_none=True)
                task.end("failed")
            except Exception:
                task.error = {"code": types.INTERNAL_ERROR, "message": "Internal error"}
                task.end("failed")
                log.exception("a task failed")
            else:
                task.result = result.model_dump(by_alias=True, mode="json", exclude_none=True)
                task.end("completed")
        if task.scope.cancelled_caught:
            task.end("cancelled")
        self._running -= Counter([task.owner])
        self._retire(task)

    def _retire(self, task: Task) -> None:
        """Keep the newest of a caller's tasks that are over, ``task`` first; the others have had their time."""
        if self._tasks.pop(task.id, None) is None:
            return
        self._tasks[task.id] = task
        task.size = len(json.dumps(task.result))
        count = size = 0
        for kept in [kept for kept in reversed(self._tasks.values()) if kept.owner == task.owner]:
            if kept.over.is_set():
                count, size = count + 1, size + kept.size
                if count > _MOST_OVER or size > _MOST_BYTES:
                    self.drop(kept)

    def _forget(self) -> None:
        now = time.time()
        for task in [task for task in self._tasks.values() if now - task.created > _TTL]:
            self.drop(task)

    async def _get(self, context: Context, params: TaskParams) -> JsonObject:
        return self._find(context, params).detailed()

    async def _update(self, context: Context, params: UpdateParams) -> JsonObject:
        self._find(context, params).answer(params.input_responses)
        return {"resultType": "complete"}

    async def _cancel(self, context: Context, params: TaskParams) -> JsonObject:
        task = self._find(context, params)
        if not task.over.is_set():
            task.scope.cancel()
            with anyio.move_on_after(5):  # what it ran is stopped when the client is told so
                await task.over.wait()
        return {"resultType": "complete"}

    def _find(self, context: Context, params: TaskParams) -> Task:
        if context.protocol_version not in MODERN_PROTOCOL_VERSIONS:
            raise MCPError(types.METHOD_NOT_FOUND, "Method not found", data=context.method)
        require(context)
        if context.request is not None and context.request.headers.get("mcp-name", "").strip() != params.task_id:
            raise MCPError(_HEADER_MISMATCH, "Mcp-Name header does not match params.taskId")
        task = self._tasks.get(params.task_id)
        if task is None or task.owner != caller(context).name:
            raise MCPError(types.INVALID_PARAMS, "Unknown task")
        return task


def supported(context: Context) -> bool:
    """Whether the client understands tasks in this request."""
    declared = context.session.client_capabilities
    return (
        context.protocol_version in MODERN_PROTOCOL_VERSIONS
        and declared is not None
        and EXTENSION in (declared.extensions or {})
    )


def require(context: Context) -> None:
    """Raises MCPError: the client does not understand tasks."""
    if not supported(context):
        missing = {"requiredCapabilities": {"extensions": {EXTENSION: {}}}}
        raise MCPError(_MISSING_CAPABILITY, f"The client must declare the extension {EXTENSION}", data=missing)


async def within(task: Task, seconds: float) -> bool:
    """Wait for the end of ``task`` for at most so long; says whether it is over."""
    with suppress(TimeoutError), anyio.fail_after(seconds):
        await task.over.wait()
    return task.over.is_set()


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
