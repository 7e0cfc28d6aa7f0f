"""What only the operator may ask for, since all others wait or pay for it."""

from __future__ import annotations

from ..http.caller import Caller
from .errors import ApiError
from .schemas import GenerationRequest


def check_operator(caller: Caller) -> None:
    """Raises :class:`ApiError` for anybody else."""
    if not caller.operator:
        raise ApiError(
            "Only the operator's key may do this: the one that the server was started with as --api-key.",
            status=403,
            code="operator_only",
        )


def check_priority(asked: GenerationRequest, caller: Caller) -> None:
    """Nobody but the operator may pass those who wait. Raises :class:`ApiError`."""
    if (asked.priority or 0) < 0 and not caller.operator:
        raise ApiError(
            f"priority is {asked.priority}. Only the operator's key may go before others; give 0 or more.",
            code="invalid_value",
            param="priority",
        )
