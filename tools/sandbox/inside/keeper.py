"""Runs the interpreter of a session where there are no namespaces, and looks after what comes of it.

``main([JSON])`` with ``{"server", "control": descriptors, "workspace", "filter": hex, "asked": {number: name of a call
that the filter leaves to the keeper}, "processes": how many beside those of its user or null, "walls": {"read",
"write", "devices"} or null}``. With walls, the keeper first gives up sending signals to others
(`landlock.keep_signals`); the interpreter, its child, gives up more. So a signal of the keeper's "to all" reaches the
session and nothing else, and the session cannot reach the keeper. Without walls (`--allow-unsafe-code`) it looks for
its descendants one by one.

It ends after everything else in the session, also when the server is gone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from . import kernel, landlock, worker
from .allowance import allow_processes
from .broker import Broker
from .supervisor import Supervisor, send_to_all

_OOM_SCORE = "900"
_FOR_THE_SERVER = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # when it has ended, so does the keeper


def main(arguments: list[str]) -> None:
    config = json.loads(arguments[0])
    server, control = (socket.socket(fileno=config[name]) for name in ("server", "control"))
    kernel.become_subreaper()
    kernel.gain_nothing()
    kernel.give_up_capabilities()  # ambient ones of a service, say
    kernel.set_dumpable(False)
    if config["walls"]:
        landlock.keep_signals()
    link, far = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            server.close()
            be_interpreter(config, control, far)
        except BaseException as error:
            sys.excepthook(type(error), error, error.__traceback__)
        finally:
            os._exit(1)
    control.close()
    far.close()
    for number in _FOR_THE_SERVER:
        signal.signal(number, signal.SIG_IGN)
    send = send_to_all if config["walls"] else send_one_by_one
    try:
        also = ask_broker(config, link) if config["asked"] else {}
        Supervisor(server, os.pidfd_open(pid), descendants, send, also).run()
    finally:
        server.close()
        end(send)


def ask_broker(config: dict, link: socket.socket) -> dict[int, Callable[[], None]]:
    """For the supervisor, when the interpreter has its filter; nothing if it has ended before."""
    _, listeners, _, _ = socket.recv_fds(link, 1, 1)
    names = {int(number): name for number, name in config["asked"].items()}
    return {listener: Broker(listener, names, config["walls"]["write"]).answer for listener in listeners}


def be_interpreter(config: dict, control: socket.socket, link: socket.socket) -> None:
    kernel.die_with_parent()
    os.setsid()
    kernel.set_dumpable(True)  # or the next file is root's
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)
    if config["processes"] is not None:
        allow_processes(config["processes"])
    os.chdir(config["workspace"])
    loop = worker.Loop(control)
    if config["walls"]:
        landlock.keep_files(**config["walls"])
        code = bytes.fromhex(config["filter"])
        if config["asked"]:
            listener = kernel.filter_and_listen(code)
            socket.send_fds(link, [b"+"], [listener])
            os.close(listener)
        else:
            kernel.filter_calls(code)
    link.close()
    loop.run()


def end(send: Callable[[signal.Signals], None]) -> None:
    """Nothing of the session is left after this."""
    while True:
        send(signal.SIGKILL)
        try:
            os.wait()  # orphans come to this process
        except ChildProcessError:
            return


def descendants() -> list[int]:
    found, waiting = [], [os.getpid()]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as children:
            new = list(map(int, children.read().split()))
            found += new
            waiting += new
    return found


def send_one_by_one(number: signal.Signals) -> None:
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, number)
