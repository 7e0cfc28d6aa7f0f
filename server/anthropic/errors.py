"""Errors in Anthropic's shape: ``{"type": "error", "error": {"type", "message"}}``."""

from __future__ import annotations

from typing import Literal, TypedDict

PATH = "/v1/messages"
"""Requests to paths that begin so get their errors in this shape."""

_TYPES = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large",
    429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


class AnthropicErrorDetail(TypedDict):
    """What was wrong."""

    type: str
    message: str


class AnthropicError(TypedDict):
    """What every failed request answers."""

    type: Literal["error"]
    error: AnthropicErrorDetail


def error_body(status: int, message: str, code: str | None = None) -> AnthropicError:
    """What an error answers. Clients look for Anthropic's own words when a prompt is too long."""
    kind = _TYPES.get(status) or ("api_error" if status >= 500 else "invalid_request_error")
    if code == "context_length_exceeded":
        message = f"prompt is too long: {message}"
    return {"type": "error", "error": {"type": kind, "message": message}}
