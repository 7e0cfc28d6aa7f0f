"""Child processes that end with the process that started them."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TypeVar

import msgspec

_First = TypeVar("_First")


def begin(name: str, first: type[_First]) -> _First:
    """Be a child: log as ``name``, leave signals to the parent, and end when it does.

    Returns the first line of standard input, a ``first`` as JSON. The parent keeps that input open.
    """
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s {name} %(levelname)s %(message)s")
    for stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_IGN)
    said = msgspec.json.decode(sys.stdin.buffer.readline(), type=first)
    threading.Thread(target=exit_with_parent, daemon=True).start()
    return said


def exit_with_parent() -> None:
    """Block until standard input ends, then end this process: the parent holds the other end, however it ends."""
    while os.read(0, 4096):
        pass
    os._exit(0)
