"""The Python with the heavy packages loaded: forks interpreters into the namespaces that pid 1 of a session has made.

A birth is a JSON message ``{"cgroups": [path, ...], "user": bool, "network": bool}`` and five descriptors: a pidfd of
pid 1, the link to it, and the interpreter's control socket, stdout and stderr.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import select
import socket
import sys
import warnings
from typing import Any, NamedTuple

from . import kernel, worker
from .box import INSIDE_ID, PACKAGES
from .children import forget_children, reaped, wake_on_child

_NAMESPACES = (
    kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNET
)  # fmt: skip
MESSAGE = 1 << 16  # bytes of a message of the server, pid 1 or the zygote


class Filters(NamedTuple):
    """System call filters: for sessions without a network, and for those with one."""

    none: bytes
    network: bytes


def main(names: list[str], births: socket.socket, filters: Filters, server: socket.socket) -> None:
    """Load, tell the server, and serve until the zygote and all who wait are gone."""
    sys.path.append(PACKAGES)
    preload(names)
    if len(os.listdir("proc/self/task")) != 1:  # the working directory is the host's root
        sys.exit("a preloaded package has started a thread: sessions cannot be forked")
    kernel.detach("/tmp")  # sessions have their own
    gc.collect()
    gc.freeze()
    server.send(b"loaded")
    server.close()
    serve(births, filters)


def preload(names: list[str]) -> None:
    """Import what is there, and draw one figure, which fills matplotlib's font cache."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            with contextlib.suppress(Exception):  # a broken package is the session's business
                importlib.import_module(name)
        pyplot: Any = sys.modules.get("matplotlib.pyplot")
        if pyplot is not None:
            with contextlib.suppress(Exception):
                pyplot.figure().add_subplot().set_title("title")
                pyplot.savefig(io.BytesIO(), format="png")
                pyplot.close("all")


def serve(births: socket.socket, filters: Filters) -> None:
    own = os.open("proc/self/ns/pid", os.O_RDONLY)
    woken = wake_on_child()
    poll = select.poll()
    poll.register(births, select.POLLIN)
    poll.register(woken, select.POLLIN)
    while True:
        ready = [fd for fd, _ in poll.poll()]
        if woken in ready:
            os.read(woken, 4096)
            reaped()
        if births.fileno() not in ready:
            continue
        message, fds, _, _ = socket.recv_fds(births, MESSAGE, 5)
        if not message:
            return
        with contextlib.suppress(OSError):  # that session has ended meanwhile
            kernel.join(fds[0], kernel.CLONE_NEWPID)
            birth = json.loads(message)
            fds += os.pipe()
            pid = os.fork()
            if pid == 0:
                births.close()
                os.close(own)
                forget_children(woken)
                be_born(birth, fds, filters)
            move(pid, birth["cgroups"])  # while it goes on: this takes the kernel long
            os.write(fds[-1], b"+")
        kernel.join(own, kernel.CLONE_NEWPID)
        for fd in fds:
            os.close(fd)


def move(pid: int, groups: list[str]) -> None:
    """Put a process into control groups."""
    for folder in groups:
        with open(f".{folder}/cgroup.procs", "w") as file:
            file.write(str(pid))


def be_born(birth: dict[str, Any], fds: list[int], filters: Filters) -> None:
    """Become the interpreter of a session. Never returns.

    The last two descriptors are a pipe by which the parent tells that this process is in its control groups.
    """
    pid_1, link, control, stdout, stderr, moved, tell = fds
    try:
        os.close(tell)
        with open("proc/self/oom_score_adj", "w") as file:
            file.write("900")
        if birth["user"]:
            os.setgroups([])
        kernel.join(pid_1, _NAMESPACES)
        os.setresgid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
        os.setresuid(INSIDE_ID, INSIDE_ID, INSIDE_ID)
        os.setsid()
        os.dup2(os.open("/box/dev/null", os.O_RDONLY), 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        random: Any = sys.modules.get("numpy.random")
        if random is not None:  # the standard library's reseeds itself
            random.seed()
        loop = worker.Loop(socket.socket(fileno=control))
        loop.rehearse()
        if not os.read(moved, 1):
            os._exit(1)
        kernel.unshare(kernel.CLONE_NEWCGROUP)  # so that the session's groups have no names inside
        kernel.gain_nothing()
        kernel.give_up_capabilities()
        kernel.set_dumpable(True)
        kernel.filter_calls(filters.network if birth["network"] else filters.none)
        parent = socket.socket(fileno=link)
        socket.send_fds(parent, [b"set up"], [os.pidfd_open(os.getpid())])
        if parent.recv(8) == b"go":
            parent.close()
            os.chdir("/workspace")
            loop.run()
    finally:
        os._exit(1)
