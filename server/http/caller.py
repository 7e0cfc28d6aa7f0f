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
        anonymous: nothing was asked of the caller, so that others go by the same name. What belongs to such callers is
            found only by those who know its random id, and never listed.
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
