"""What a browser does beside the calls: its news, and downloads; no page can make them many."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from agenthost.tools.browser.chromium import downloads
from agenthost.tools.browser.chromium.news import News

pytestmark = pytest.mark.anyio


async def test_news_of_a_page_that_makes_very_many_stays_short():
    news = News()
    for number in range(990):
        news.add(f"{number} {'x' * 1000}")
    first, *latest = news.take(since=100)
    assert first == "[... 870 earlier messages left out ...]"
    assert [line.partition(" ")[0] for line in latest] == [str(number) for number in range(970, 990)]
    assert max(map(len, latest)) < 500
    news.take()
    news.add("one")
    told = news.count
    news.add("two")
    assert (news.take(since=told), news.take(), news.take()) == (["two"], ["one"], [])


class Loading:
    """A download that comes when the others are there too."""

    suggested_filename = "f"
    page = None

    def __init__(self, folder: Path, come: asyncio.Event) -> None:
        self._file, self._come = folder / "file", come

    async def path(self) -> Path:
        await self._come.wait()
        return self._file

    async def cancel(self) -> None:
        pass

    delete = cancel


async def test_of_many_downloads_few_load_at_once_and_fewer_are_in_memory(session, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"content")
    saving, come, held = anyio.Semaphore(2), asyncio.Event(), []
    content = downloads._content
    monkeypatch.setattr(downloads, "_content", lambda *source: held.append(saving.value) or content(*source))
    one = downloads.Downloads(session, saving)
    loads = [asyncio.create_task(one.save(cast(Any, Loading(tmp_path, come)), tmp_path)) for _ in range(24)]
    await asyncio.wait(loads, return_when=asyncio.FIRST_COMPLETED)
    come.set()
    said = await asyncio.gather(*loads)
    assert sum("others at the same time" in one for one in said) == 24 - downloads._AT_ONCE
    assert sum("was saved as" in one for one in said) == downloads._AT_ONCE == len(held)
    assert max(held) <= 1
