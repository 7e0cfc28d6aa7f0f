"""ipykernel through jupyter_client, as a notebook runs it: no sandbox, the figures beside ours."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import psutil


class Kernel:
    """One running kernel. Times are in milliseconds, memory in MB."""

    def __init__(self) -> None:
        from jupyter_client.manager import start_new_kernel

        began = time.perf_counter()
        self.manager: Any
        self.client: Any
        self.manager, self.client = start_new_kernel(kernel_name="python3")
        self.run("1")
        self.first_result = 1000 * (time.perf_counter() - began)

    def run(self, code: str) -> float:
        began = time.perf_counter()
        reply = self.client.execute_interactive(code, output_hook=lambda _: None, timeout=120)
        if reply["content"]["status"] != "ok":
            raise RuntimeError(f"ipykernel: {reply['content']}")
        return 1000 * (time.perf_counter() - began)

    def memory(self) -> float:
        pid = self.manager.provisioner.process.pid
        children = psutil.Process(pid).children(recursive=True)
        return memory([pid, *(child.pid for child in children)], "Private_")

    def close(self) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)


@contextlib.contextmanager
def kernel() -> Iterator[Kernel | None]:
    """None where ipykernel is not installed."""
    try:
        running = Kernel()
    except ImportError:
        yield None
        return
    try:
        yield running
    finally:
        running.close()


def memory(pids: list[int], kind: str) -> float:
    """MB of these processes: ``Private_`` is what no other shares, ``Pss:`` has a part of what is shared."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as lines:
            total += sum(int(line.split()[1]) for line in lines if line.startswith(kind))
    return total / 1024
