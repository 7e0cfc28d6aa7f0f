"""Errors as a model should read them: the user's own frames, both ends of what is long."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator

_CAP = 4000  # characters of a value or a traceback
_FRAMES = 12
_CHAIN = 3


def shorten(text: str) -> str:
    """Cut in the middle what is longer than the cap, and say so; lone surrogates, which are no text, become escapes."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= _CAP:
        return text
    half = _CAP // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def describe(error: BaseException, workspace: str) -> str:
    """The traceback as Python prints it, with the frames of cells and of files in ``workspace`` only."""
    try:
        return "\n".join(chain(error, workspace))
    except Exception as broken:  # an exception class of the cell with a broken __str__, say
        return f"{type(error).__name__} (its text could not be made: {type(broken).__name__})"


def chain(error: BaseException, workspace: str) -> Iterator[str]:
    parts = [one(error, workspace)]
    while len(parts) < 2 * _CHAIN - 1:
        if error.__cause__ is not None:
            error = error.__cause__
            parts.append("\nThe above exception was the direct cause of the following exception:\n")
        elif error.__context__ is not None and not error.__suppress_context__:
            error = error.__context__
            parts.append("\nDuring handling of the above exception, another exception occurred:\n")
        else:
            break
        parts.append(one(error, workspace))
    return reversed(parts)


def one(error: BaseException, workspace: str) -> str:
    """One exception of a chain."""
    if isinstance(error, SyntaxError) and is_cell(error.filename):
        lines = [f"  {place(error.filename, workspace)}, line {error.lineno}"]
        if error.text:
            text = error.text.rstrip("\n")
            lines.append("    " + text.lstrip())
            column = (error.offset or 1) - 1 - (len(text) - len(text.lstrip()))
            lines.append("    " + " " * max(column, 0) + "^")
        lines.append(f"{type(error).__name__}: {error.msg}")
        return "\n".join(lines)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename, workspace)]
    lines = ["Traceback (most recent call last):"] if frames else []
    left_out = len(frames) - 2 * _FRAMES
    for index, frame in enumerate(frames):
        if left_out > 0 and _FRAMES <= index < _FRAMES + left_out:
            if index == _FRAMES:
                lines.append(f"  [... {left_out} frames left out ...]")
            continue
        lines.append(f"  {place(frame.filename, workspace)}, line {frame.lineno}, in {frame.name}")
        if frame.line:
            lines.append("    " + frame.line)
    lines.append("".join(traceback.format_exception_only(type(error), error)).rstrip("\n"))
    return "\n".join(lines)


def is_cell(filename: str | None) -> bool:
    return isinstance(filename, str) and filename.startswith("<cell ")


def is_users(filename: str, workspace: str) -> bool:
    return is_cell(filename) or filename.startswith(workspace + "/")


def place(filename: str | None, workspace: str) -> str:
    """`Cell 1`, or `File "helper.py"` for a module of the workspace."""
    filename = filename or "?"
    if is_cell(filename):
        return "Cell " + filename[len("<cell ") : -1]
    return f'File "{os.path.relpath(filename, workspace)}"'
