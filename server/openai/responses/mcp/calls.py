"""Items of calls that go to MCP servers, and of those that must be approved first."""

from __future__ import annotations

import json

from .....tools.remote.tool import CHANGED as HAS_CHANGED
from ....agent.events import CallFinished
from ....json_values import JsonObject, loads_object
from ..call_item import CallItem, Events
from ..tools import Face
from .approvals import request_id
from .listing import CHANGED


class McpCall(CallItem):
    prefix = "mcp"

    def begin(self) -> JsonObject:
        return {
            "type": "mcp_call", "status": "in_progress", "approval_request_id": None, "arguments": "", "error": None,
            "name": self.face.tool or self.name, "output": None, "server_label": self.face.label,
        }  # fmt: skip

    def begun(self) -> Events:
        return [self._added(), self._event("response.mcp_call.in_progress")]

    def writing(self, text: str) -> Events:
        return [self._event("response.mcp_call_arguments.delta", delta=text)]

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["arguments"] = arguments
        done = [self._event("response.mcp_call_arguments.done", arguments=arguments)]
        if complete:
            return done
        self.item["status"] = "incomplete"
        return [*done, self._done()]

    def finished(self, call: CallFinished) -> Events:
        self._keep(call)
        if call.is_error:
            self.item.update(status="failed", error=_error(call))
            return [self._event("response.mcp_call.failed"), self._done()]
        self.item.update(status="completed", output=call.output)
        return [self._event("response.mcp_call.completed"), self._done()]


class ApprovedCall(McpCall):
    """A call of an earlier turn, which may run now."""

    def begin(self) -> JsonObject:
        return {**super().begin(), "approval_request_id": request_id(self.call_id)}


class HeldCall(McpCall):
    """A call that must be approved. It shows when it is whole, as what asks for that."""

    def begun(self) -> Events:
        return []

    def writing(self, text: str) -> Events:
        return []

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["arguments"] = arguments
        if complete:
            return self._ask()
        added = {"type": "response.output_item.added", "item": dict(self.item)}
        self.item["status"] = "incomplete"
        return [added, self._done()]

    def _ask(self) -> Events:
        for key in ("status", "approval_request_id", "error", "output"):
            del self.item[key]
        self.item.update(id=request_id(self.call_id), type="mcp_approval_request", _call_id=self.call_id)
        return [self._added(), self._done()]


class DeferredCall(HeldCall):
    """A call by way of `call_tool`: of which tool shows when it is whole."""

    def written(self, arguments: str, complete: bool) -> Events:
        values = loads_object(arguments)
        inner = self.face.inner.get(str(values.get("name")), Face("mcp"))
        passed = json.dumps(values.get("arguments", {}), ensure_ascii=False)
        self.item.update(
            name=inner.tool or str(values.get("name", "")), server_label=inner.label, arguments=passed,
            _name=self.name, _arguments=arguments,
        )  # fmt: skip
        if complete and inner.kind == "mcp_held":
            return self._ask()
        begun = [*McpCall.begun(self), self._event("response.mcp_call_arguments.delta", delta=passed)]
        return [*begun, *McpCall.written(self, passed, complete)]


class ToolSearch(CallItem):
    """A search for tools whose definitions the model has not been given."""

    prefix = "tsc"

    def begin(self) -> JsonObject:
        return {
            "type": "tool_search_call", "status": "in_progress", "call_id": self.call_id, "execution": "server",
            "arguments": {},
        }  # fmt: skip

    def begun(self) -> Events:
        return []

    def writing(self, text: str) -> Events:
        return []

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["arguments"] = loads_object(arguments)
        added = {"type": "response.output_item.added", "item": dict(self.item)}
        if complete:
            return [added]
        self.item["status"] = "incomplete"
        return [added, self._done()]

    def finished(self, call: CallFinished) -> Events:
        self.item["status"] = "completed"
        self._keep(call)
        return [self._done()]


def _error(call: CallFinished) -> JsonObject:
    if call.result is not None and (call.result.structured or {}).get(HAS_CHANGED):
        return {"type": "mcp_protocol_error", "code": CHANGED, "message": call.output}
    return {"type": "mcp_tool_execution_error", "content": [{"type": "text", "text": call.output}]}
