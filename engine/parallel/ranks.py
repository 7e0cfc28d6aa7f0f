"""The processes of the ranks: started side by side, found by each other, and ended together.

Rank 0 is the engine's own process. The end of one rank is the end of all, for a model that lacks a part cannot go on;
whoever supervises rank 0 starts it again. Importing this module loads no torch.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ..config import EngineConfig

if TYPE_CHECKING:
    import torch

    from .leader import LeadingGroup

log = logging.getLogger(__name__)

_FELL_APART = 70  # exit status (EX_SOFTWARE)
_LAST_STEP = 5.0  # seconds that a rank may take to end


class RankStart(msgspec.Struct, frozen=True):
    """The first line of a rank's standard input, as JSON. When the input ends, the process does too.

    ``meeting``: where the ranks find each other, a file or HOST:PORT.
    """

    config: EngineConfig
    rank: int
    meeting: str

    @property
    def local_rank(self) -> int:
        """The rank's number on its machine, and that of its device."""
        return self.rank % self.config.local_ranks


def start(what: RankStart) -> subprocess.Popen[bytes]:
    """A rank's process."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "agenthost.engine.parallel.follower"], stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(what) + b"\n")
    process.stdin.flush()
    return process


def end(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End ranks, at once or after a moment."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    for process in processes:
        try:
            process.wait(_LAST_STEP)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass
class Ranks:
    """The other ranks of this machine, and where rank 0 meets all. While they are ``wanted`` none may end."""

    config: EngineConfig
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    wanted: bool = True

    @property
    def meeting(self) -> str:
        return self.config.rendezvous or f"{self.folder}/meeting"

    def start(self) -> None:
        for rank in range(1, self.config.local_ranks):
            process = start(RankStart(self.config, rank, self.meeting))
            self.processes.append(process)
            threading.Thread(target=self._watch, args=(rank, process), daemon=True).start()

    def join(self, device: torch.device) -> LeadingGroup:
        """Meet them, as rank 0. Blocks until all have come, from other machines too."""
        from .leader import LeadingGroup

        return LeadingGroup(self, device)

    def close(self) -> None:
        """Let them end."""
        self.wanted = False
        end(self.processes)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _watch(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        code = process.wait()
        if self.wanted:
            fall_apart(f"rank {rank} ended (exit status {code})")


def launch(config: EngineConfig, folder: Path | None = None) -> Ranks:
    """Start the other ranks of this machine. Until they are closed, the end of one ends this process.

    On one machine this process talks to others by the loopback interface from now on, as far as NCCL and gloo do.
    ``folder``: of somebody who removes it even when this process is killed; None for a new one.
    """
    if config.nnodes == 1 and sys.platform == "linux":
        for name in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):  # nobody else's business
            os.environ.setdefault(name, "lo")
    if folder is None:
        folder = Path(tempfile.mkdtemp(prefix="agenthost-"))  # only ours to enter
    else:
        folder = folder / "ranks"  # short: sockets are in it
        folder.mkdir()
    ranks = Ranks(config, folder)
    ranks.start()
    return ranks


def fall_apart(why: str) -> None:
    """End this process, whose threads may wait for a lost rank for ever."""
    log.error("%s; without it the model is incomplete", why)
    os._exit(_FELL_APART)
