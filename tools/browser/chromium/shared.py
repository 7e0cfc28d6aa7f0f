"""One Chromium for all sessions, started at the first use and again when it died."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

from ...egress.connect import Egress
from ...egress.proxy import Door, EgressProxy
from ...errors import ToolError
from .launch import PORT, Installation, Place, arguments

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Playwright

log = logging.getLogger(__name__)
_LAUNCH_SECONDS = 30.0
_VIEWPORT = (1280, 800)
_SAVING = 2  # downloads in this process's memory


@dataclass(frozen=True)
class Context:
    """One session's part of the browser: its cookies and pages, and its way out."""

    browser: BrowserContext
    door: Door

    async def close(self) -> None:
        with anyio.CancelScope(shield=True):
            with suppress(Exception), anyio.move_on_after(5):  # the browser may be dead
                await self.browser.close()
            await self.door.close()


class SharedBrowser:
    """Makes contexts in a browser that it keeps alive.

    Args:
        proxy: entered already.

    Attributes:
        saving: for who takes downloads into this process's memory.
    """

    def __init__(self, installation: Installation, proxy: EgressProxy) -> None:
        self._installation = installation
        self._proxy = proxy
        self._starting: asyncio.Task[None] | None = None
        self._playwright: Playwright | None = None
        self._browser: Browser | None = None
        self._place: Place | None = None
        self._doors = 0
        self.saving = anyio.Semaphore(_SAVING)

    async def context(self, egress: Egress) -> Context:
        """A context whose every connection passes ``egress``.

        Raises:
            ToolError: there is no browser.
        """
        from playwright.async_api import Error

        await self._ready()
        browser, place = self._browser, self._place
        if browser is None or place is None:
            raise ToolError("the browser ended just now. Try again.")
        door, server = await self._door(place, egress)
        try:
            width, height = _VIEWPORT
            made = await browser.new_context(
                proxy={"server": server, "bypass": "<-loopback>"}, service_workers="block", permissions=[],
                accept_downloads=True, viewport={"width": width, "height": height},
            )  # fmt: skip
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await door.close()
            if isinstance(error, Error):
                raise ToolError("the browser ended just now. Try again.") from error
            raise
        made.set_default_timeout(10_000)
        return Context(made, door)

    @property
    def downloads(self) -> Place:
        """Where the running browser leaves downloads."""
        assert self._place
        return self._place

    async def close(self) -> None:
        """End the browser and what drives it."""
        if self._starting:
            await asyncio.wait({self._starting})
        await self._stop()

    async def _ready(self) -> None:
        """Wait for a living browser. A caller that gives up does not stop the start: playwright cannot bear that."""
        if self._starting is None or self._starting.done():
            if self._browser and self._browser.is_connected():
                return
            self._starting = asyncio.create_task(self._start())
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._starting)

    async def _door(self, place: Place, egress: Egress) -> tuple[Door, str]:
        if not self._installation.isolated:
            door = await self._proxy.open_loopback(egress)
            return door, f"http://127.0.0.1:{door.port}"
        self._doors = self._doors % 0xFFFF + 1
        address = f"127.1.{self._doors >> 8}.{self._doors & 0xFF}"
        uid = place.user.uid if place.user else None
        return await self._proxy.open_unix(place.doors / address, egress, uid=uid), f"http://{address}:{PORT}"

    async def _start(self) -> None:
        from playwright.async_api import async_playwright

        await self._stop()
        try:
            with anyio.fail_after(_LAUNCH_SECONDS):
                self._place = Place(self._installation)
                self._playwright = await async_playwright().start()
                self._browser = await self._playwright.chromium.launch(
                    executable_path=self._place.launcher, chromium_sandbox=True, args=arguments(self._installation),
                    # No page has this proxy: every context brings its own.
                    proxy={"server": "http://127.0.0.1:9", "bypass": "<-loopback>"},
                    downloads_path=self._place.downloads, handle_sigint=False, handle_sigterm=False,
                    handle_sighup=False, timeout=1000 * _LAUNCH_SECONDS,
                )  # fmt: skip
        except BaseException as error:
            with anyio.CancelScope(shield=True):
                await self._stop()
            if isinstance(error, Exception):
                log.warning("Chromium did not start: %s", error)  # may name paths
                raise ToolError("the browser could not be started. Try again, or go on without it.") from error
            raise

    async def _stop(self) -> None:
        browser, self._browser = self._browser, None
        driver, self._playwright = self._playwright, None
        place, self._place = self._place, None
        with anyio.CancelScope(shield=True):
            for end in (browser.close if browser else None, driver.stop if driver else None):
                if end:
                    with suppress(Exception), anyio.move_on_after(10):
                        await end()
            if place:
                await asyncio.to_thread(place.close)
