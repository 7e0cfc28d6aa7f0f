"""The KV cache as the scheduler sees it: leases on pages, prefixes shared through the radix tree.

Every page is in exactly one of three states: *free*; *cached*, when only the tree holds it; *referenced*, when a
running sequence uses it, be it through the tree or as its own. `check` proves that the three add up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from .pages import OutOfPages, PageAllocator
from .radix import TOKEN_BYTES, Match, Node, RadixTree


@dataclass
class Lease:
    """A running sequence's hold on the cache.

    ``pages[i]`` holds the KV of tokens ``[i * page_size, (i + 1) * page_size)``. The first ``shared`` pages belong to
    the tree and end at ``node``; the others are the sequence's own.
    """

    node: Node
    pages: list[int] = field(default_factory=list)
    shared: int = 0


class Copy(NamedTuple):
    """A page whose content a new page starts with."""

    source: int
    target: int


class KVCache:
    """Bookkeeping of ``num_pages`` pages of ``page_size`` tokens. Knows no tensor.

    With ``share=False`` nothing outlives its sequence.
    """

    def __init__(self, num_pages: int, page_size: int, share: bool = True) -> None:
        self.page_size = page_size
        self.share = share
        self._allocator = PageAllocator(num_pages)
        self._tree = RadixTree(page_size)

    @property
    def num_pages(self) -> int:
        return self._allocator.num_pages

    @property
    def num_free(self) -> int:
        return self._allocator.num_free

    @property
    def num_cached(self) -> int:
        return self._tree.num_pages - self._tree.num_referenced

    @property
    def num_available(self) -> int:
        """Pages that an allocation can have: free ones, and cached ones by eviction."""
        return self.num_free + self.num_cached

    def pages_for(self, tokens: int) -> int:
        return -(-tokens // self.page_size)

    def match(self, namespace: str, key: bytes) -> Match:
        """The longest known prefix of ``key`` (see :func:`encode_key`)."""
        return self._tree.match(namespace, key if self.share else b"")

    def matched_tokens(self, match: Match) -> int:
        return len(match.pages) * self.page_size + match.partial_tokens

    def open(self, match: Match, tokens: int, headroom: int = 0) -> tuple[Lease, Copy | None] | None:
        """A lease on pages for ``tokens`` tokens that starts with the match, or None when memory does not suffice.

        ``headroom`` pages must remain available after it. The returned copy has to be carried out before the lease's
        pages are read or any page freed after this call is written.
        """
        fresh = self.pages_for(tokens) - len(match.pages)
        self._tree.acquire(match.node)
        if match.partial is not None:  # not to be evicted by our own allocation
            self._tree.acquire(match.partial)
        try:
            if fresh + headroom > self.num_available:
                self._tree.release(match.node)
                return None
            own = self._allocate(fresh)
        finally:
            if match.partial is not None:
                self._tree.release(match.partial)
        copy = Copy(match.partial_page, own[0]) if match.partial is not None else None
        return Lease(match.node, match.pages + own, len(match.pages)), copy

    def grow(self, lease: Lease, tokens: int) -> None:
        """Make room for ``tokens`` tokens in all. Raises :class:`OutOfPages` and changes nothing if there is none."""
        missing = self.pages_for(tokens) - len(lease.pages)
        if missing > 0:
            lease.pages += self._allocate(missing)

    def commit(self, lease: Lease, key: bytes) -> bool:
        """Share the whole pages of ``key``, the tokens whose KV is computed or will be by the steps already launched.

        True if pages of the lease changed, because the tree already had the same tokens.
        """
        whole = len(key) // (self.page_size * TOKEN_BYTES)
        if not self.share or whole <= lease.shared:
            return False
        page_bytes = self.page_size * TOKEN_BYTES
        own = lease.pages[lease.shared : whole]
        node, kept = self._tree.extend(lease.node, key[lease.shared * page_bytes : whole * page_bytes], own)
        self._tree.acquire(node)
        self._tree.release(lease.node)
        duplicates = [mine for mine, theirs in zip(own, kept, strict=True) if mine != theirs]
        lease.pages[lease.shared : whole] = kept
        lease.node, lease.shared = node, whole
        stale = self._tree.superseded_tail(node)
        self._allocator.free(duplicates if stale is None else [*duplicates, stale])
        return bool(duplicates)

    def close(self, lease: Lease, key: bytes) -> None:
        """End a lease and leave the KV of ``key``'s tokens in the tree, to the last token."""
        self.commit(lease, key)
        own = lease.pages[lease.shared :]
        tail = key[lease.shared * self.page_size * TOKEN_BYTES :]
        if self.share and tail and self._tree.add_tail(lease.node, tail, own[0]):
            own = own[1:]
        self._allocator.free(own)
        self._tree.release(lease.node)
        lease.pages, lease.shared = [], 0

    def drop(self, lease: Lease) -> None:
        """End a lease whose own pages hold nothing of worth."""
        self._allocator.free(lease.pages[lease.shared :])
        self._tree.release(lease.node)
        lease.pages, lease.shared = [], 0

    def clear(self) -> int:
        """Forget every unreferenced prefix; returns how many pages that freed."""
        pages = self._tree.evict(self._tree.num_pages)
        self._allocator.free(pages)
        return len(pages)

    def _allocate(self, count: int) -> list[int]:
        short = count - self.num_free
        if short > 0:
            if short > self.num_cached:
                raise OutOfPages
            self._allocator.free(self._tree.evict(short))
        return self._allocator.allocate(count)

    def check(self, leases: Iterable[Lease]) -> None:
        """Raise AssertionError unless every page is free, cached or referenced, exactly once, and counts agree."""
        free = self._allocator.free_pages()
        nodes = list(self._tree.nodes())
        in_tree = [page for node in nodes for page in node.pages]
        own = [page for lease in leases for page in lease.pages[lease.shared :]]
        everything = sorted([*free, *in_tree, *own])
        assert everything == list(range(1, self.num_pages + 1)), "a page is lost or held twice"
        referenced = [page for node in nodes if node.references for page in node.pages]
        assert len(in_tree) == self._tree.num_pages, "the tree miscounts its pages"
        assert len(referenced) == self._tree.num_referenced, "the tree miscounts its referenced pages"
        for node in nodes:
            assert node.alive
            assert node.parent is not None
            assert node.references <= node.parent.references, "a child is referenced, its parent is not"
            assert -(-len(node.key) // (self.page_size * TOKEN_BYTES)) == len(node.pages), "key and pages disagree"
            assert node.child_keys == sorted(node.child_keys)
            assert node.queued or node.references or node.children, "an evictable leaf that eviction cannot find"
        for lease in leases:
            assert lease.shared <= len(lease.pages)
            assert lease.node.parent is None or lease.node.alive
