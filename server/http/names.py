"""Which Host names are ours, and how names of origins are written."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def hosts_for(bind: str, allowed: Iterable[str]) -> list[str]:
    """The Host names to admit: those the operator lists, else loopback and the bound address.

    Bound to all addresses, the server goes by names it cannot know; there a key is required instead.
    """
    listed = list(allowed)
    if listed:
        return [*listed, *LOOPBACK]
    return ["*"] if is_wildcard(bind) else [*LOOPBACK, bind]


def as_browsers_write(origins: Iterable[str]) -> tuple[str, ...]:
    """Origins in lower case and without a slash at their ends, as they are in headers."""
    return tuple(origin.lower().rstrip("/") for origin in origins)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
