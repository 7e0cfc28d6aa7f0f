"""What can be done to a page. Each action gives the page to show afterwards."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import anyio

from ...errors import ToolError
from ...spec import JsonObject
from .snapshot import ACTION, element
from .tabs import Tabs

if TYPE_CHECKING:
    from playwright.async_api import Page

_BEGINNING = 100.0  # milliseconds in which most of what an action sets off begins


async def navigate(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    await tabs.go(page, arguments["url"].strip())
    return page


async def navigate_back(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    if await page.go_back(timeout=ACTION) is None and page.url == "about:blank":
        raise ToolError("there is no page before this one. Use browser_navigate.")
    return page


async def click(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    found = await element(page, arguments["target"])
    button = arguments.get("button", "left")
    await found.click(button=button, click_count=2 if arguments.get("doubleClick") else 1, timeout=ACTION)
    return await _settled(tabs, page)


async def hover(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    await (await element(page, arguments["target"])).hover(timeout=ACTION)
    return page


async def type_text(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    found = await element(page, arguments["target"])
    if arguments.get("slowly"):
        await found.press_sequentially(arguments["text"], timeout=4 * ACTION)
    else:
        await found.fill(arguments["text"], timeout=ACTION)
    if arguments.get("submit"):
        await found.press("Enter", timeout=ACTION)
        return await _settled(tabs, page)
    return page


async def fill_form(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    fields = [(field, await element(page, field["target"])) for field in arguments["fields"]]
    for field, place in fields:
        match field["type"]:
            case "checkbox" | "radio":
                await place.set_checked(field["value"].lower() == "true", timeout=ACTION)
            case "combobox":
                await place.select_option(label=field["value"], timeout=ACTION)
            case _:
                await place.fill(field["value"], timeout=ACTION)
    return page


async def select_option(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    await (await element(page, arguments["target"])).select_option(arguments["values"], timeout=ACTION)
    return page


async def press_key(tabs: Tabs, arguments: JsonObject) -> Page:
    page = await tabs.page()
    await page.keyboard.press(arguments["key"])
    return await _settled(tabs, page)


async def wait_for(tabs: Tabs, arguments: JsonObject) -> Page:
    if not arguments:
        raise ToolError("there is nothing to wait for. Give time, text or textGone.")
    page = await tabs.page()
    await anyio.sleep(arguments.get("time", 0))
    if "text" in arguments:
        await page.get_by_text(arguments["text"]).first.wait_for(state="visible", timeout=2 * ACTION)
    if "textGone" in arguments:
        await page.get_by_text(arguments["textGone"]).first.wait_for(state="hidden", timeout=2 * ACTION)
    return page


async def _settled(tabs: Tabs, page: Page) -> Page:
    """The page that an action led to, loaded or not long enough."""
    from playwright.async_api import Error

    with suppress(Error):
        await page.wait_for_timeout(_BEGINNING)
        await page.wait_for_load_state("load", timeout=2_000)
    await tabs.settled()
    return await tabs.page()
