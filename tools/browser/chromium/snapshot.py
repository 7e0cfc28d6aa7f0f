"""A page as a model sees it: Playwright's accessibility tree, whose references its ``aria-ref`` locators take."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from ...errors import ToolError
from .tabs import Tabs

if TYPE_CHECKING:
    from playwright.async_api import Locator, Page

SHOWN = 8_000  # characters of a snapshot, about 2,000 tokens
ACTION = 5_000.0  # milliseconds
_FRAMES = 1_500.0


async def view(tabs: Tabs, page: Page, target: str | None = None, depth: int | None = None) -> str:
    """The page after a call: news, title, address, and as much of the tree as a model should be given."""
    tree = await tree_of(page, target, depth)
    if len(tree) > SHOWN:
        cut = tree.rfind("\n", 0, SHOWN)
        tree = f"{tree[: cut if cut > 0 else SHOWN]}\n[... cut here: {len(tree)} characters in all. "
        tree += "Use browser_find, or browser_snapshot with a target or a small depth.]"
    head = [*tabs.news.take(), f"Page: {(await page.title())[:200]} ({page.url[:1000]})"]
    return "\n".join([*head, tree or "(this page is empty)"])


async def tree_of(page: Page, target: str | None = None, depth: int | None = None) -> str:
    from playwright.async_api import TimeoutError

    place = page if target is None else await element(page, target)
    with suppress(TimeoutError):  # frames that never come are left out when the time is over
        return await place.aria_snapshot(mode="ai", depth=depth, timeout=_FRAMES)
    return await place.aria_snapshot(mode="ai", depth=depth, timeout=ACTION)


async def element(page: Page, target: str) -> Locator:
    """The element of a reference.

    Raises:
        ToolError: it is no reference, or of nothing that is there now.
    """
    if not re.fullmatch(r"(f\d{1,6})?e\d{1,9}", target):
        raise ToolError(f"{target[:100]!r} is no reference. Use one that the snapshot shows, such as e8.")
    from playwright.async_api import Error

    found = page.locator(f"aria-ref={target}")
    count = 0
    with suppress(Error):  # references of a page that is gone
        count = await found.count()
    if count != 1:
        raise ToolError(f"there is no element {target} on the page now. Take a new browser_snapshot.")
    return found
