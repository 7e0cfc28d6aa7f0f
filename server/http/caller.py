"""Who sends a request, as the server names callers. Sessions, files and stored answers belong to such a name."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from .keys import UNLIMITED, Limits


@dataclass(frozen=True)
class Caller:
    """One who may call.

    Args:
        name: equal for all requests of the same caller, and for nobody else's.
        limits: what the caller may have.
        anonymous: nothing was asked of the caller: the server has no keys, and all who reach it go by one name and own
            the same files, containers and responses. MCP clients do not know of each other, so no session that one of
            them made is listed for others; its random id opens it.
        operator: may do what is felt by all callers.
    """

    name: str
    anonymous: bool = False
    limits: Limits = UNLIMITED
    operator: bool = False


ANYBODY = Caller("local", anonymous=True, operator=True)
KEYHOLDER = Caller("local", operator=True)


def set_caller(scope: Scope, caller: Caller) -> None:
    """Note who sends the request of ``scope``. The guard does it, before any route sees the request."""
    scope.setdefault("state", {})["caller"] = caller


def caller_of(scope: Scope) -> Caller:
    """Who sends the request of ``scope``."""
    return scope["state"]["caller"]


def has_caller(scope: Scope) -> bool:
    """Whether it is known who sends the request: not yet on paths that check tokens themselves."""
    return "caller" in scope.get("state", {})
