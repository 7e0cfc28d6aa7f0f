"""What a program inside answers, made harmless: any bytes come in, typed and bounded values go out."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from .output import visible

_PART_LIMIT = 20_000  # characters; the program inside cuts earlier
FIGURES, FIGURE_BYTES = 8, 2 << 20  # of one execution, as the program inside keeps to
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Figure:
    """A picture that the code drew: PNG bytes, and the size in pixels that their header claims."""

    png: bytes
    width: int
    height: int


class Message(msgspec.Struct):
    """A line of the program's as it comes. What else is in it is skipped, so that nothing large is made of it.

    Args:
        id: the caller's nonce, if it is an answer.
        figures: a JSON list of base64 texts.
    """

    id: str
    value: str | None = None
    traceback: str | None = None
    figures: msgspec.Raw = msgspec.Raw(b"[]")


_MESSAGE, _TEXTS = msgspec.json.Decoder(Message), msgspec.json.Decoder(list[str])


def message_of(line: bytes | bytearray) -> Message | None:
    """None for what no program of ours would say."""
    try:
        return _MESSAGE.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


@dataclass(frozen=True)
class Answer:
    """How an execution ended.

    Args:
        value: repr of a cell's last expression, None when there was none.
        traceback: None when it went well.
        figures: what matplotlib drew.
    """

    value: str | None = None
    traceback: str | None = None
    figures: tuple[Figure, ...] = ()

    @classmethod
    def of(cls, message: Message) -> Answer:
        value, traceback = (part and visible(part[:_PART_LIMIT]) for part in (message.value, message.traceback))
        return cls(value, traceback, tuple(_figures(bytes(message.figures))))


def _figures(given: bytes) -> Iterator[Figure]:
    if given.count(b'"') > 2 * FIGURES:  # of which the program keeps to, and no list is made
        return
    try:
        parts = _TEXTS.decode(given)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    for part in parts:
        if len(part) > 2 * FIGURE_BYTES:
            continue
        try:
            png = base64.b64decode(part, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(png) <= FIGURE_BYTES and png.startswith(_PNG) and png[12:16] == b"IHDR" and len(png) >= 24:
            yield Figure(png, *struct.unpack(">II", png[16:24]))
