"""What keeps a benchmark from going on. The messages are for its user."""

from __future__ import annotations


class BenchError(Exception):
    """The base of these errors."""


class RequestFailed(BenchError):
    """The server refused a request, or its answer broke off or was none."""


class ServerFailed(BenchError):
    """The benchmark's own server could not be started, or the given one could not be reached."""
