"""The pages of the KV cache as numbers: which are free. What is in a page, and who reads it, others know."""

from __future__ import annotations


class OutOfPages(Exception):
    """Fewer pages are free than were asked for. The scheduler answers by waiting or by retracting a sequence."""


class PageAllocator:
    """Hands out page numbers ``1 .. num_pages``. Page 0 is never handed out: padded rows may write to it."""

    def __init__(self, num_pages: int) -> None:
        self.num_pages = num_pages
        # A stack, lowest number on top: sequences that start on an empty cache get runs of consecutive pages.
        self._free = list(range(num_pages, 0, -1))

    @property
    def num_free(self) -> int:
        return len(self._free)

    def allocate(self, count: int) -> list[int]:
        if count == 0:
            return []
        if count > len(self._free):
            raise OutOfPages
        pages = self._free[-count:]
        del self._free[-count:]
        pages.reverse()
        return pages

    def free(self, pages: list[int]) -> None:
        self._free.extend(reversed(pages))

    def free_pages(self) -> list[int]:
        """The free pages, for invariant checks."""
        return list(self._free)
