"""Runs the calls of one turn: those that only read side by side, the others one after the other, in order."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

import anyio

from ...tools.interaction import Progress
from ...tools.spec import Registry, ToolContext, ToolResult, failure
from ..json_values import loads
from .events import Call, CallFinished, CallProgress, CallStarted, Event

log = logging.getLogger(__name__)

Emit = Callable[[Event], Awaitable[None]]


async def dispatch(
    calls: Sequence[Call],
    tools: Registry,
    context: ToolContext | None,
    *,
    max_output: int,
    emit: Emit,
    longest: float | None = None,
) -> list[str]:
    """Every call's output, in the calls' order. Cancelling it cancels the tools.

    Args:
        context: handed to the tools; None when there are none.
        max_output: characters of one output that the model gets to read.
        longest: seconds of one call, where the tool's own timeout is longer.
    """
    outputs: dict[str, str] = {}

    async def run(call: Call) -> None:
        await emit(CallStarted(call.id, call.name, call.arguments))
        begun = time.monotonic()
        result = await _call(call, tools, _reporting(context, call, emit), longest)
        output = outputs[call.id] = cap(result.text, max_output)
        seconds = time.monotonic() - begun
        await emit(CallFinished(call.id, call.name, call.arguments, output, result.is_error, seconds, result))

    for batch in _batches(calls, tools):
        async with anyio.create_task_group() as group:
            for call in batch:
                group.start_soon(run, call)
    return [outputs[call.id] for call in calls]


def cap(text: str, limit: int) -> str:
    """``text`` with its middle replaced by a note when it is longer than ``limit`` characters."""
    if len(text) <= limit:
        return text
    head, tail = limit * 2 // 3, limit // 3
    left_out = len(text) - head - tail
    return f"{text[:head]}\n[... {left_out} characters left out ...]\n{text[-tail:]}"


def _reporting(context: ToolContext | None, call: Call, emit: Emit) -> ToolContext | None:
    """``context`` with news of ``call`` told as events."""
    if context is None:
        return None

    async def report(progress: Progress) -> None:
        await emit(CallProgress(call.id, call.name, progress))

    return replace(context, report=report)


async def _call(call: Call, tools: Registry, context: ToolContext | None, longest: float | None) -> ToolResult:
    if context is None:
        return failure(f"there is no tool named {call.name!r}.")
    try:
        arguments = loads(call.arguments)
    except ValueError as error:
        return failure(f"the arguments of {call.name} are not valid JSON: {error}.")
    try:
        with anyio.fail_after(longest):
            return await tools.call(call.name, arguments, context)
    except TimeoutError:
        return failure(f"{call.name} did not finish within {longest:g} seconds and was stopped.")
    except Exception:
        log.exception("the tool %s failed", call.name)
        return failure(f"{call.name} failed unexpectedly.")


def _batches(calls: Sequence[Call], tools: Registry) -> Iterator[list[Call]]:
    reading: list[Call] = []
    for call in calls:
        tool = tools.tools.get(call.name)
        if tool is not None and tool.spec.annotations.read_only:
            reading.append(call)
            continue
        if reading:
            yield reading
            reading = []
        yield [call]
    if reading:
        yield reading
