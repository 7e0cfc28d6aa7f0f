"""What a program inside answers, made harmless: JSON of any shape comes in, typed and bounded values go out."""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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
    def of(cls, message: dict[str, Any]) -> Answer:
        return cls(
            value=_text(message.get("value")),
            traceback=_text(message.get("traceback")),
            figures=tuple(_figures(message.get("figures"))),
        )


def _text(part: object) -> str | None:
    """Text fit to be shown: of bounded length and without lone surrogates."""
    if not isinstance(part, str):
        return None
    return visible(part[:_PART_LIMIT].encode("utf-8", "backslashreplace").decode())


def _figures(parts: object) -> Iterator[Figure]:
    if not isinstance(parts, list):
        return
    for part in parts[:FIGURES]:
        if not isinstance(part, str) or len(part) > 2 * FIGURE_BYTES:
            continue
        try:
            png = base64.b64decode(part, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(png) <= FIGURE_BYTES and png.startswith(_PNG) and png[12:16] == b"IHDR" and len(png) >= 24:
            yield Figure(png, *struct.unpack(">II", png[16:24]))
