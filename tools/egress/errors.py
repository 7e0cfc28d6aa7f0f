"""Why a connection was not made. No text holds a resolved address: what a name points to is no page's business."""

from __future__ import annotations


class EgressError(Exception):
    """A connection that was not made, or was ended; the message says why and what to do next."""


class Refused(EgressError):
    """The policy forbids it."""


class Unreachable(EgressError):
    """Allowed, but nothing answered."""


class OverBudget(EgressError):
    """The session has used up the bytes that it may exchange with the network."""
