"""The KV cache's bookkeeping, checked against a plain record of what was written to each page."""

from __future__ import annotations

import random

import pytest
from agenthost.engine.cache.kv import KVCache
from agenthost.engine.cache.pages import OutOfPages
from agenthost.engine.cache.radix import RadixTree, encode_key
from hypothesis import given, settings
from hypothesis import strategies as st

PAGE = 4


class Recorded:
    """A cache, the tokens that each page holds, and the open leases with their tokens."""

    def __init__(self, pages: int) -> None:
        self.cache = KVCache(pages, PAGE)
        self.content: dict[int, list[int | None]] = {}
        self.open: list[tuple] = []

    def write(self, lease, tokens: list[int], start: int) -> None:
        for place in range(start, len(tokens)):
            page = self.content.setdefault(lease.pages[place // PAGE], [None] * PAGE)
            page[place % PAGE] = tokens[place]

    def assert_reads(self, lease, tokens: list[int]) -> None:
        for place, token in enumerate(tokens):
            assert self.content[lease.pages[place // PAGE]][place % PAGE] == token, "a page holds another prefix's KV"

    def begin(self, namespace: str, tokens: list[int], headroom: int) -> None:
        match = self.cache.match(namespace, encode_key(tokens[:-1]))
        matched = self.cache.matched_tokens(match)
        opened = self.cache.open(match, len(tokens), headroom)
        if opened is None:
            return
        lease, copy = opened
        for page in lease.pages[lease.shared :]:
            self.content[page] = [None] * PAGE
        if copy is not None:
            self.content[copy.target] = list(self.content[copy.source])
        self.assert_reads(lease, tokens[:matched])
        self.write(lease, tokens, matched)
        self.open.append((lease, tokens))

    def check(self) -> None:
        self.cache.check([lease for lease, _ in self.open])
        for lease, tokens in self.open:
            self.assert_reads(lease, tokens)


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32), pages=st.sampled_from([6, 15, 40]), alphabet=st.sampled_from([2, 3, 50]))
def test_random_histories_keep_every_page_and_never_mix_prefixes(seed, pages, alphabet):
    rng = random.Random(seed)
    record = Recorded(pages)
    for _ in range(120):
        action = rng.random()
        if action < 0.45 or not record.open:
            tokens = [rng.randrange(alphabet) for _ in range(rng.randint(1, 20))]
            if record.open and rng.random() < 0.5:
                old = rng.choice(record.open)[1]
                tokens = old[: rng.randint(0, len(old))] + tokens
            record.begin(rng.choice(["", "salt"]), tokens, rng.randint(0, 2))
        else:
            index = rng.randrange(len(record.open))
            lease, tokens = record.open[index]
            if action < 0.6:
                record.cache.commit(lease, encode_key(tokens[: rng.randint(0, len(tokens))]))
            elif action < 0.75:
                try:
                    record.cache.grow(lease, len(tokens) + 1)
                except OutOfPages:
                    continue
                if len(tokens) % PAGE == 0:
                    record.content[lease.pages[-1]] = [None] * PAGE
                tokens.append(rng.randrange(alphabet))
                record.write(lease, tokens, len(tokens) - 1)
            else:
                record.open.pop(index)
                if action < 0.95:
                    record.cache.close(lease, encode_key(tokens[: rng.randint(lease.shared * PAGE, len(tokens))]))
                else:
                    record.cache.drop(lease)
        record.check()
    for lease, tokens in record.open:
        record.cache.close(lease, encode_key(tokens))
    record.open.clear()
    record.check()
    record.cache.clear()
    assert record.cache.num_free == pages


def held(tree: RadixTree, *texts: list[int]) -> None:
    """Put prefixes into a tree, each with fresh pages, unreferenced."""
    for text in texts:
        match = tree.match("", encode_key(text))
        missing = range(len(match.pages), len(text) // PAGE)
        tree.acquire(match.node)
        tree.extend(match.node, encode_key(text)[len(match.pages) * PAGE * 4 :], [100 + i for i in missing])
        tree.release(match.node)


def test_who_only_asks_leaves_no_namespace_behind():
    tree = RadixTree(PAGE)
    node = tree.match("salt", encode_key([1] * 8)).node
    assert not tree._roots
    tree.acquire(node)
    assert tree.match("salt", encode_key([1] * 8)).node is node
    tree.release(node)
    assert not tree._roots


def test_the_least_recently_used_leaf_goes_first_and_only_as_far_as_needed():
    tree = RadixTree(PAGE)
    old, new = [1] * 12, [2] * 12
    held(tree, old, new)
    tree.match("", encode_key(new))
    assert tree.evict(2) == [101, 102], "the end of the older edge"
    assert len(tree.match("", encode_key(old)).pages) == 1
    assert len(tree.match("", encode_key(new)).pages) == 3


def test_a_used_leaf_moves_behind_the_others():
    tree = RadixTree(PAGE)
    held(tree, [1] * 8, [2] * 8)
    tree.match("", encode_key([1] * 8))
    tree.evict(2)
    assert len(tree.match("", encode_key([1] * 8)).pages) == 2
    assert len(tree.match("", encode_key([2] * 8)).pages) == 0


def test_references_protect_a_whole_path():
    tree = RadixTree(PAGE)
    held(tree, [1] * 8 + [3] * 4, [1] * 8 + [4] * 4)
    node = tree.match("", encode_key([1] * 8 + [3] * 4)).node
    tree.acquire(node)
    assert len(tree.evict(100)) == 1, "only the other branch"
    tree.release(node)
    assert len(tree.evict(100)) == 3


def test_a_prompt_computed_in_chunks_is_one_edge_until_another_one_shares_it():
    cache, prompt = KVCache(100, PAGE), list(range(80))
    opened = cache.open(cache.match("", encode_key(prompt)), len(prompt))
    assert opened is not None
    lease = opened[0]
    for computed in range(10, 81, 10):
        cache.commit(lease, encode_key(prompt[:computed]))
    [edge] = cache._tree.nodes()
    assert edge.pages == lease.pages
    assert edge.references == 1
    again = cache.open(cache.match("", encode_key(prompt)), 100)
    assert again is not None
    cache.commit(again[0], encode_key([*prompt, *range(20)]))
    assert [len(node.pages) for node in cache._tree.nodes()] == [20, 5], "the first one's edge ends where it did"
    cache.close(lease, encode_key(prompt))
    cache.close(again[0], encode_key([*prompt, *range(20)]))
    cache.check([])


@pytest.mark.parametrize("nodes", [1000, 8000])
def test_eviction_does_not_walk_the_tree(nodes):
    """The heap is touched a bounded number of times for each page that is given up, whatever the size of the tree."""
    tree = RadixTree(PAGE)
    held(tree, *([index] * PAGE for index in range(nodes)))
    touched = 0
    evictable = tree._evictable

    def counting(node):
        nonlocal touched
        touched += 1
        return evictable(node)

    tree._evictable = counting  # type: ignore[method-assign]
    assert len(tree.evict(50)) == 50
    assert touched <= 250
