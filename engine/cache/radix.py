"""The radix tree over token prefixes, exact to the token, whose edges own pages of KV.

Structure. An edge holds whole pages, so every page belongs to exactly one node. What remains of a sequence after its
last whole page is a *tail*: a leaf with one page and a key shorter than a page. A query that leaves an edge in the
middle of a page still profits: `match` names the page and how many of its first tokens agree, and the caller copies it.

Keys are token ids as big-endian int32 bytes, so that comparing bytes compares token sequences, and the children of a
node are sorted by their first page: the child with the longest common prefix is a neighbour of the query's place.

A node is *referenced* while a running sequence uses it or something below it. Unreferenced leaves wait in a heap,
least recently used first; a node has at most one entry there and stale entries are dropped when they surface, which
makes eviction O(log n) amortised.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

TOKEN_BYTES = 4


def encode_key(tokens: list[int] | np.ndarray) -> bytes:
    """Token ids as the bytes that the tree compares."""
    return np.asarray(tokens, ">i4").tobytes()


class Node:
    """An edge and what hangs below it. Only the tree changes its fields."""

    __slots__ = (
        "alive", "child_keys", "children", "key", "last_used", "namespace", "pages", "parent", "queued", "references",
    )  # fmt: skip

    def __init__(self, parent: Node | None, key: bytes, pages: list[int], last_used: int, namespace: str = "") -> None:
        self.parent = parent
        self.namespace = namespace  # of a root
        self.key = key
        self.pages = pages
        self.child_keys: list[bytes] = []  # first page of each child's key, sorted
        self.children: list[Node] = []
        self.references = 0
        self.last_used = last_used
        self.queued = False
        self.alive = True


@dataclass(frozen=True)
class Match:
    """The longest known prefix of a query.

    ``pages`` hold the whole pages down to ``node``. When ``partial`` is set, the first ``partial_tokens`` tokens of
    its first page continue the match; the page belongs to ``partial``, so it may be copied but not shared.
    """

    node: Node
    pages: list[int]
    partial: Node | None = None
    partial_tokens: int = 0

    @property
    def partial_page(self) -> int:
        if self.partial is None:
            raise ValueError("the match has no partial page")
        return self.partial.pages[0]


class RadixTree:
    """Prefixes of token ids, each namespace apart from the others."""

    def __init__(self, page_size: int) -> None:
        self.page_size = page_size
        self._page_bytes = page_size * TOKEN_BYTES
        self._roots: dict[str, Node] = {}
        self._heap: list[tuple[int, int, Node]] = []
        self._order = itertools.count()
        self._clock = 0
        self.num_pages = 0
        self.num_referenced = 0

    # -- lookup ---------------------------------------------------------------------------------------------------

    def match(self, namespace: str, key: bytes) -> Match:
        """Find the longest prefix of ``key`` and mark it as just used. Splits an edge that ends inside the match."""
        self._clock += 1
        node = self._root(namespace)
        pages: list[int] = []
        position = 0
        while True:
            node.last_used = self._clock
            child = self._child(node, key[position : position + self._page_bytes])
            if child is None:
                break
            whole = self._equal_pages(child.key, key, position)
            if whole < len(child.pages):
                child = self._split(child, whole)
            node = child
            pages += child.pages
            position += len(child.key)
        partial, tokens = self._nearest(node, key[position : position + self._page_bytes])
        if partial is not None:
            partial.last_used = self._clock
        return Match(node, pages, partial, tokens)

    def _root(self, namespace: str) -> Node:
        """A namespace's root. A new one joins the tree with its first reference: who only asks leaves nothing."""
        return self._roots.get(namespace) or Node(None, b"", [], self._clock, namespace)

    def _child(self, node: Node, first_page: bytes) -> Node | None:
        """The child whose first page is exactly ``first_page`` (a whole page)."""
        if len(first_page) < self._page_bytes:
            return None
        index = bisect_left(node.child_keys, first_page)
        if index < len(node.child_keys) and node.child_keys[index] == first_page:
            return node.children[index]
        return None

    def _equal_pages(self, edge: bytes, key: bytes, position: int) -> int:
        """How many whole pages of ``edge`` the key repeats from ``position`` on."""
        length = min(len(edge), len(key) - position)
        if edge[:length] == key[position : position + length]:
            return length // self._page_bytes
        return _common_bytes(edge, key[position : position + length]) // self._page_bytes

    def _nearest(self, node: Node, rest: bytes) -> tuple[Node | None, int]:
        """The child that shares most leading tokens with ``rest`` (at most a page), and how many."""
        best, best_tokens = None, 0
        index = bisect_left(node.child_keys, rest)
        for neighbour in (index - 1, index):
            if 0 <= neighbour < len(node.children):
                tokens = _common_bytes(node.child_keys[neighbour], rest) // TOKEN_BYTES
                if tokens > best_tokens:
                    best, best_tokens = node.children[neighbour], tokens
        return best, best_tokens

    # -- growth ---------------------------------------------------------------------------------------------------

    def extend(self, node: Node, key: bytes, pages: list[int]) -> tuple[Node, list[int]]:
        """Hang whole pages below ``node``.

        ``key`` holds the tokens of ``pages``, whole pages only. Returns the node at their end and the pages that now
        stand for them; where the tree already had the same tokens these are the tree's own, and the caller keeps (and
        should free) its duplicates. A leaf that only the caller references grows itself, so that a prompt computed in
        many chunks stays one edge.
        """
        if node.references == 1 and not node.children and node.parent is not None:
            node.key += key
            node.pages += pages
            node.last_used = self._clock
            self.num_pages += len(pages)
            self.num_referenced += len(pages)
            return node, pages
        kept: list[int] = []
        position = 0
        while position < len(key):
            child = self._child(node, key[position : position + self._page_bytes])
            if child is None:
                child = self._attach(node, key[position:], pages[len(kept) :])
            else:
                whole = self._equal_pages(child.key, key, position)
                if whole < len(child.pages):
                    child = self._split(child, whole)
            node = child
            kept += child.pages
            position += len(child.key)
        return node, kept

    def add_tail(self, node: Node, key: bytes, page: int) -> bool:
        """Hang a partly filled page below ``node``. False if the tree knows these tokens: the caller keeps the page."""
        nearest, tokens = self._nearest(node, key)
        if nearest is not None and tokens * TOKEN_BYTES == len(key):
            return False
        self._attach(node, key, [page])
        return True

    def _attach(self, parent: Node, key: bytes, pages: list[int]) -> Node:
        node = Node(parent, key, pages, self._clock)
        first_page = key[: self._page_bytes]
        index = bisect_left(parent.child_keys, first_page)
        parent.child_keys.insert(index, first_page)
        parent.children.insert(index, node)
        self.num_pages += len(pages)
        self._queue(node)
        return node

    def superseded_tail(self, node: Node) -> int | None:
        """Drop the tail beside ``node`` that ``node`` continues, if it is unreferenced, and return its page."""
        parent = node.parent
        if parent is None:
            return None
        index = bisect_left(parent.child_keys, node.key[: self._page_bytes]) - 1
        if index < 0:
            return None
        tail = parent.children[index]
        is_tail = len(tail.key) < self._page_bytes
        if not is_tail or tail.references or not node.key.startswith(tail.key):
            return None
        self._detach(tail)
        return tail.pages[0]

    def _split(self, node: Node, whole: int) -> Node:
        """Cut an edge after ``whole`` pages; returns the upper half, which keeps the references."""
        cut = whole * self._page_bytes
        upper = Node(node.parent, node.key[:cut], node.pages[:whole], node.last_used)
        upper.references = node.references
        upper.child_keys, upper.children = [node.key[cut : cut + self._page_bytes]], [node]
        parent = node.parent
        assert parent is not None
        parent.children[bisect_left(parent.child_keys, upper.key[: self._page_bytes])] = upper
        node.parent, node.key, node.pages = upper, node.key[cut:], node.pages[whole:]
        return upper

    # -- references -----------------------------------------------------------------------------------------------

    def acquire(self, node: Node) -> None:
        """Keep ``node`` and everything above it from eviction."""
        walk: Node | None = node
        while walk is not None:
            if walk.references == 0:
                self.num_referenced += len(walk.pages)
            walk.references += 1
            if walk.parent is None:
                self._roots[walk.namespace] = walk
            walk = walk.parent

    def release(self, node: Node) -> None:
        walk: Node | None = node
        while walk is not None:
            walk.references -= 1
            if walk.references == 0:
                self.num_referenced -= len(walk.pages)
                self._queue(walk)
                self._forget(walk)
            walk = walk.parent

    # -- eviction -------------------------------------------------------------------------------------------------

    def evict(self, count: int) -> list[int]:
        """Give up at least ``count`` pages if that many are unreferenced, else all that are; returns them."""
        freed: list[int] = []
        while len(freed) < count and self._heap:
            last_used, _, node = heapq.heappop(self._heap)
            node.queued = False
            if not self._evictable(node):
                continue
            if last_used != node.last_used:
                self._queue(node)
                continue
            keep = len(node.pages) - (count - len(freed))
            if keep > 0:  # the end of a long edge is enough
                freed += node.pages[keep:]
                self.num_pages -= len(node.pages) - keep
                node.pages = node.pages[:keep]
                node.key = node.key[: keep * self._page_bytes]
                self._queue(node)
            else:
                freed += node.pages
                self._detach(node)
        return freed

    def _evictable(self, node: Node) -> bool:
        return node.alive and node.references == 0 and not node.children and node.parent is not None

    def _queue(self, node: Node) -> None:
        if not node.queued and self._evictable(node):
            node.queued = True
            heapq.heappush(self._heap, (node.last_used, next(self._order), node))

    def _detach(self, node: Node) -> None:
        parent = node.parent
        assert parent is not None
        index = bisect_left(parent.child_keys, node.key[: self._page_bytes])
        del parent.children[index], parent.child_keys[index]
        node.alive = False
        self.num_pages -= len(node.pages)
        self._queue(parent)
        self._forget(parent)

    def _forget(self, root: Node) -> None:
        """Drop a namespace that holds nothing and serves nobody."""
        if root.parent is None and not root.children and root.references == 0:
            self._roots.pop(root.namespace, None)

    def nodes(self) -> Iterator[Node]:
        """Every node but the roots, for invariant checks."""
        stack = [child for root in self._roots.values() for child in root.children]
        while stack:
            node = stack.pop()
            yield node
            stack += node.children


def _common_bytes(a: bytes, b: bytes) -> int:
    """Length of the common prefix."""
    length = min(len(a), len(b))
    if a[:length] == b[:length]:
        return length
    differs = np.frombuffer(a, np.uint8, length) != np.frombuffer(b, np.uint8, length)
    return int(differs.argmax())
