"""Our decoders against transformers on random small models, in fp32: every way a token can be computed."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest
import torch
from agenthost.engine.attention.base import StepLayout
from agenthost.engine.attention.torch_sdpa import TorchAttention
from agenthost.engine.models.config import ModelConfig
from agenthost.engine.models.load import build_decoder
from agenthost.engine.parallel.group import ALONE, Group
from agenthost.engine.parallel.shard import Shard
from agenthost.engine.runner.runner import ModelRunner

TOLERANCE = 2e-3  # on logits of magnitude 10 to 100
PAGE = 4
CPU = torch.device("cpu")


class Bench:
    """A decoder with its paged cache, driven by hand: sequences own scattered pages and grow by chunks."""

    def __init__(self, reference, optimize: bool = False, group: Group = ALONE) -> None:
        config = ModelConfig.load(reference.folder)
        self.decoder = build_decoder(reference.folder, config, 512, torch.float32, CPU, group=group)
        if optimize:
            self.decoder.optimize()
        self.attention = TorchAttention(group.shard.local(config).kv_groups[0], 300, PAGE, torch.float32, CPU)
        self.free = list(range(1, 301))
        random.Random(0).shuffle(self.free)
        self.tables: dict[int, list[int]] = {}
        self.done: dict[int, int] = {}

    @torch.inference_mode()
    def step(self, parts: dict[int, list[int]]) -> dict[int, torch.Tensor]:
        """Compute the next tokens of each sequence; logits for every one of them."""
        order = sorted(parts, key=lambda s: len(parts[s]) > 1)
        depths = np.array([self.done.get(s, 0) for s in order])
        counts = np.array([len(parts[s]) for s in order])
        for sequence, depth, count in zip(order, depths, counts, strict=True):
            table = self.tables.setdefault(sequence, [])
            while len(table) * PAGE < depth + count:
                table.append(self.free.pop())
            self.done[sequence] = int(depth + count)
        pages = np.zeros((len(order), max(len(self.tables[s]) for s in order)), np.int32)
        for row, sequence in enumerate(order):
            pages[row, : len(self.tables[sequence])] = self.tables[sequence]
        self.attention.prepare(StepLayout(depths, counts, pages))
        ids = torch.tensor([token for s in order for token in parts[s]])
        positions = torch.cat([torch.arange(d, d + c) for d, c in zip(depths, counts, strict=True)])
        logits = self.decoder(ids, positions, None, self.attention.forward)
        return dict(zip(order, logits.split(counts.tolist()), strict=True))


class Threads(Group):
    """Ranks that are threads of this process: they exchange what torch.distributed would between processes."""

    def __init__(self, shard: Shard, barrier: Barrier, board: list[torch.Tensor]) -> None:
        self.shard = shard
        self.barrier = barrier
        self.board = board

    def exchange(self, x: torch.Tensor) -> list[torch.Tensor]:
        self.board[self.shard.rank] = x
        self.barrier.wait(60)
        parts = list(self.board)
        self.barrier.wait(60)
        return parts

    def sum(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack(self.exchange(x)).sum(0)

    def concatenate(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat(self.exchange(x), 1)


def tokens(rng: random.Random, count: int) -> list[int]:
    return [rng.randrange(256) for _ in range(count)]


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimized"])
def test_prefill_in_chunks_equals_one_forward(any_reference, optimize):
    rng = random.Random(1)
    prompt = tokens(rng, 61)
    expected = any_reference.logits(prompt)
    for cuts in ([61], [1] * 61, [7, 1, 30, 23], [60, 1]):
        bench = Bench(any_reference, optimize)
        position, rows = 0, []
        for count in cuts:
            rows.append(bench.step({0: prompt[position : position + count]})[0])
            position += count
        torch.testing.assert_close(torch.cat(rows), expected, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("optimize", [False, True], ids=["plain", "optimized"])
@pytest.mark.parametrize("size", [2, 4])
def test_ranks_together_equal_the_whole_model(any_reference, size, optimize):
    """With 4 ranks the 2 KV heads are replicated; the vocabulary divides by neither number."""
    prompt = tokens(random.Random(6), 40)
    barrier, board = Barrier(size), [torch.empty(0)] * size

    def run(rank):
        bench = Bench(any_reference, optimize, Threads(Shard(rank, size), barrier, board))
        return torch.cat([bench.step({0: part})[0] for part in (prompt[:30], prompt[30:39], prompt[39:])])

    with ThreadPoolExecutor(size) as ranks:
        for logits in ranks.map(run, range(size)):
            torch.testing.assert_close(logits, any_reference.logits(prompt), atol=TOLERANCE, rtol=0)


def test_mixed_batches_equal_lonely_sequences(any_reference):
    """Decodes of very different lengths, and chunks at different depths, in the same steps."""
    rng = random.Random(2)
    sequences = {name: tokens(rng, length) for name, length in enumerate((3, 9, 40, 150, 151, 33))}
    expected = {name: any_reference.logits(sequence) for name, sequence in sequences.items()}
    bench = Bench(any_reference, optimize=True)
    position = dict.fromkeys(sequences, 0)
    while any(position[name] < len(sequence) for name, sequence in sequences.items()):
        parts = {}
        for name, sequence in sequences.items():
            left = len(sequence) - position[name]
            if left and rng.random() < 0.8:
                parts[name] = sequence[position[name] :][: min(left, rng.choice((1, 1, 1, 2, 17, 60)))]
        if not parts:
            continue
        for name, logits in bench.step(parts).items():
            start = position[name]
            position[name] += len(parts[name])
            torch.testing.assert_close(logits, expected[name][start : position[name]], atol=TOLERANCE, rtol=0)


def test_a_copied_page_continues_a_prefix(reference):
    rng = random.Random(3)
    prompt, other = tokens(rng, 22), tokens(rng, 9)
    bench = Bench(reference)
    bench.step({0: prompt})
    shared = 18  # four whole pages and half of the fifth
    bench.tables[1] = [*bench.tables[0][:4], bench.free.pop()]
    bench.attention.copy_pages([bench.tables[0][4]], [bench.tables[1][4]])
    bench.done[1] = shared
    logits = bench.step({1: other})[1]
    expected = reference.logits(prompt[:shared] + other)[shared:]
    torch.testing.assert_close(logits, expected, atol=TOLERANCE, rtol=0)


def test_bf16_stays_close_to_fp32(reference):
    """Not exact by nature: the mean error of bf16 logits is a few per cent of their spread."""
    config = ModelConfig.load(reference.folder)
    prompt = tokens(random.Random(4), 40)
    expected = reference.logits(prompt)
    decoder = build_decoder(reference.folder, config, 512, torch.bfloat16, CPU)
    decoder.optimize()
    attention = TorchAttention(config.kv_groups[0], 20, PAGE, torch.bfloat16, CPU)
    rows = []
    with torch.inference_mode():
        for start, count in ((0, 30), *((position, 1) for position in range(30, 40))):
            attention.prepare(StepLayout(np.array([start]), np.array([count]), np.arange(1, 11, dtype=np.int32)[None]))
            ids = torch.tensor(prompt[start : start + count])
            rows.append(decoder(ids, torch.arange(start, start + count), None, attention.forward))
    error = (torch.cat(rows).float() - expected).abs().mean() / expected.std()
    assert error < 0.05


def test_warming_up_needs_no_longer_positions_than_the_model_has(reference):
    config = ModelConfig.load(reference.folder)
    decoder = build_decoder(reference.folder, config, 30, torch.float32, CPU)
    attention = TorchAttention(config.kv_groups[0], 4, PAGE, torch.float32, CPU)
    ModelRunner(decoder, attention, 3, CPU).warm_up()
