"""The tools that the server offers, and the sessions that they work in, from start to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Literal, Self

from ..tools import Browsing, Offer, Registry, Sessions, default_tools, probe
from ..tools.browser.config import BrowserConfig
from ..tools.sandbox.backend import Backend

Files = Literal["core", "full"]
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
        self._backend: Backend | None = None
        self._looking: asyncio.Task[dict[Files, Offer]] | None = None
        self._expiring: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._browsing)  # before the sessions, so that it is left after them
        try:
            await self._stack.enter_async_context(self.sessions)
        except BaseException:
            await self._stack.aclose()
            raise
        self._looking = asyncio.create_task(asyncio.to_thread(self._look))
        self._expiring = asyncio.create_task(self._expire())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._expiring is not None:
            self._expiring.cancel()
        # The look is not cancelled: it is short, and would go on in its thread.
        background: list[asyncio.Task[Any]] = [task for task in (self._looking, self._expiring) if task is not None]
        await asyncio.gather(*background, return_exceptions=True)
        try:
            await self._stack.aclose()
        finally:
            if self._backend is not None:
                await asyncio.to_thread(self._backend.close)

    async def offer(self, files: Files = "core") -> Offer:
        """The tools that work on this machine, with few or all file tools, see `default_tools`."""
        if self._looking is None:
            raise RuntimeError("enter Hands with `async with` before asking for its tools")
        return (await asyncio.shield(self._looking))[files]

    def _look(self) -> dict[Files, Offer]:
        verdict = probe()
        self._backend = verdict.backend
        return {
            "core": default_tools(verdict, browsing=self._browsing),
            "full": default_tools(verdict, files="full", browsing=self._browsing),
        }

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(_EXPIRY_INTERVAL)
            await self.sessions.expire()


def for_model(registry: Registry, model: str) -> Registry:
    """The tools that ``model`` can handle: all, or for the embedded one those it knows."""
    if model != "pocket":
        return registry
    return Registry.of(registry.tools[name] for name in _COMPACT if name in registry.tools)
