"""The zygote's process, seen from the server."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import SandboxUnavailable
from .inside.box import PACKAGES, PREFIX
from .packages import Interpreter
from .program import program
from .spec import ENVIRONMENT

_END = b"end"  # see `inside/zygote.py`
_ENVIRONMENT = {
    **ENVIRONMENT,
    # Threads are not forked, and each costs address space.
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MPLBACKEND": "Agg",
    "MPLCONFIGDIR": "/tmp/matplotlib",
    "PYTHONPATH": PACKAGES,  # for Pythons that code starts; the zygote's own ignores it
}


class ZygoteProcess:
    """Starts at once and takes requests before it is loaded. It ends when :meth:`close` is called or the server ends.

    Raises:
        SandboxUnavailable: it cannot be started.
    """

    def __init__(self, interpreter: Interpreter, filters: tuple[bytes, bytes], preload: tuple[str, ...]) -> None:
        self.born = time.monotonic()
        self.forks = 0
        self._loaded = False
        self._requests, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._errors = os.fdopen(os.memfd_create("agenthost-zygote"), "r+b")
        environment = dict(_ENVIRONMENT)
        if interpreter.prefix:
            environment["PATH"] = f"{PREFIX}/bin:{environment['PATH']}"
            environment["LD_LIBRARY_PATH"] = f"{PREFIX}/lib"
        config = {
            "python": interpreter.inside,
            "prefix": interpreter.prefix,
            "packages": interpreter.packages,
            "environment": environment,
            "preload": preload,
            "filters": [one.hex() for one in filters],
            "socket": far.fileno(),
        }
        command = [sys.executable, "-I", "-S", "-c", program("box"), program("zygote"), json.dumps(config)]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                pass_fds=[far.fileno()],
                env={},
                cwd="/",
                start_new_session=True,  # a Ctrl+C is for the server, which then ends it
            )
        except OSError as error:
            self._requests.close()
            self._errors.close()
            raise SandboxUnavailable(f"could not start the zygote: {error}") from error
        finally:
            far.close()
        self._requests.settimeout(1.0)  # room for some hundred requests is in the socket

    def fork(self, request: dict[str, Any], fds: list[int]) -> None:
        """Ask for a session's first process.

        Raises:
            OSError: it has died, or is far behind.
        """
        socket.send_fds(self._requests, [json.dumps(request).encode()], fds)
        self.forks += 1

    def died(self) -> bool:
        return self._process.poll() is not None

    def ending(self) -> bool:
        """Whether one of its two processes has died, and the other one follows or has done so."""
        with suppress(OSError, ValueError):
            poll = select.poll()
            poll.register(self._requests, 0)
            return bool(poll.poll(0)) or self.died()
        return True

    def loaded(self) -> bool:
        """Whether all packages are loaded, so that forking takes no longer than it must."""
        if not self._loaded:
            with suppress(OSError):
                self._loaded = bool(self._requests.recv(16, socket.MSG_DONTWAIT))
        return self._loaded

    def pids(self) -> list[int]:
        with suppress(OSError):
            pid = self._process.pid
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            return [pid, *map(int, children[:1])]  # the first is the one with the packages, the others are sessions'
        return []

    def complaint(self) -> str:
        """The end of what it wrote to stderr."""
        with suppress(OSError, ValueError):
            self._errors.seek(0)
            return self._errors.read().decode(errors="replace").strip()[-300:]
        return ""

    def close(self, *, at_once: bool = False) -> None:
        """Let it end. What it has forked lives on; what it was asked for comes too, unless it shall end ``at_once``."""
        if at_once:
            with suppress(OSError):
                self._requests.send(_END)
        self._requests.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(2)
        self._process.kill()
        self._process.wait()
        self._errors.close()
