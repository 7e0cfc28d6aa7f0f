"""A loop at work in a task of its own, and its events for whoever reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from .dispatch import Emit
from .events import Event


@asynccontextmanager
async def running(work: Callable[[Emit], Awaitable[None]]) -> AsyncIterator[MemoryObjectReceiveStream[Event]]:
    """The events that ``work`` emits. Leaving the context early stops it, and with it model and tools."""
    send, receive = anyio.create_memory_object_stream[Event](64)
    errors: list[Exception] = []

    async def run() -> None:
        async with send:
            try:
                await work(send.send)
            except Exception as error:
                errors.append(error)

    async with anyio.create_task_group() as group, receive:
        group.start_soon(run)
        try:
            yield receive
        except Exception as error:  # as it is, not in a group
            errors.append(error)
        group.cancel_scope.cancel()
    if errors:
        raise errors[0]
