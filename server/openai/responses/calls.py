"""The items of calls, each kind with what differs from a call of the client's function."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass

from ...agent.events import CallFinished
from ...json_values import JsonObject, loads_object
from .call_item import CallItem, Events
from .json_text import TextField
from .mcp.calls import ApprovedCall, DeferredCall, HeldCall, McpCall, ToolSearch
from .tools import Face


class CustomCall(CallItem):
    prefix = "ctc"

    def begin(self) -> JsonObject:
        self._field = TextField("input")
        return {"type": "custom_tool_call", "call_id": self.call_id, "name": self.name, "input": ""}

    def writing(self, text: str) -> Events:
        more = self._field.feed(text)
        return [self._event("response.custom_tool_call_input.delta", delta=more)] if more else []

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["input"] = _value(arguments, "input")
        return [self._event("response.custom_tool_call_input.done", input=self.item["input"]), self._done()]


class ActionCall(CallItem):
    """Calls of the client's shells and patches, which show when they are whole."""

    @property
    def prefix(self) -> str:  # type: ignore[override]
        return {"local_shell": "lsh", "shell": "sh"}.get(self.face.kind, "apc")

    def begin(self) -> JsonObject:
        return {"type": f"{self.face.kind}_call", "call_id": self.call_id, "status": "in_progress"}

    def begun(self) -> Events:
        return []

    def writing(self, text: str) -> Events:
        return []

    def written(self, arguments: str, complete: bool) -> Events:
        values = loads_object(arguments)
        match self.face.kind:
            case "local_shell":
                self.item["action"] = {"type": "exec", "command": [], "env": {}, **values}
            case "shell":
                self.item["action"] = {"commands": [], "timeout_ms": None, "max_output_length": None, **values}
            case _:
                diff = {} if values.get("type") == "delete_file" else {"diff": ""}
                self.item["operation"] = {"type": "update_file", "path": "", **diff, **values}
        added = {"type": "response.output_item.added", "item": dict(self.item)}
        self.item["status"] = "completed" if complete else "incomplete"
        return [added, self._done()]


class CodeCall(CallItem):
    prefix = "ci"

    def begin(self) -> JsonObject:
        self._field = TextField("code")
        return {
            "type": "code_interpreter_call", "status": "in_progress", "code": "", "container_id": self.container,
            "outputs": None,
        }  # fmt: skip

    def begun(self) -> Events:
        return [self._added(), self._event("response.code_interpreter_call.in_progress")]

    def writing(self, text: str) -> Events:
        more = self._field.feed(text)
        return [self._event("response.code_interpreter_call_code.delta", delta=more)] if more else []

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["code"] = _value(arguments, "code")
        done = [self._event("response.code_interpreter_call_code.done", code=self.item["code"])]
        if complete:
            return done
        self.item["status"] = "incomplete"
        return [*done, self._done()]

    def started(self) -> Events:
        self.item["status"] = "interpreting"
        return [self._event("response.code_interpreter_call.interpreting")]

    def finished(self, call: CallFinished) -> Events:
        media = call.result.media if call.result is not None else ()
        outputs: list[JsonObject] = [{"type": "logs", "logs": call.output}]
        for medium in media:
            if medium.mime_type.startswith("image/"):
                data = base64.b64encode(medium.data).decode()
                outputs.append({"type": "image", "url": f"data:{medium.mime_type};base64,{data}"})
        self.item.update(status="completed", outputs=outputs)
        if call.result is not None and call.result.state_lost:
            self.item["state_lost"] = True  # an extension: variables of earlier calls are gone
        self._keep(call)
        return [self._event("response.code_interpreter_call.completed"), self._done()]


class SearchCall(CallItem):
    """A step in the browser, which shows when it is known what it is."""

    prefix = "ws"

    def begin(self) -> JsonObject:
        return {"type": "web_search_call", "status": "in_progress"}

    def begun(self) -> Events:
        return []

    def writing(self, text: str) -> Events:
        return []

    def written(self, arguments: str, complete: bool) -> Events:
        self.item["action"] = _browsing(self.name, loads_object(arguments))
        added = [{"type": "response.output_item.added", "item": dict(self.item)}]
        if complete:
            return [*added, self._event("response.web_search_call.in_progress")]
        self.item["status"] = "incomplete"
        return [*added, self._done()]

    def started(self) -> Events:
        self.item["status"] = "searching"
        return [self._event("response.web_search_call.searching")]

    def finished(self, call: CallFinished) -> Events:
        self.item["status"] = "failed" if call.is_error else "completed"
        self._keep(call)
        return [self._event("response.web_search_call.completed"), self._done()]


_KINDS: dict[str, type[CallItem]] = {
    "function": CallItem, "custom": CustomCall, "local_shell": ActionCall, "shell": ActionCall,
    "apply_patch": ActionCall, "code_interpreter": CodeCall, "web_search": SearchCall, "mcp": McpCall,
    "mcp_held": HeldCall, "mcp_deferred": DeferredCall, "tool_search": ToolSearch,
}  # fmt: skip


@dataclass(frozen=True)
class CallItems:
    """Makes the items of one response's calls."""

    faces: Mapping[str, Face]
    container: str

    def make(self, id: str, name: str, turn: str, place: int) -> CallItem:
        """A name that is no tool's makes a function call."""
        face = self.faces.get(name, Face("function"))
        earlier = not id.startswith(f"call_{turn}")
        kind = ApprovedCall if earlier and face.kind.startswith("mcp") else _KINDS[face.kind]
        return kind(id, name, turn, place, face, self.container)


def _browsing(name: str, values: JsonObject) -> JsonObject:
    match name:
        case "open":
            return {"type": "open_page", "url": str(values.get("id", ""))}
        case "find":
            return {"type": "find_in_page", "pattern": str(values.get("pattern", "")), "url": ""}
        case _:
            query = str(values.get("query", ""))
            return {"type": "search", "query": query, "queries": [query]}


def _value(arguments: str, key: str) -> str:
    """The text under ``key``, also of arguments that were cut off."""
    values = loads_object(arguments)
    value = values.get(key) if values else TextField(key).feed(arguments)
    return value if isinstance(value, str) else ""
