"""Runs Python cells as the product's ``python`` tool does: names are kept, and the last expression's value is shown.

Generation runs the generator's own code in this process. Evaluation runs what a model wrote, so there
:class:`Subprocess` puts the same loop into a process of its own with limits on time, memory and output. That is care,
not isolation.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import os
import resource
import select
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType

from agenthost.tools.code.spec import python_text

OUTPUT_LIMIT = 20_000


class Interpreter:
    """One session's interpreter. The current directory is the workspace."""

    def __init__(self) -> None:
        self._names: dict[str, object] = {"__name__": "__main__"}
        self._cell = 0

    def run(self, code: str) -> str:
        """Run one cell and give the text that the model reads."""
        self._cell += 1
        name = f"Cell {self._cell}"
        out, err = io.StringIO(), io.StringIO()
        value = trace = None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                value = self._execute(code, name)
            except SyntaxError as error:
                trace = _syntax_trace(error, name)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                trace = _trace(error, name, code)
        return python_text(out.getvalue()[:OUTPUT_LIMIT], err.getvalue()[:OUTPUT_LIMIT], value, trace)

    def _execute(self, code: str, name: str) -> str | None:
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, name, "exec"), self._names)
        if not isinstance(last, ast.Expr):
            return None
        value = eval(compile(ast.Expression(last.value), name, "eval"), self._names)
        return None if value is None else repr(value)[:OUTPUT_LIMIT]


def _trace(error: BaseException, name: str, code: str) -> str:
    """A traceback with the user's frames only."""
    lines = code.splitlines()
    shown = ["Traceback (most recent call last):"]
    link: TracebackType | None = error.__traceback__
    while link is not None:
        where = link.tb_frame.f_code
        if where.co_filename == name:
            shown.append(f"  {name}, line {link.tb_lineno}, in {where.co_name}")
            if 0 < link.tb_lineno <= len(lines):
                shown.append(f"    {lines[link.tb_lineno - 1].strip()}")
        link = link.tb_next
    last = "".join(traceback.format_exception_only(type(error), error)).rstrip("\n")
    return "\n".join([*shown, last])


def _syntax_trace(error: SyntaxError, name: str) -> str:
    shown = [f"  {name}, line {error.lineno}"]
    if error.text:
        text = error.text.rstrip("\n")
        column = (error.offset or 1) - 1 - (len(text) - len(text.lstrip()))
        shown += [f"    {text.lstrip()}", "    " + " " * max(column, 0) + "^"]
    return "\n".join([*shown, f"{type(error).__name__}: {error.msg}"])


_START_SECONDS = 60.0  # on a busy machine


class Subprocess:
    """An :class:`Interpreter` in a process of its own, in ``directory``."""

    def __init__(self, directory: Path, *, seconds: float = 8.0, memory: int = 2 << 30) -> None:
        self._directory = directory
        self._seconds = seconds
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, code: str) -> str:
        """Run one cell. A cell that outlives its time ends the process, and its variables are gone."""
        try:
            process = self._process or self._start()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(code).encode() + b"\n")
            process.stdin.flush()
            line = _read_line(process.stdout.fileno(), self._seconds)
        except (OSError, EOFError):
            line = None
        if line is None:
            self.close()
            return f"Error: python did not finish within {self._seconds:g} seconds and was stopped."
        return json.loads(line)

    def _start(self) -> subprocess.Popen[bytes]:
        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_AS, (self._memory, self._memory))
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 24, 1 << 24))

        path = os.pathsep.join(part for part in sys.path if part)
        command = [sys.executable, "-m", "train_pocket.interpreter"]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": path}
        self._process = subprocess.Popen(
            command, cwd=self._directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, preexec_fn=limit,
        )  # fmt: skip
        assert self._process.stdout is not None
        if _read_line(self._process.stdout.fileno(), _START_SECONDS) is None:
            raise EOFError
        return self._process

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def _read_line(descriptor: int, seconds: float) -> bytes | None:
    """One line, or None when the time is over."""
    deadline = time.monotonic() + seconds
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return None
        chunk = os.read(descriptor, 1 << 16)
        if not chunk:
            raise EOFError
        line += chunk
    return line


def main() -> None:
    """Read cells as JSON lines, write their texts as JSON lines."""
    interpreter = Interpreter()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    channel.write("\n")  # ready
    channel.flush()
    for line in sys.stdin:
        channel.write(json.dumps(interpreter.run(json.loads(line))) + "\n")
        channel.flush()


if __name__ == "__main__":
    main()
