"""JSON as Python has it."""

from __future__ import annotations

from typing import Any

JsonObject = dict[str, Any]
