"""Rank 0's side of a group: it decides each step and sends it to the others."""

from __future__ import annotations

import threading
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

import torch

from .group import RankGroup
from .meeting import accept_followers, open_store
from .ranks import fall_apart
from .shard import Shard
from .wire import NO_MORE, pack

if TYPE_CHECKING:
    from ..runner.step import Step
    from .ranks import Ranks


class LeadingGroup(RankGroup):
    """See the module. Unless the group was closed, a rank that leaves ends this process."""

    def __init__(self, ranks: Ranks, device: torch.device) -> None:
        config = ranks.config
        store = open_store(config, ranks.meeting, 0)
        super().__init__(store, Shard(0, config.tensor_parallel_size), device)
        self._ranks = ranks
        self._followers = accept_followers(config, ranks.meeting, store)
        threading.Thread(target=self._watch, daemon=True).start()

    def lead(self, step: Step) -> None:
        message = pack(step, self._ranks.config.page_size)
        for follower in self._followers:
            follower.send_bytes(message)

    def close(self) -> None:
        self._ranks.wanted = False
        for follower in self._followers:
            follower.send_bytes(NO_MORE)
        super().close()
        for follower in self._followers:
            follower.close()

    def _watch(self) -> None:
        """They say nothing; a connection on which something comes has ended."""
        wait(list(self._followers))
        if self._ranks.wanted:
            fall_apart("a rank has left")
