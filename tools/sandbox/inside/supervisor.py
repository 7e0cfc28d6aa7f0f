"""Looks after the processes of one sandbox: reaps, freezes and counts them for the server, ends with them."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType

from .children import reaped, wake_on_child

_TICKS = os.sysconf("SC_CLK_TCK")


class Supervisor:
    """
    Args:
        server: message socket; its words are ``freeze``, ``thaw`` and ``stats``, each answered by JSON.
        interpreter: pidfd.
        pids: all processes inside.
        send: sends a signal to all of them, to none outside and not to this one.
        also: what else to do, when these descriptors are readable.
    """

    def __init__(
        self,
        server: socket.socket,
        interpreter: int,
        pids: Callable[[], Iterable[int]],
        send: Callable[[signal.Signals], None],
        also: Mapping[int, Callable[[], None]] = MappingProxyType({}),
    ) -> None:
        self.server = server
        self.interpreter = interpreter
        self.pids = pids
        self.send = send
        self.also = also
        self.frozen = False

    def run(self) -> None:
        """Until the interpreter or the server is gone."""
        woken = wake_on_child()
        poll = select.poll()
        for fd in (self.server.fileno(), self.interpreter, woken, *self.also):
            poll.register(fd, select.POLLIN)
        while True:
            reaped()  # also those that ended before
            ready = dict(poll.poll())
            if woken in ready:
                os.read(woken, 4096)
                if self.frozen:  # what goes on again tells its parent; the kernel lets go when a parent has ended
                    self.send(signal.SIGSTOP)
            if self.interpreter in ready:
                return
            for fd, do in self.also.items():
                if ready.get(fd, 0) & select.POLLIN:
                    do()
            if self.server.fileno() in ready:
                try:
                    word = self.server.recv(64)
                    if not word:
                        return
                    self.server.send(self.obey(word))
                except ConnectionError:  # gone without having read an answer, or while this one was made
                    return

    def obey(self, word: bytes) -> bytes:
        if word == b"stats":
            return json.dumps(usage(self.pids())).encode()
        self.frozen = word == b"freeze"
        self.send(signal.SIGSTOP if self.frozen else signal.SIGCONT)
        return b"{}"


def send_to_all(number: signal.Signals) -> None:
    """To all but this process that it may send signals to."""
    with suppress(ProcessLookupError):
        os.kill(-1, number)


def usage(pids: Iterable[int]) -> dict[str, float]:
    """What these processes use, the ended ones' time included."""
    reaped = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, pages, threads = reaped.ru_utime + reaped.ru_stime, 0, 0
    for pid in pids:
        with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as stat, open(f"/proc/{pid}/statm", "rb") as statm:
            fields = stat.read().rpartition(b")")[2].split()
            seconds += sum(map(int, fields[11:15])) / _TICKS  # its own and its reaped children's, user and system
            threads += int(fields[17])
            _, resident, shared = statm.read().split()[:3]
            pages += int(resident) - int(shared)
    return {"memory": pages * resource.getpagesize(), "processes": threads, "cpu_seconds": seconds}
