"""Whether a call of an external server's tool may run: what the operator said before, or a person says now.

The hosted loop calls tools through a registry, so approval is a tool around each external tool. A face that cannot ask
while a call waits (the Responses API) asks the policy first, and calls only what it may.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from ...tools.interaction import Ask, Question
from ...tools.spec import JsonObject, Tool, ToolContext, ToolResult, failure
from ..external.config import Approval

if TYPE_CHECKING:
    from ...tools.remote import RemoteTool

_PATIENCE = 3600.0  # seconds that a person may take to answer; the call itself has its own timeout

Verdict = Literal["once", "always", "no"]


@dataclass(frozen=True)
class Asked:
    """What a person is asked to allow.

    Args:
        label: the server, as the operator named it. tool: the tool, as the server names it.
        arguments: what the model wants to send.
        changed: the tool's definition is not the one that was listed, or allowed before.
    """

    label: str
    tool: str
    arguments: JsonObject
    changed: bool = False

    def text(self) -> str:
        """The arguments as one line of JSON."""
        return json.dumps(self.arguments, ensure_ascii=False)


_YES_OR_NO: JsonObject = {
    "type": "object",
    "properties": {"allow": {"type": "boolean", "title": "Allow this call"}},
    "required": ["allow"],
}

Asker = Callable[[Asked], Awaitable[Verdict]]


@dataclass
class ApprovalPolicy:
    """Remembers what was allowed for always, by the definition that was allowed.

    Args:
        mode: ``never`` asks for nothing but changed definitions.
    """

    mode: Approval = "ask"
    _allowed: dict[tuple[str, str], str] = field(default_factory=dict)

    def asks(self, tool: RemoteTool, arguments: JsonObject) -> Asked | None:
        """What to ask before this call, or None: it may run."""
        key, now = (tool.label, tool.definition.name), tool.fingerprint
        changed = now not in (None, self._allowed.get(key, tool.definition.fingerprint))
        if not changed and (self.mode == "never" or tool.approved or key in self._allowed):
            return None
        return Asked(tool.label, tool.definition.name, arguments, changed)

    def allow(self, tool: RemoteTool) -> None:
        """From now on this tool may be called, as long as its definition stays what it is now."""
        self._allowed[tool.label, tool.definition.name] = tool.fingerprint or tool.definition.fingerprint


class ApprovedTool(Tool):
    """An external tool that runs when the policy, or whoever is asked, lets it.

    Args:
        ask: None where nobody can be asked: what would have to be asked is refused.
    """

    def __init__(self, tool: RemoteTool, policy: ApprovalPolicy, ask: Asker | None) -> None:
        self.spec = replace(tool.spec, timeout=tool.spec.timeout + _PATIENCE)
        self._tool = tool
        self._policy = policy
        self._ask = ask

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        shown = self._tool.fingerprint
        asked = self._policy.asks(self._tool, arguments)
        if asked is not None:
            verdict = "no" if self._ask is None else await self._ask(asked)
            if verdict == "no":
                return failure(f"the call of {self.spec.name} was not approved. Go on without it, or ask the user.")
            if self._tool.fingerprint != shown:
                return failure(f"{self.spec.name} was changed while its call was approved, so it was not called.")
            if verdict == "always":
                self._policy.allow(self._tool)
        return await self._tool.call(arguments, context)


def approval_by(ask: Ask) -> Asker:
    """Approval as a question like any other, for clients that show a person forms."""

    async def approve(asked: Asked) -> Verdict:
        changed = " Its definition has changed since it was listed or allowed." if asked.changed else ""
        message = f"May the tool {asked.tool} be called?{changed}\n{asked.text()}"
        reply = await ask(Question(asked.label, message, _YES_OR_NO))
        allowed = reply.action == "accept" and (reply.content or {}).get("allow") is True
        return "once" if allowed else "no"

    return approve


def approved(tools: Iterable[RemoteTool], policy: ApprovalPolicy, ask: Asker | None) -> list[Tool]:
    """Each of ``tools`` behind ``policy``."""
    return [ApprovedTool(tool, policy, ask) for tool in tools]
