"""The process of a rank other than 0: ``python -m agenthost.engine.parallel.follower``, see :mod:`.ranks`.

It holds its part of the model and runs the steps that rank 0 sends, until rank 0 leaves.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from multiprocessing.connection import Connection
from queue import SimpleQueue

from ..garbage import freeze_loaded
from ..parent import begin
from ..runner.load import device_of, load_runner
from ..runner.step import Step
from .group import RankGroup
from .meeting import connect_to_leader, open_store
from .ranks import RankStart
from .shard import Shard
from .wire import NO_MORE, unpack

log = logging.getLogger(__name__)

_LAST_STEP = 3.0  # seconds that a step may take when rank 0 has left


def main() -> None:
    start = begin("rank", RankStart)
    try:
        _follow(start)
    except BaseException:
        log.exception("rank %d has failed", start.rank)
        os._exit(1)  # what else may be waited for, others will never do


def _follow(start: RankStart) -> None:
    config = start.config
    device = device_of(config, start.local_rank)
    store = open_store(config, start.meeting, start.rank)
    group = RankGroup(store, Shard(start.rank, config.tensor_parallel_size), device)
    steps: SimpleQueue[Step | None] = SimpleQueue()
    threading.Thread(target=_receive, args=(connect_to_leader(config, store), steps), daemon=True).start()
    runner = load_runner(config, group, device).runner
    freeze_loaded()
    while (step := steps.get()) is not None:
        runner.sample(runner.forward(step))
    runner.close()
    group.close()


def _receive(leader: Connection, steps: SimpleQueue[Step | None]) -> None:
    """Take steps while the last ones run, until rank 0 leaves."""
    try:
        while (message := leader.recv_bytes()) != NO_MORE:
            steps.put(unpack(message))
    except (EOFError, OSError):
        log.error("rank 0 is gone")
    except Exception:  # the others would wait for this rank for ever
        log.exception("what rank 0 says cannot be read")
    steps.put(None)
    time.sleep(_LAST_STEP)
    os._exit(0)  # the main thread waits for a rank that is gone


if __name__ == "__main__":
    main()
