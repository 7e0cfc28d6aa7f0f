"""The `browser_*` tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from ...errors import ToolError
from ...files.folders import make_folders
from ...files.write import replace
from ...spec import FileLink, JsonObject, Media, Tool, ToolContext, ToolResult, ToolSpec
from . import actions, specs
from .snapshot import ACTION, element, tree_of, view
from .tabs import Tabs

if TYPE_CHECKING:
    from playwright.async_api import Page

Of = Callable[[ToolContext], Tabs]
_MATCHES = 20
_PICTURES = "screenshots"
_TALLEST = 8_000  # pixels of a picture of a whole page


class _Act(Tool):
    """A tool that does something and then shows the page."""

    def __init__(self, spec: ToolSpec, act: Callable[[Tabs, JsonObject], Awaitable[Page]], tabs: Of) -> None:
        self.spec = spec
        self._act = act
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        async with tabs.turn():
            page = await self._act(tabs, arguments)
            return ToolResult(await view(tabs, page))


class _Snapshot(Tool):
    spec = specs.SNAPSHOT

    def __init__(self, tabs: Of) -> None:
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        async with tabs.turn():
            return ToolResult(await view(tabs, await tabs.page(), arguments.get("target"), arguments.get("depth")))


class _Find(Tool):
    spec = specs.FIND

    def __init__(self, tabs: Of) -> None:
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        async with tabs.turn():
            lines = (await tree_of(await tabs.page())).split("\n")
        wanted = arguments["text"].lower()
        found = [line.strip()[:400] for line in lines if wanted in line.lower()]
        if len(found) > _MATCHES:
            found[_MATCHES:] = [f"[... and {len(found) - _MATCHES} more]"]
        return ToolResult("\n".join(found) or "No results found")


class _Tabs(Tool):
    spec = specs.TABS

    def __init__(self, tabs: Of) -> None:
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        async with tabs.turn():
            action, index = arguments["action"], arguments.get("index")
            if action == "new":
                page = await tabs.open_tab()
                if url := arguments.get("url"):
                    await tabs.go(page, url.strip())
                return ToolResult(await view(tabs, page))
            await tabs.page()
            number = tabs.current if index is None and action == "close" else index
            if action != "list":
                if number is None or not 0 <= number < len(tabs.pages):
                    raise ToolError(f"there are the tabs 0 to {len(tabs.pages) - 1}. Give the index of one.")
                if action == "close":
                    await tabs.pages.pop(number).close()
                    tabs.current = max(0, tabs.current - (number <= tabs.current))
                else:
                    tabs.current = number
                await tabs.page()
            return ToolResult(await self._list(tabs))

    @staticmethod
    async def _list(tabs: Tabs) -> str:
        lines = tabs.news.take()
        for number, page in enumerate(tabs.pages):
            mark = " (current)" if number == tabs.current else ""
            lines.append(f"{number}{mark}: {(await page.title())[:200]} ({page.url[:500]})")
        return "\n".join(lines)


class _TakeScreenshot(Tool):
    spec = specs.TAKE_SCREENSHOT

    def __init__(self, tabs: Of) -> None:
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        kind = arguments.get("type", "png")
        async with tabs.turn():
            page = await tabs.page()
            if target := arguments.get("target"):
                data = await (await element(page, target)).screenshot(type=kind, timeout=2 * ACTION)
            else:
                data = await self._page(page, kind, whole=arguments.get("fullPage", False))
            tabs.pictures += 1
            path = f"{_PICTURES}/{tabs.pictures}.{'jpg' if kind == 'jpeg' else kind}"
            await anyio.to_thread.run_sync(_save, context, path, data)
            mime = f"image/{kind}"
            return ToolResult(
                f"The picture of {page.url[:500]} was saved as {path} ({len(data)} bytes).",
                media=(Media(data, mime),),
                files=(FileLink(path, mime, len(data)),),
            )

    @staticmethod
    async def _page(page: Page, kind: str, *, whole: bool) -> bytes:
        if not whole:
            return await page.screenshot(type="jpeg" if kind == "jpeg" else "png", timeout=2 * ACTION)
        size = await page.evaluate(
            "() => [document.documentElement.scrollWidth, document.documentElement.scrollHeight]"
        )
        width, height = (max(1, min(int(value), _TALLEST)) for value in size)
        clip = {"x": 0, "y": 0, "width": width, "height": height}
        options = {"full_page": True, "clip": clip, "timeout": 2 * ACTION}
        return await page.screenshot(type="jpeg" if kind == "jpeg" else "png", **options)


class _Close(Tool):
    spec = specs.CLOSE

    def __init__(self, tabs: Of) -> None:
        self._tabs = tabs

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        tabs = self._tabs(context)
        async with tabs.turn():
            await tabs.forget()
        return ToolResult("The tabs are closed.")


def _save(context: ToolContext, path: str, data: bytes) -> None:
    root = context.session.files
    if excess := context.session.quota.excess(root):
        raise ToolError(excess)
    make_folders(root, _PICTURES)
    replace(root, path, data)


def acting_tools(tabs: Of) -> list[Tool]:
    """The tools, in the order in which models see them."""
    return [
        _Act(specs.NAVIGATE, actions.navigate, tabs),
        _Act(specs.NAVIGATE_BACK, actions.navigate_back, tabs),
        _Snapshot(tabs),
        _Find(tabs),
        _Act(specs.CLICK, actions.click, tabs),
        _Act(specs.HOVER, actions.hover, tabs),
        _Act(specs.TYPE, actions.type_text, tabs),
        _Act(specs.FILL_FORM, actions.fill_form, tabs),
        _Act(specs.SELECT_OPTION, actions.select_option, tabs),
        _Act(specs.PRESS_KEY, actions.press_key, tabs),
        _Tabs(tabs),
        _Act(specs.WAIT_FOR, actions.wait_for, tabs),
        _TakeScreenshot(tabs),
        _Close(tabs),
    ]
