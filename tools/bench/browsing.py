"""What a real browser costs: how long a page takes to open, and the memory of a browser with many sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil

from ..browser.browsing import Browsing
from ..browser.config import BrowserConfig, BrowserKind
from ..errors import BrowserUnavailable
from ..spec import Registry, ToolContext
from ..workspace import Sessions

_PAGE = "<title>Page</title><h1>A page</h1>" + "".join(
    f"<p>Paragraph {number} with <a href='/{number}'>a link</a> and some words.</p>" for number in range(50)
)


@dataclass(frozen=True)
class Outcome:
    """Seconds of the first `open`, which starts everything, and of warm ones; bytes (PSS) of Chromium's processes."""

    first: float
    opens: list[float]
    memory: int


class _Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = _PAGE.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def site() -> Iterator[str]:
    """A page of some 4 kB on this host; gives host and port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def measure(browser: BrowserKind, sessions: int, opens: int) -> Outcome:
    """Open the page ``opens`` times, in turn in each of some sessions, all of which stay.

    Raises:
        BrowserUnavailable: Chromium is wanted and not here.
    """
    with site() as host:
        config = BrowserConfig(browser=browser, browser_control=browser == "chromium", allow_host=(host,))
        async with Browsing(config) as browsing, Sessions() as store:
            if (
                browser == "chromium"
                and browsing.missing
                and "browser_navigate" not in Registry.of(browsing.tools).tools
            ):
                raise BrowserUnavailable(browsing.missing[0])
            registry = Registry.of(browsing.tools)
            contexts = [ToolContext(await store.create()) for _ in range(sessions)]

            async def call(name: str, context: ToolContext, argument: str) -> float:
                begun = time.perf_counter()
                result = await registry.call(name, {argument: f"http://{host}/"}, context)
                if result.is_error:
                    raise BrowserUnavailable(result.text)
                return time.perf_counter() - begun

            first = await call("open", contexts[0], "id")
            for context in contexts:
                await call("open", context, "id")
            times = [await call("open", contexts[number % sessions], "id") for number in range(opens)]
            if browser == "chromium":  # so that every session has a page that lives
                for context in contexts:
                    await call("browser_navigate", context, "url")
            return Outcome(first, times, _memory())


def _memory() -> int:
    """Proportional memory of Chromium's processes, its launcher and bridge included, the node driver not."""
    total = 0
    for process in psutil.Process().children(recursive=True):
        try:
            words = " ".join(process.cmdline())
            if "chromium" in words and "playwright/driver" not in words:
                total += process.memory_full_info().pss
        except psutil.Error:
            continue
    return total
