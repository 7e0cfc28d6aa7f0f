"""The interpreter inside the sandbox: reads cells from its control socket, runs them in one `__main__`, reports.

The first line it reads is ``{"id", "rlimits"}``, with ``"listen"`` and ``"environment"`` where there is a network: then
a listening socket goes along with the answer. Each further line is ``{"id", "cell", "code"}``, answered by
``{"id", "value", "traceback", "figures"}``, where ``id`` is the caller's nonce. stdout and stderr are plain
descriptors, so that what child processes print is caught too.

Cells share this process and may break anything in it. References that the loop needs are therefore taken before the
first cell, and the host treats every answer as untrusted.
"""

from __future__ import annotations

import ast
import importlib
import json
import linecache
import os
import resource
import signal
import site
import socket
import sys
import types
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from .figures import collect, tolerate_show
from .tracebacks import describe, shorten

_exit, _getpid = os._exit, os.getpid
_loads, _dumps = json.loads, json.dumps
_signal, _SIGINT = signal.signal, signal.SIGINT


class Loop:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.reader = control.makefile("rb")
        self.pid = _getpid()
        self.busy = False
        self.workspace = ""
        self.before_cell: Callable[[], None] = lambda: None
        self.stdout: TextIO = sys.stdout
        self.stderr: TextIO = sys.stderr
        self.main = types.ModuleType("__main__")
        self.main.__dict__.update({"__builtins__": __builtins__, "_": None})
        sys.modules["__main__"] = self.main

    def rehearse(self) -> None:
        """Run a cell that leaves nothing, so that the first real one finds everything at hand."""
        self.cell({"code": "_", "cell": 0})
        linecache.cache.clear()

    def run(self) -> None:
        first = _loads(self.reader.readline())
        self.prepare(first["rlimits"])
        listeners = [self.prepare_network(first["listen"], first["environment"])] if "listen" in first else []
        socket.send_fds(self.control, [line_of({"id": first["id"]})], [end.fileno() for end in listeners])
        for end in listeners:
            end.close()
        for line in self.reader:
            request = _loads(line)
            self.before_cell()
            _signal(_SIGINT, self.on_interrupt)
            try:
                answer = self.cell(request)
            except KeyboardInterrupt:  # came between the cell's end and this line
                answer = {"traceback": "KeyboardInterrupt"}
            self.busy = False
            self.restore_streams()
            if _getpid() != self.pid:  # a child that the cell forked has come to the end of the cell
                _exit(0)
            self.send({"id": request["id"], **answer})

    def prepare(self, rlimits: dict[str, int]) -> None:
        self.workspace = os.getcwd()
        for name, value in rlimits.items():
            kind = getattr(resource, name, None)
            if kind is not None:
                _, hard = resource.getrlimit(kind)
                value = min({value, hard} - {resource.RLIM_INFINITY}, default=resource.RLIM_INFINITY)
                resource.setrlimit(kind, (value, value))
        with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("900")
        os.closerange(3, self.control.fileno())
        os.closerange(self.control.fileno() + 1, 1 << 16)
        self.stdout, self.stderr = sys.stdout, sys.stderr = text_stream(1), text_stream(2)
        os.register_at_fork(before=self.flush)
        _signal(_SIGINT, self.on_interrupt)
        tolerate_show()
        sys.dont_write_bytecode = True
        sys.path.insert(0, self.workspace)
        sys.argv = [""]

    def prepare_network(self, address: list[Any], environment: dict[str, str]) -> socket.socket:
        """What programs need to know of the proxy, what pip installs can be imported, and the proxy's ear."""
        os.environ.update(environment)
        sys.path.append(site.getusersitepackages())
        self.before_cell = importlib.invalidate_caches
        return socket.create_server(tuple(address), backlog=128)

    def send(self, message: dict[str, object]) -> None:
        self.control.sendall(line_of(message))

    def on_interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self.busy:
            self.busy = False
            raise KeyboardInterrupt

    def cell(self, request: dict[str, Any]) -> dict[str, object]:
        """Run one cell: the repr of its last expression, what it drew, or its traceback."""
        code, name = request["code"], f"<cell {request['cell']}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        answer: dict[str, object] = {}
        result = None
        self.busy = True
        try:
            tree = ast.parse(code, name)
            last = tree.body[-1] if tree.body else None
            if isinstance(last, ast.Expr):
                tree.body.pop()
            exec(compile(tree, name, "exec"), self.main.__dict__)
            if isinstance(last, ast.Expr):
                result = eval(compile(ast.Expression(last.value), name, "eval"), self.main.__dict__)
                if result is not None:
                    self.main.__dict__["_"] = result
                    answer["value"] = shorten(repr(result))
            self.flush()
            answer["figures"] = collect(result)
        except SystemExit as stop:
            if _getpid() != self.pid:
                self.flush()
                _exit(stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1)
            self.busy = False
            return {"traceback": shorten(describe(stop, self.workspace))} if stop.code else {}
        except BaseException as error:
            self.busy = False
            return {"traceback": shorten(describe(error, self.workspace))}
        return answer

    def flush(self) -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):  # the cell may have closed or replaced it
                stream.flush()

    def restore_streams(self) -> None:
        self.flush()
        for name, number, stream in (("stdout", 1, self.stdout), ("stderr", 2, self.stderr)):
            if stream.closed:
                stream = text_stream(number)
                setattr(self, name, stream)
            setattr(sys, name, stream)
            setattr(sys, f"__{name}__", stream)
        self.flush()


def line_of(message: dict[str, object]) -> bytes:
    return _dumps(message).encode() + b"\n"


def text_stream(number: int) -> TextIO:
    """Line by line, so that output of children stays in order; no text is refused."""
    return open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def main(arguments: list[str]) -> None:
    Loop(socket.socket(fileno=int(arguments[0]))).run()
