"""A session's tabs in the shared browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import anyio

from ...egress.connect import Egress
from ...egress.errors import EgressError, Unreachable
from ...egress.exchange import REFUSED
from ...egress.target import Target
from ...errors import ToolError
from ...workspace import Resource, Session
from ..fetch import LARGEST_PAGE, Fetched
from ..specs import no_such_page
from .downloads import Downloads, WantedPage
from .news import News
from .shared import Context, SharedBrowser

if TYPE_CHECKING:
    from playwright.async_api import Dialog, Download, Page, Response

MOST_TABS = 4
_NAVIGATION = 20_000.0  # milliseconds
_SETTLING = 2_000.0
_HTML = f"() => document.documentElement ? document.documentElement.outerHTML.slice(0, {LARGEST_PAGE}) : ''"


class Tabs(Resource):
    """One context, at most `MOST_TABS` pages. What died is made anew at the next use.

    Attributes:
        pages, current: the tabs, and the number of the one that calls act on.
        pictures: how many were taken.
        news: what happened beside the calls (dialogs, downloads), until it is told.
    """

    def __init__(self, shared: SharedBrowser, egress: Egress, session: Session) -> None:
        self.news = News()
        self.pages: list[Page] = []
        self.current = 0
        self.pictures = 0
        self._shared = shared
        self._egress = egress
        self._downloads = Downloads(session, shared.saving)
        self._context: Context | None = None
        self._turn = anyio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One call after the other; what the browser says against a call is an error that a model can read."""
        from playwright.async_api import Error, TimeoutError

        async with self._turn:
            try:
                yield
            except TimeoutError as error:
                raise ToolError("the page did not do that in time. Look at it with browser_snapshot.") from error
            except Error as error:
                if self._context and not self._alive():
                    await self.forget()
                    raise ToolError("the browser ended. Navigate again.") from error
                if "crash" in error.message.lower():
                    raise ToolError("the page crashed. Navigate again.") from error
                raise ToolError(
                    f"the browser said: {_first_line(error.message)}. Look with browser_snapshot."
                ) from error

    async def page(self) -> Page:
        """The current tab; a new one if there is none."""
        context = await self._live()
        self.pages = [page for page in self.pages if not page.is_closed()]
        if not self.pages:
            self.pages.append(await self._new(context))
        self.current = min(self.current, len(self.pages) - 1)
        return self.pages[self.current]

    async def open_tab(self) -> Page:
        """A new tab, the current one now. Raises ToolError: there are too many."""
        context = await self._live()
        if len(self.pages) >= MOST_TABS:
            raise ToolError(f"there are {MOST_TABS} tabs already. Close one with browser_tabs.")
        self.pages.append(await self._new(context))
        self.current = len(self.pages) - 1
        return self.pages[-1]

    async def read(self, url: str) -> Fetched:
        """A page's HTML after its scripts ran, or a PDF.

        Its tab is closed at once, so that no script runs on for nobody.

        Raises:
            ToolError: it cannot be opened.
        """
        async with self.turn():
            page = await self._new(await self._live())
            wanted = self._downloads.wanted = WantedPage(page)
            try:
                await self.go(page, url)
                html = str(await page.evaluate(_HTML))
                return Fetched(page.url, "html", "utf-8", html.encode("utf-8", "replace"), len(html) < LARGEST_PAGE)
            except ToolError:
                if wanted.pdf is None:
                    raise
                return Fetched(url, "pdf", None, wanted.pdf, complete=True)  # it is in the workspace too
            finally:
                self._downloads.wanted = None
                self._drop(page)

    async def go(self, page: Page, url: str) -> None:
        """Navigate, and wait until the page has settled or it has been long enough.

        Raises:
            ToolError: there is no such page, or the policy forbids it.
        """
        from playwright.async_api import Error, TimeoutError

        if "://" not in url and not url.startswith(("about:", "data:", "javascript:")):
            url = f"https://{url}"
        try:
            target = Target.parse(url)
            await self._egress.addresses(target.host, target.port)  # for the reason; the proxy asks again
        except Unreachable as error:
            raise ToolError(no_such_page(url)) from error
        except EgressError as error:
            raise ToolError(f"could not open {url}: {error}") from error
        told = self.news.count
        try:
            response = await page.goto(target.url, wait_until="domcontentloaded", timeout=_NAVIGATION)
        except TimeoutError as error:
            self._drop(page)
            raise ToolError(f"could not open {url}: it took too long. Try again, or use another page.") from error
        except Error as error:
            if "Download is starting" in error.message:
                if not self._downloads.busy and self.news.count == told:
                    with suppress(TimeoutError):
                        await page.wait_for_event("download", timeout=_SETTLING)
                await self._downloads.settled()
                said = " ".join(self.news.take(since=told)) or "it is a file, not a page."
                raise ToolError(f"could not show {url}: {said} Use another page, or the file.") from error
            if self._alive() and "crash" not in error.message.lower():
                raise ToolError(no_such_page(url)) from error
            raise
        await self._judge(response, url)
        with suppress(TimeoutError):
            await page.wait_for_load_state("load", timeout=_SETTLING)

    async def settled(self) -> None:
        """Wait for downloads that have begun."""
        await self._downloads.settled()

    async def close(self) -> None:
        """Close the context with everything in it."""
        await self.forget()
        await self._downloads.close()

    async def _judge(self, response: Response | None, url: str) -> None:
        if response is None or response.status < 400:
            return
        if REFUSED in response.headers:
            raise ToolError(f"could not open {url}: {(await response.text()).strip()[:300]}")
        if response.status in (404, 410):
            raise ToolError(no_such_page(url))
        raise ToolError(
            f"could not open {url}: the server answered {response.status}. "
            "Check the address or search for another page."
        )

    async def _live(self) -> Context:
        if self._context is None or not self._alive():
            await self.forget()
            self._context = await self._shared.context(self._egress)
            self._context.browser.on("page", self._popped_up)
        return self._context

    def _alive(self) -> bool:
        browser = self._context.browser.browser if self._context else None
        return browser is not None and browser.is_connected()

    async def forget(self) -> None:
        """Close the context and forget its cookies; the next use makes a new one."""
        context, self._context = self._context, None
        self.pages, self.current = [], 0
        if context:
            await context.close()

    async def _new(self, context: Context) -> Page:
        page = await context.browser.new_page()
        page.on("dialog", self._dismiss)
        page.on("download", self._download)
        page.on("crash", self._crashed)
        return page

    def _popped_up(self, page: Page) -> None:
        """A page that a page opened: a tab if there is room."""

        async def settle() -> None:
            if await page.opener() is None:
                return  # it is one of ours
            if len(self.pages) >= MOST_TABS:
                self.news.add("The page opened a window that was closed: there are too many tabs.")
                await page.close()
                return
            page.on("dialog", self._dismiss)
            page.on("download", self._download)
            page.on("crash", self._crashed)
            self.pages.append(page)
            self.news.add(f"The page opened tab {len(self.pages) - 1}.")

        self._downloads.run(_quietly(settle))

    def _crashed(self, page: Page) -> None:
        self.news.add("The page crashed.")
        self._drop(page)

    def _drop(self, page: Page) -> None:
        """Do without a page from now on, and close it when it lets itself be closed."""
        if page in self.pages:
            self.pages.remove(page)
        self._downloads.run(_quietly(page.close))

    def _dismiss(self, dialog: Dialog) -> None:
        self.news.add(f"The page showed a {dialog.type} that was dismissed: {dialog.message[:200]!r}.")
        self._downloads.run(_quietly(dialog.dismiss))

    def _download(self, download: Download) -> None:
        self._downloads.run(self._save(download))

    async def _save(self, download: Download) -> None:
        self.news.add(await self._downloads.save(download, self._shared.downloads.downloads))


async def _quietly(work: Callable[[], Any]) -> None:
    from playwright.async_api import Error

    with suppress(Error, asyncio.TimeoutError):
        await work()


def _first_line(message: str) -> str:
    return message.strip().split("\n")[0].removeprefix("Error: ").rstrip(".")[:300]
