"""The stream of training rows: conversations, tokenized and packed by worker processes.

A row holds whole conversations, placed by best fit; attention is masked between them. Rows are made faster than the
model eats them by some processes that share nothing: each has its own random stream and directory.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue as queues
import random
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from . import families
from .chat import Segment, render
from .mixture import LONG, SHORT, Generator
from .phrasing import bank
from .tasks.python_tasks import operations
from .tokenizer import PATH, pieces
from .workspace import Workspace
from .world import UnexpectedCall

Rows = NDArray[np.int16]
"""Shape (3, rows, length + 1): token ids, loss weights in percent, conversation numbers from 1 (0 is padding)."""


@dataclass(frozen=True)
class StreamConfig:
    """What rows are made of.

    Args:
        length: tokens that the model sees in a row.
        long_share: fraction of conversations with many tools, several tasks and long files.
        workers: processes.
        seed: of the stream; each worker's seed follows from it.
    """

    length: int = 8192
    long_share: float = 0.05
    workers: int = 14
    seed: int = 1
    rows_per_message: int = 4


class Encoder:
    """Tokenizes conversations, keeping the ids of text that recurs."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._kept: dict[str, list[int]] = {}

    def encode(self, conversations: list[list[Segment]]) -> list[tuple[list[int], list[int]]]:
        """Token ids and loss weights (percent) of each conversation."""
        if len(self._kept) > 20_000:
            self._kept.clear()
        every = [segment for segments in conversations for segment in segments]
        fresh = [segment.text for segment in every if not segment.shared]
        new = list({segment.text: None for segment in every if segment.shared and segment.text not in self._kept})
        made = self._tokenizer.encode_batch_fast(fresh + new, add_special_tokens=False)
        encoded = iter(made[: len(fresh)])
        self._kept.update((text, encoding.ids) for text, encoding in zip(new, made[len(fresh) :], strict=True))
        results = []
        for segments in conversations:
            ids: list[int] = []
            weights: list[int] = []
            for segment in segments:
                part = self._kept[segment.text] if segment.shared else next(encoded).ids
                ids += part
                weights += [round(segment.weight * 100)] * len(part)
            results.append((ids, weights))
        return results


@dataclass
class _Row:
    ids: list[int] = field(default_factory=list)
    weights: list[int] = field(default_factory=list)
    documents: list[int] = field(default_factory=list)

    def add(self, ids: list[int], weights: list[int]) -> None:
        number = self.documents[-1] + 1 if self.documents else 1
        self.ids += ids
        self.weights += weights
        self.documents += [number] * len(ids)


class Packer:
    """Best fit into a few open rows; the fullest is closed when none has room."""

    def __init__(self, size: int, open_rows: int = 24) -> None:
        self._size = size
        self._open: list[_Row] = []
        self._limit = open_rows
        self.closed: list[_Row] = []

    def add(self, ids: list[int], weights: list[int]) -> None:
        if len(ids) > self._size:
            return
        fitting = [row for row in self._open if self._size - len(row.ids) >= len(ids)]
        if not fitting:
            if len(self._open) >= self._limit:
                fullest = max(self._open, key=lambda row: len(row.ids))
                self._open.remove(fullest)
                self.closed.append(fullest)
            fitting = [_Row()]
            self._open += fitting
        max(fitting, key=lambda row: len(row.ids)).add(ids, weights)

    def take(self, count: int) -> Rows:
        """``count`` closed rows as an array."""
        rows = np.zeros((3, count, self._size), np.int16)
        for index in range(count):
            row = self.closed.pop()
            used = len(row.ids)
            rows[0, index, :used], rows[1, index, :used], rows[2, index, :used] = row.ids, row.weights, row.documents
        return rows


def rows(config: StreamConfig, worker: int, directory: Path) -> Iterator[Rows]:
    """One worker's endless rows. Changes the current directory to ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    os.chdir(directory)
    tokenizer = Tokenizer.from_file(str(PATH))
    rng = random.Random(f"{config.seed}/{worker}")
    generator = Generator(rng, Workspace(directory), pieces(tokenizer))
    encoder, packer = Encoder(tokenizer), Packer(config.length + 1)
    while True:
        batch = []
        while len(batch) < 24:
            shape = LONG if rng.random() < config.long_share else SHORT
            try:
                conversation = generator.conversation(shape)
            except (UnexpectedCall, RecursionError, LookupError, ValueError):
                continue  # two tasks of one conversation got into each other's way
            batch.append(render(conversation.messages, conversation.tool_lines))
        for ids, weights in encoder.encode(batch):
            packer.add(ids, weights)
        while len(packer.closed) >= config.rows_per_message:
            yield packer.take(config.rows_per_message)


def _work(config: StreamConfig, worker: int, directory: Path, out: Any) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    for made in rows(config, worker, directory):
        out.put(made)


class Stream:
    """Rows from several worker processes, with a thread that keeps some ready."""

    def __init__(self, config: StreamConfig, rows_per_step: int) -> None:
        families.load(families.TRAINING)  # read before the workers are forked, once for all
        bank()
        operations()
        context: BaseContext = mp.get_context("fork")
        base = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
        self._directory = base / f"train_pocket-{os.getpid()}"
        self._messages = rows_per_step // config.rows_per_message
        self._queue: Any = context.Queue(maxsize=128)
        self._ready: queues.Queue[Rows] = queues.Queue(maxsize=6)
        self._processes = [
            context.Process(
                target=_work, args=(config, worker, self._directory / str(worker), self._queue), daemon=True
            )  # type: ignore[attr-defined]
            for worker in range(config.workers)
        ]
        for process in self._processes:
            process.start()
        threading.Thread(target=self._feed, daemon=True).start()

    def _feed(self) -> None:
        while True:
            self._ready.put(np.concatenate([self._queue.get() for _ in range(self._messages)], axis=1))

    def take(self) -> Rows:
        """The rows of one step. Waits for them."""
        while True:
            try:
                return self._ready.get(timeout=20)
            except queues.Empty:
                if not any(process.is_alive() for process in self._processes):
                    raise RuntimeError("every data worker has died; run train_pocket.packing to see why") from None

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        shutil.rmtree(self._directory, ignore_errors=True)


def main() -> None:
    """Measure one worker: tokens a second and what the rows are made of."""
    for share in (0.05, 0.35):
        config = StreamConfig(long_share=share)
        made = rows(config, 0, Path("/dev/shm/train_pocket-measure"))
        next(made)
        start, tokens, filled, assistant, documents = time.perf_counter(), 0, 0, 0, 0
        while time.perf_counter() - start < 20:
            block = next(made)
            tokens += block[0].size
            filled += int((block[2] > 0).sum())
            assistant += int((block[1] == 100).sum())
            documents += int(block[2].max(axis=1).sum())
        seconds = time.perf_counter() - start
        print(
            f"long share {share}: {tokens / seconds / 1e3:.0f}k tokens/s a worker, {filled / tokens:.1%} filled, "
            f"{assistant / filled:.1%} assistant, {filled / documents:.0f} tokens a conversation"
        )


if __name__ == "__main__":
    main()
