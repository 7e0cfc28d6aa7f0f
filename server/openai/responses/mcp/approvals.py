"""Calls that need approval, as the items of a conversation tell of them: asked for, answered, run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ....json_values import JsonObject

_UNANSWERED = "Error: the user did not say whether this call may run, so it was not made."
_NOT_MADE = "Error: this call was approved, but not made. Make it again if it is still wanted."


def request_id(call_id: str) -> str:
    """The id of the item that asks whether a call may run."""
    return f"mcpr_{call_id.removeprefix('call_')}" if call_id.startswith("call_") else call_id


@dataclass(frozen=True)
class ApprovedCall:
    """A call that may run now. ``name`` and ``arguments`` are as the model gave them to the server's tool."""

    call_id: str
    label: str
    name: str
    arguments: str


@dataclass
class _Asked:
    call: ApprovedCall
    name: str  # as the model calls it
    approved: bool = False  # and by the request itself, so that it is to run
    output: str | None = None


class Approvals:
    """Give it the items in order. Between them, :meth:`results` tells what became of the calls so far.

    Attributes:
        approved: the calls that are to run. In :meth:`results` their outputs are empty.
    """

    def __init__(self) -> None:
        self.approved: list[ApprovedCall] = []
        self._asked: dict[str, _Asked] = {}

    @property
    def answered(self) -> bool:
        """There are answers of which no message tells yet."""
        return any(asked.approved or asked.output is not None for asked in self._asked.values())

    def ask(self, identity: str, call: ApprovedCall, name: str) -> None:
        """An ``mcp_approval_request`` with this id; ``name`` is what the model calls the tool."""
        self._asked[identity] = _Asked(call, name)

    def answer(self, item: Mapping[str, Any], *, new: bool) -> None:
        """An ``mcp_approval_response``; ``new`` says that it comes with the request. Raises ValueError."""
        identity, approve = item["approval_request_id"], item["approve"]
        if not isinstance(approve, bool):
            raise ValueError("approve must be true or false.")
        asked = self._asked.get(identity) if isinstance(identity, str) else None
        if asked is None or asked.output is not None or asked.approved:
            raise ValueError(f"there is no approval request with id {str(identity)[:100]!r} that waits for an answer.")
        if not approve:
            reason = item.get("reason")
            why = f" The reason: {reason}" if isinstance(reason, str) and reason else ""
            asked.output = f"Error: the user did not approve this call, so it was not made.{why}"
        elif new:
            asked.approved = True
        else:
            asked.output = _NOT_MADE  # unless it follows

    def ran(self, item: Mapping[str, Any], output: str) -> bool:
        """An ``mcp_call``: whether it is one that was asked for here, whose output is now known."""
        asked = self._asked.get(item.get("approval_request_id") or "")
        if asked is None:
            return False
        asked.output, asked.approved = output, False
        return True

    def results(self) -> list[JsonObject]:
        """What the model reads of the calls since the last time, in the order in which it made them."""
        messages: list[JsonObject] = []
        for asked in self._asked.values():
            if asked.approved:
                self.approved.append(asked.call)
            output = "" if asked.approved else asked.output or _UNANSWERED
            call_id = asked.call.call_id
            messages.append({"role": "tool", "tool_call_id": call_id, "name": asked.name, "content": output})
        self._asked = {}
        return messages
