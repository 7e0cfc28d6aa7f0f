"""What works in the background from entering an async context manager to leaving it."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
import anyio.abc


class Background:
    """Use it as an async context manager; leaving it cancels what still runs. An error of one task ends the others.

    A subclass that starts something at once does so in ``begin``.
    """

    _group: anyio.abc.TaskGroup | None = None

    @property
    def group(self) -> anyio.abc.TaskGroup:
        """Where tasks are started. Raises RuntimeError outside of the context."""
        if self._group is None:
            raise RuntimeError(f"use {type(self).__name__} within `async with`")
        return self._group

    def begin(self) -> None:
        """Called when it is entered."""

    async def __aenter__(self) -> Self:
        self._group = await anyio.create_task_group().__aenter__()
        self.begin()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        group, self._group = self.group, None
        group.cancel_scope.cancel()
        return await group.__aexit__(kind, error, trace)
