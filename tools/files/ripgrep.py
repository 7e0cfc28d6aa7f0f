"""Running ripgrep over files that are open already.

ripgrep opens what it is told by path, and its own walk can be led out of the workspace by whoever swaps a directory for
a link at the right moment. So it gets descriptors: each file was opened beneath the workspace by `openat2`, and its
name on the command line is one of /proc/self/fd. What a model wrote comes after ``-e`` or is one of our own flags.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass

from ..errors import ToolError
from ..sandbox.identity import Identity, server_is_root

COLUMNS = 500  # bytes of a line that are shown
_LINE = re.compile(rb"/proc/self/fd/(\d+)\x00(?:(\d+)([:-]))?(.*)", re.DOTALL)
_ERROR_SHOWN = 600


@dataclass(frozen=True)
class Line:
    """One line of ripgrep's output.

    Args:
        file: index among the given descriptors.
        number: of the line in its file; 0 where only files or counts were asked for.
        matches: False for lines around a match.
    """

    file: int
    number: int
    matches: bool
    text: str


def find_ripgrep() -> str | None:
    """Path of the program, or None."""
    return shutil.which("rg")


def run(
    program: str, flags: Sequence[str], pattern: str, files: Sequence[int], user: Identity | None, seconds: float
) -> Generator[Line | None]:
    """Lines as they are found, None between groups of lines. Closing the iterator ends the process.

    Args:
        files: descriptors of regular files, searched in this order.
        user: whom ripgrep runs as when the server is root.

    Raises:
        ToolError: the pattern cannot be used.
        TimeoutError: it took longer than ``seconds``.
    """
    index = {fd: number for number, fd in enumerate(files)}
    command = [
        program, "--no-config", "--color=never", "--no-heading", "--with-filename", "--null", "--line-number",
        "--threads=1", "--no-mmap", "--crlf", f"--max-columns={COLUMNS}", "--max-columns-preview",
        "--regex-size-limit=10M", "--dfa-size-limit=10M", *flags, "-e", pattern, "--",
        *(f"/proc/self/fd/{fd}" for fd in files or ()), *(() if files else ("/dev/null",)),
    ]  # fmt: skip
    as_user = {"user": user.uid, "group": user.gid, "extra_groups": []} if user and server_is_root() else {}
    process = subprocess.Popen(
        command, env={}, cwd="/", pass_fds=files,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **as_user,
    )  # fmt: skip
    assert process.stdout
    assert process.stderr
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(seconds, stop)
    timer.start()
    try:
        # A line is at most COLUMNS and a note, except where ripgrep complains.
        while raw := process.stdout.readline(1 << 16):
            if raw.rstrip() == b"--":
                yield None
            elif (found := _LINE.fullmatch(raw.rstrip(b"\r\n"))) and int(found[1]) in index:
                text = found[4].decode(errors="replace")
                yield Line(index[int(found[1])], int(found[2] or 0), found[3] != b"-", text)
        complaint = process.stderr.read(1 << 16).decode(errors="replace")
        if process.wait() == 2 and not complaint.startswith("/proc/"):
            raise ToolError(f"the pattern cannot be used. {_explained(complaint)}")
    finally:
        timer.cancel()
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()
    if late.is_set():
        raise TimeoutError


def _explained(complaint: str) -> str:
    text = complaint.strip().removeprefix("rg: ")[:_ERROR_SHOWN]
    return f"Use Rust's syntax of regular expressions, without look-around and back-references.\n{text}"
