"""How the file tools run and answer: in a thread, with text and structured content."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from ..spec import ToolContext, ToolResult
from .beneath import Root
from .threads import Work
from .versions import Versions

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(
    context: ToolContext, work: Callable[Concatenate[Root, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """``work(root, ...)`` off the event loop.

    Cancellation does not wait for it: every piece of work is bounded in what it reads, writes and walks.
    """
    return await _work(context).run(partial(work, context.session.files, *args, **kwargs))


async def in_turn(
    context: ToolContext, work: Callable[Concatenate[Root, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """As :func:`in_thread`, for work that writes: one after the other, so that no edit is lost to another."""
    return await _work(context).run(partial(work, context.session.files, *args, **kwargs), alone=True)


def _work(context: ToolContext) -> Work:
    context.session.touch()
    return context.session.keep(Work, Work)


def versions(context: ToolContext) -> Versions:
    """What this session's tools know of its files."""
    return context.session.keep(Versions, Versions)


def content(text: str, structured: str | None = None, *, version: str | None = None) -> ToolResult:
    """A result whose structured form is ``{"content": ...}``, the same text if ``structured`` is not given.

    Args:
        version: of the file that was read or written, for tools whose output schema has it.
    """
    known = {"content": text if structured is None else structured}
    return ToolResult(text=text, structured=known if version is None else {**known, "version": version})


def page_note(what: str, offset: int, shown: int, total: int) -> str:
    """A line for the end of a result that shows ``shown`` of ``total``; an empty text if that is all."""
    if offset == 0 and shown == total:
        return ""
    if shown == 0:
        return f"\n[no {what} from offset {offset} on: there are {total}.]"
    end = offset + shown
    more = f" Continue with offset {end}." if end < total else ""
    return f"\n[{what} {offset + 1} to {end} of {total}.{more}]"


def printable(name: str) -> str:
    """A file name on one line, whatever it holds: control characters and bytes that are not UTF-8 are escaped."""
    if name.isprintable():
        return name
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
