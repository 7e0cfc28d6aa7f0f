"""A further machine of several that hold one model together: it runs its ranks, and serves nothing itself."""

from __future__ import annotations

import logging
import signal
import threading

from ..config import EngineConfig
from ..hub import resolve_model
from ..models.config import ModelConfig
from .ranks import RankStart, end, start
from .shard import Shard

log = logging.getLogger(__name__)

_LOOK = 0.2  # seconds between looks at the ranks
_PAUSE = 1.0  # seconds until they are started again


def run_node(config: EngineConfig) -> None:
    """Run this machine's ranks until SIGTERM or SIGINT.

    When one ends, be it that another machine's did, all are started again and wait for the first machine.

    Raises EngineError subclasses for what the operator can mend.
    """
    config.check()
    Shard(0, config.tensor_parallel_size).check(ModelConfig.load(resolve_model(config.model)))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    first = config.node_rank * config.local_ranks
    numbers = range(first, first + config.local_ranks)
    assert config.rendezvous is not None
    while not stop.is_set():
        log.info("ranks %s wait for the first machine at %s", [*numbers], config.rendezvous)
        ranks = [start(RankStart(config, rank, config.rendezvous)) for rank in numbers]
        while not stop.wait(_LOOK) and all(rank.poll() is None for rank in ranks):
            pass
        end(ranks)
        stop.wait(_PAUSE)
