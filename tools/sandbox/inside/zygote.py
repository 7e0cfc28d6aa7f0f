"""The zygote: one single-threaded Python with the heavy packages loaded, that forks a process for each session.

It reads requests from its one socket, a JSON message and four descriptors each, until the server is gone. On the first
descriptor the session's first process answers (see `session.py`); the zygote itself never does.
It holds no secret: everything in its memory is in the memory of every session.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import warnings

from . import kernel
from .box import PACKAGES
from .session import Session

_MESSAGE = 1 << 16


def main(arguments: list[str]) -> None:
    config = json.loads(arguments[-1])
    sys.dont_write_bytecode = True
    sys.path.append(PACKAGES)
    preload(config["preload"])
    if len(os.listdir("proc/self/task")) != 1:  # the working directory is the host's root
        sys.exit("a preloaded package has started a thread: sessions cannot be forked")
    kernel.detach("/tmp")  # sessions have their own
    kernel.become_subreaper()
    gc.collect()
    gc.freeze()
    requests = socket.socket(fileno=config["socket"])
    requests.send(b"loaded")
    serve(requests, bytes.fromhex(config["filter"]))


def preload(names: list[str]) -> None:
    """Import what is there, and draw one figure, which fills matplotlib's font cache."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):  # a broken package is the session's business
                importlib.import_module(name)
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            with contextlib.suppress(Exception):
                pyplot.figure().add_subplot().set_title("title")  # type: ignore[attr-defined]
                pyplot.savefig(io.BytesIO(), format="png")  # type: ignore[attr-defined]
                pyplot.close("all")  # type: ignore[attr-defined]


def serve(requests: socket.socket, program: bytes) -> None:
    woken, wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if woken in ready:
            os.read(woken, 4096)
            reap()
        if requests.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(requests, _MESSAGE, 4)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(woken)
            os.close(wake)
            Session(json.loads(message), fds, program).begin()
        for fd in fds:
            os.close(fd)


def reap() -> None:
    """Take note of every ended child: first processes of sessions, and what forked them."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
