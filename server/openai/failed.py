"""How a stream of chunks ends that cannot go on."""

from __future__ import annotations

import msgspec

from ..http.drain import stopping
from ..http.events import DONE, event
from .errors import from_exception


def failed(error: Exception) -> bytes:
    """The event that tells a client of ``error``."""
    return event(msgspec.json.encode(from_exception(error).body()))


STOPPED = failed(stopping()) + DONE
"""The end where the server stops."""
