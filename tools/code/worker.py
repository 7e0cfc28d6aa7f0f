"""The interpreter inside the sandbox: reads cells from its control socket, runs them in one `__main__`, reports.

Sent into the sandbox as source (``python -I -c SOURCE FD``): standard library only, and every Python since 3.9 will do.
The first line it reads is ``{"id", "rlimits"}``, each further line ``{"id", "cell", "code"}``. Each is answered by
``{"id", "value", "traceback"}``, where ``id`` is the caller's nonce. stdout and stderr are plain descriptors, so that
what child processes print is caught too.

Cells share this process and may break anything in it. References that the loop needs are therefore taken before the
first cell, and the host treats every answer as untrusted.
"""

from __future__ import annotations

import ast
import json
import linecache
import os
import resource
import signal
import socket
import sys
import traceback
import types
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

_CAP = 4000  # characters of a value or a traceback
_FRAMES = 12
_CHAIN = 3
_WORKSPACE = os.getcwd()

_exit, _getpid = os._exit, os.getpid
_loads, _dumps = json.loads, json.dumps
_signal, _SIGINT = signal.signal, signal.SIGINT


class Loop:
    def __init__(self, control: socket.socket) -> None:
        self.control = control
        self.reader = control.makefile("rb")
        self.pid = _getpid()
        self.busy = False
        self.stdout: TextIO = sys.stdout
        self.stderr: TextIO = sys.stderr
        self.main = types.ModuleType("__main__")
        self.main.__dict__.update({"__builtins__": __builtins__, "_": None})
        sys.modules["__main__"] = self.main

    def run(self) -> None:
        first = _loads(self.reader.readline())
        self.prepare(first["rlimits"])
        self.send({"id": first["id"]})
        for line in self.reader:
            request = _loads(line)
            _signal(_SIGINT, self.on_interrupt)
            try:
                value, trace = self.cell(request["code"], request["cell"])
            except KeyboardInterrupt:  # came between the cell's end and this line
                value, trace = None, "KeyboardInterrupt"
            self.busy = False
            self.restore_streams()
            if _getpid() != self.pid:  # a child that the cell forked has come to the end of the cell
                _exit(0)
            self.send({"id": request["id"], "value": value, "traceback": trace})

    def prepare(self, rlimits: dict[str, int]) -> None:
        for name, value in rlimits.items():
            kind = getattr(resource, name, None)
            if kind is not None:
                _, hard = resource.getrlimit(kind)
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(kind, (value, value))
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("900")
        os.closerange(3, self.control.fileno())
        os.closerange(self.control.fileno() + 1, 1 << 16)
        self.stdout, self.stderr = sys.stdout, sys.stderr = text_stream(1), text_stream(2)
        os.register_at_fork(before=self.flush)
        _signal(_SIGINT, self.on_interrupt)
        sys.dont_write_bytecode = True
        sys.path.insert(0, _WORKSPACE)
        sys.argv = [""]

    def send(self, message: dict[str, object]) -> None:
        self.control.sendall(_dumps(message).encode() + b"\n")

    def on_interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self.busy:
            self.busy = False
            raise KeyboardInterrupt

    def cell(self, code: str, number: int) -> tuple[str | None, str | None]:
        """Run one cell. Returns (repr of the last expression or None, traceback or None)."""
        name = f"<cell {number}>"
        linecache.cache[name] = (len(code), None, code.splitlines(True), name)
        value = None
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
                    value = shorten(repr(result))
            self.flush()
        except SystemExit as stop:
            if _getpid() != self.pid:
                self.flush()
                _exit(stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1)
            self.busy = False
            if stop.code:
                return None, shorten(describe(stop))
        except BaseException as error:
            self.busy = False
            return None, shorten(describe(error))
        return value, None

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


def text_stream(number: int) -> TextIO:
    """Line by line, so that output of children stays in order; no text is refused."""
    return open(number, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)


def shorten(text: str) -> str:
    """Cut in the middle what is longer than the cap, and say so."""
    if len(text) <= _CAP:
        return text
    half = _CAP // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def describe(error: BaseException) -> str:
    """The traceback as Python prints it, without the frames that are not the user's code."""
    try:
        return "\n".join(chain(error))
    except Exception as broken:  # an exception class of the cell with a broken __str__, say
        return f"{type(error).__name__} (its text could not be made: {type(broken).__name__})"


def chain(error: BaseException) -> Iterator[str]:
    parts = [one(error)]
    while len(parts) < 2 * _CHAIN - 1:
        if error.__cause__ is not None:
            error = error.__cause__
            parts.append("\nThe above exception was the direct cause of the following exception:\n")
        elif error.__context__ is not None and not error.__suppress_context__:
            error = error.__context__
            parts.append("\nDuring handling of the above exception, another exception occurred:\n")
        else:
            break
        parts.append(one(error))
    return reversed(parts)


def one(error: BaseException) -> str:
    """One exception of a chain."""
    if isinstance(error, SyntaxError) and is_cell(error.filename):
        lines = [f"  {place(error.filename)}, line {error.lineno}"]
        if error.text:
            text = error.text.rstrip("\n")
            lines.append("    " + text.lstrip())
            column = (error.offset or 1) - 1 - (len(text) - len(text.lstrip()))
            lines.append("    " + " " * max(column, 0) + "^")
        lines.append(f"{type(error).__name__}: {error.msg}")
        return "\n".join(lines)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
    lines = ["Traceback (most recent call last):"] if frames else []
    left_out = len(frames) - 2 * _FRAMES
    for index, frame in enumerate(frames):
        if left_out > 0 and _FRAMES <= index < _FRAMES + left_out:
            if index == _FRAMES:
                lines.append(f"  [... {left_out} frames left out ...]")
            continue
        lines.append(f"  {place(frame.filename)}, line {frame.lineno}, in {frame.name}")
        if frame.line:
            lines.append("    " + frame.line)
    lines.append("".join(traceback.format_exception_only(type(error), error)).rstrip("\n"))
    return "\n".join(lines)


def is_cell(filename: str | None) -> bool:
    return isinstance(filename, str) and filename.startswith("<cell ")


def is_users(filename: str) -> bool:
    return is_cell(filename) or filename.startswith(_WORKSPACE + "/")


def place(filename: str | None) -> str:
    """`Cell 1`, or `File "helper.py"` for a module of the workspace."""
    filename = filename or "?"
    if is_cell(filename):
        return "Cell " + filename[len("<cell ") : -1]
    return f'File "{os.path.relpath(filename, _WORKSPACE)}"'


if __name__ == "__main__":
    Loop(socket.socket(fileno=int(sys.argv[1]))).run()
