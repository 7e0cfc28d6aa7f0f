"""The audit log: a JSON object for every call of a hosted tool. Who called what, how it ended; not what it said."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path

from ..http.request_id import request_id
from .calls import ToolCall

_log = logging.getLogger("agenthost.audit")


def record(call: ToolCall) -> None:
    """Note a call that is over. Of the session's id, a secret, only the start is told."""
    entry = {
        "time": round(time.time(), 3), "request_id": request_id.get(), "door": call.door, "owner": call.owner,
        "session": call.session[:8], "tool": call.tool, "call_id": call.call_id, "verdict": call.verdict,
        "arguments_size": call.arguments_size, "output_size": call.output_size, "seconds": round(call.seconds, 4),
    }  # fmt: skip
    _log.info("%s", json.dumps(entry))


def write_to(file: Path) -> None:
    """Append all entries to ``file``, which only its owner can read. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(message)s"))
    _log.addHandler(handler)
    _log.setLevel(logging.INFO)
    _log.propagate = False
