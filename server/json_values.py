"""JSON objects, and how JSON that models and clients have written is read so that every text in it can be encoded.

Whoever cuts text by its length leaves halves of surrogate pairs, which JSON can escape and UTF-8 cannot carry. Each
half becomes U+FFFD.
"""

from __future__ import annotations

import json
import re
from typing import Any

JsonObject = dict[str, Any]

_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def loads(text: str) -> Any:
    """The value of ``text``. Raises ValueError, also for what is nested too deep."""
    try:
        value = json.loads(text)
        return json.loads(whole(json.dumps(value, ensure_ascii=False))) if _HALF.search(text) else value
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error


def loads_object(text: str) -> JsonObject:
    """The object that ``text`` is, such as a call's arguments; empty where it is none."""
    try:
        value = loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def whole(text: str) -> str:
    """``text`` with U+FFFD for each half of a surrogate pair."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
