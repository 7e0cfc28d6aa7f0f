"""Where file tools work: in threads of their own, few of a session, so that slow ones keep nobody else waiting."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = 2  # of one session
_THREADS = ThreadPoolExecutor(16, thread_name_prefix="files")  # of all; each is started when it is first needed


class Work:
    """A resource of a session: its file calls. Those that wait hold no thread."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._turn = asyncio.Lock()

    async def run(self, work: Callable[[], T], *, alone: bool = False) -> T:
        """``work()`` in a thread. Cancellation does not wait for it, and its place is taken until it has ended.

        Args:
            alone: no other such work of the session runs meanwhile.
        """
        loop = asyncio.get_running_loop()
        with ExitStack() as taken:
            for hold in (self._turn, self._places) if alone else (self._places,):
                await hold.acquire()
                taken.callback(hold.release)
            future = _THREADS.submit(contextvars.copy_context().run, work)
            release = taken.pop_all().close

        def ended(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(release)

        future.add_done_callback(ended)
        return await asyncio.wrap_future(future)

    async def close(self) -> None:
        """What still runs ends by itself: its workspace is closed."""
