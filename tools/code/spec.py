"""The `python` tool as models see it, and how its result reads."""

from __future__ import annotations

from collections.abc import Sequence

from ..spec import Annotations, ToolSpec, parameters

PYTHON = ToolSpec(
    name="python",
    description="Run Python code in a sandbox. Variables are kept between calls. Returns what the code prints and the "
    "value of the last expression.",
    parameters=parameters({"code": {"type": "string", "description": "Python source code"}}, ["code"]),
    annotations=Annotations(destructive=True),
    timeout=60.0,
)

NO_OUTPUT = "(no output)"
STATE_KEPT = "Variables are kept."
STATE_LOST = "Python was restarted: variables are gone, files are kept."
RESTARTED = "Note: Python was restarted since the last call: variables are gone, files are kept."


def python_text(stdout: str, stderr: str, value: str | None, traceback: str | None) -> str:
    """The result that the model reads: stdout, then stderr, then the last expression's repr, then the traceback.

    Each part starts on a line of its own, none ends with a newline, and nothing at all reads ``(no output)``.

    >>> python_text("a\\n", "", "3", None)
    'a\\n3'
    >>> python_text("", "", None, None)
    '(no output)'
    """
    parts = [part.rstrip("\n") for part in (stdout, stderr, value, traceback) if part]
    return "\n".join(part for part in parts if part) or NO_OUTPUT


def with_figures(text: str, sizes: Sequence[tuple[int, int]]) -> str:
    """``text`` with a line for each figure that was drawn, (width, height) in pixels.

    >>> with_figures("(no output)", [(640, 480)])
    '[figure 1: 640x480 PNG]'
    """
    lines = [f"[figure {number}: {width}x{height} PNG]" for number, (width, height) in enumerate(sizes, start=1)]
    return "\n".join(([] if lines and text == NO_OUTPUT else [text]) + lines)
