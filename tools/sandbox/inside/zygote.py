"""The zygote: two single-threaded Pythons that fork a session's processes, both started by `box.py`.

The first, with nothing loaded, is quick to fork: it makes the session's namespaces and its pid 1 (`session.py`). The
second has the heavy packages loaded and forks the interpreter right into them (`nursery.py`), so that only one fork for
each session has to copy that much memory.

This file is the first. It reads requests from its one socket, a JSON message and four descriptors each, until the
server is gone or says that nothing more is wanted. On the first descriptor the session's pid 1 answers; the zygote
itself never does. It holds no secret: everything in its memory is in the memory of every session.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys

from . import kernel, nursery
from .children import forget_children, reaped, wake_on_child
from .nursery import MESSAGE, Filters
from .session import Session

_END = b"end"  # as `zygote_process.py` says it


def main(arguments: list[str]) -> None:
    config = json.loads(arguments[-1])
    sys.dont_write_bytecode = True
    requests = socket.socket(fileno=config["socket"])
    filters = Filters(*map(bytes.fromhex, config["filters"]))
    births, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loader = os.fork()
    if loader == 0:
        births.close()
        nursery.main(config["preload"], far, filters, requests)
        return
    far.close()
    kernel.become_subreaper()
    serve(requests, births, filters, loader)


def serve(requests: socket.socket, births: socket.socket, filters: Filters, loader: int) -> None:
    woken = wake_on_child()
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if woken in ready:
            os.read(woken, 4096)
            if loader in reaped():
                sys.exit("the process with the packages ended")
        if requests.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(requests, MESSAGE, 4)
        if not message:
            return
        if message == _END:
            os.kill(loader, signal.SIGKILL)
            return
        if os.fork() == 0:
            requests.close()
            forget_children(woken)
            Session(json.loads(message), fds, births, filters).begin()
        for fd in fds:
            os.close(fd)
