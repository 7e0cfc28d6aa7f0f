"""Fixtures of the Tasks extension."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import anyio
import mcp.types as types
from mcp.shared.exceptions import MCPError

from ...json_values import JsonObject
from ..tasks import Task, Tasks, require, supported
from ..visits import Context, caller
from .fixture import Fixture, Given, form, strings, text
from .questions import NAME, answers, asking

Params = types.CallToolRequestParams
Job = Callable[[JsonObject, Task | None], Awaitable[types.CallToolResult]]

_SECONDS: JsonObject = {
    "type": "object",
    "properties": {"seconds": {"type": "number"}, "label": {"type": "string"}},
    "required": ["seconds"],
}


async def _greet(context: Context, params: Params) -> Given:
    return text(f"Hello, {(params.arguments or {}).get('name')}!")


async def _slow(arguments: JsonObject, task: Task | None) -> types.CallToolResult:
    await anyio.sleep(arguments.get("seconds", 0))
    return text(f"Computed {arguments.get('label', '')}.")


async def _failing(arguments: JsonObject, task: Task | None) -> types.CallToolResult:
    await anyio.sleep(1)
    return text("This job always fails.", is_error=True)


async def _protocol_error(arguments: JsonObject, task: Task | None) -> types.CallToolResult:
    await anyio.sleep(0.1)
    raise MCPError(types.INTERNAL_ERROR, "This job ends with a protocol error")


def _confirmation(what: str) -> JsonObject:
    request = form(what, {"confirm": {"type": "boolean"}}, ["confirm"])
    return request.model_dump(by_alias=True, mode="json", exclude_none=True)


async def _confirm(arguments: JsonObject, task: Task | None) -> types.CallToolResult:
    if task is None:
        return text("Nobody confirmed.", is_error=True)
    await task.ask({"confirm": _confirmation(f"Delete {arguments.get('filename')}?")})
    return text("Deleted.")


async def _both(arguments: JsonObject, task: Task | None) -> types.CallToolResult:
    if task is None:
        return text("Nobody confirmed.", is_error=True)
    await task.ask({"first": _confirmation("First?"), "second": _confirmation("Second?")})
    return text("Both confirmed.")


@dataclass
class _Runner:
    """Makes a task of a job for clients that know tasks; for others it runs at once, or is refused."""

    tasks: Tasks
    job: Job
    required: bool = False

    async def __call__(self, context: Context, params: Params) -> Given:
        arguments = params.arguments or {}
        if self.required:
            require(context)
        if not supported(context):
            return await self.job(arguments, None)
        task = self.tasks.start(caller(context).name, lambda task: self.job(arguments, task))
        return self.tasks.keep(task).created_result()


def jobs(tasks: Tasks) -> list[Fixture]:
    async def composed(context: Context, params: Params) -> Given:
        """Asks first, then works on as a task."""
        require(context)
        given = answers(params)
        if "user_name" not in given:
            return asking({"user_name": NAME}, "asked")
        name = given["user_name"].get("content", {}).get("name")

        async def work(task: Task) -> types.CallToolResult:
            return text(f"Hello, {name}!")

        return tasks.keep(tasks.start(caller(context).name, work)).created_result()

    return [
        Fixture("greet", _greet, strings("name")),
        Fixture("slow_compute", _Runner(tasks, _slow), _SECONDS),
        Fixture("failing_job", _Runner(tasks, _failing, required=True)),
        Fixture("protocol_error_job", _Runner(tasks, _protocol_error)),
        Fixture("confirm_delete", _Runner(tasks, _confirm), strings("filename")),
        Fixture("multi_input", _Runner(tasks, _both)),
        Fixture("test_tool_with_task", composed),
    ]
