"""The tools that the server offers, and the sessions that they work in, from start to stop."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from ..tools import Browsing, Offer, Registry, Sessions, default_tools
from ..tools.browser.config import BrowserConfig

OnCall = Callable[[str, str, float], None]

_EXPIRY_INTERVAL = 30.0  # seconds between two looks for sessions whose time is over

# What the embedded model is trained on; a small model is confused by more.
_COMPACT = (
    "python", "read_text_file", "write_file", "list_directory", "edit_file", "search_files", "move_file",
    "create_directory", "search", "open", "find",
)  # fmt: skip


class Hands:
    """Use it as an async context manager. It looks for the tools in the background, which starts a sandbox once.

    Args:
        sessions: not yet entered.
        browser: how the browser tools are set up.

    Attributes:
        on_call: told of every call that is done: the tool, ``ok`` or ``error``, seconds.

    Raises when entered:
        BrowserUnavailable: they cannot be.
    """

    def __init__(self, sessions: Sessions | None = None, browser: BrowserConfig | None = None) -> None:
        self.sessions = sessions or Sessions()
        self._browsing = Browsing(browser or BrowserConfig())
        self.on_call: OnCall | None = None
        self._stack = AsyncExitStack()
        self._looking: asyncio.Task[Offer] | None = None
        self._expiring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._browsing)  # before the sessions, so that it is left after them
        try:
            await self._stack.enter_async_context(self.sessions)
        except BaseException:
            await self._stack.aclose()
            raise
        look = functools.partial(default_tools, browsing=self._browsing)
        self._looking = asyncio.create_task(asyncio.to_thread(look))
        self._expiring = asyncio.create_task(self._expire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        background: list[asyncio.Task[Any]] = [task for task in (self._looking, self._expiring) if task is not None]
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        await self._stack.aclose()

    async def offer(self) -> Offer:
        """The tools that work on this machine."""
        if self._looking is None:
            raise RuntimeError("enter Hands with `async with` before asking for its tools")
        return await asyncio.shield(self._looking)

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_INTERVAL)
            await self.sessions.expire()


def for_model(registry: Registry, model: str) -> Registry:
    """The tools that ``model`` can handle: all, or for the embedded one those it knows."""
    if model != "pocket":
        return registry
    return Registry.of(registry.tools[name] for name in _COMPACT if name in registry.tools)
