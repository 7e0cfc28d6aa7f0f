"""What a model wrote as a call's arguments."""

from __future__ import annotations

import json
from typing import Any


def arguments_object(arguments: str) -> dict[str, Any]:
    """The object that ``arguments`` is; empty where it is none."""
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
