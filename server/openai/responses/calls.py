"""The items of calls: how each kind looks while the model writes it, while its tool works, and when it is done.

Every method returns the events that the moment calls for, without their places in the stream.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from ...agent.events import CallFinished
from .items import item_id
from .json_text import TextField
from .tools import Face

JsonObject = dict[str, Any]
Events = list[JsonObject]


class CallItem:
    """A call of the client's function. Other kinds override what differs.

    Args:
        id: the call's. turn, place: see :mod:`items`.
        container: the container that hosted tools work in.
    """

    prefix = "fc"

    def __init__(self, id: str, name: str, turn: str, place: int, face: Face, container: str) -> None:
        self.call_id = id
        self.name = name
        self.face = face
        self.arguments = ""
        self.container = container
        self.item: JsonObject = {"id": item_id(self.prefix, turn, place), **self.begin()}

    def begin(self) -> JsonObject:
        return {
            "type": "function_call", "status": "in_progress", "arguments": "", "call_id": self.call_id,
            "name": self.name,
        }  # fmt: skip

    def begun(self) -> Events:
        return [self._added()]

    def writing(self, text: str) -> Events:
        return [self._event("response.function_call_arguments.delta", delta=text)]

    def written(self, arguments: str, complete: bool) -> Events:
        self.item.update(arguments=arguments, status="completed" if complete else "incomplete")
        done = self._event("response.function_call_arguments.done", arguments=arguments, name=self.name)
        return [done, self._done()]

    def started(self) -> Events:
        return []

    def finished(self, call: CallFinished) -> Events:
        return []

    def _added(self) -> JsonObject:
        return {"type": "response.output_item.added", "item": self.item}

    def _done(self) -> JsonObject:
        return {"type": "response.output_item.done", "item": self.item}

    def _event(self, type: str, **more: object) -> JsonObject:
        return {"type": type, "item_id": self.item["id"], **more}

    def _keep(self, call: CallFinished) -> None:
        """What the model needs of a hosted call when the item comes back."""
        self.item.update(
            _name=self.name, _arguments=call.arguments, _output=call.output, _call_id=self.call_id,
            _container=self.container,
        )  # fmt: skip


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
        values = _object(arguments)
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
        self.item["action"] = _browsing(self.name, _object(arguments))
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


class McpCall(CallItem):
    prefix = "mcp"

    def begin(self) -> JsonObject:
        return {
            "type": "mcp_call", "status": "in_progress", "approval_request_id": None, "arguments": "", "error": None,
            "name": self.name, "output": None, "server_label": self.face.label,
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
            content = [{"type": "text", "text": call.output}]
            self.item.update(status="failed", error={"type": "mcp_tool_execution_error", "content": content})
            return [self._event("response.mcp_call.failed"), self._done()]
        self.item.update(status="completed", output=call.output)
        return [self._event("response.mcp_call.completed"), self._done()]


_KINDS: dict[str, type[CallItem]] = {
    "function": CallItem, "custom": CustomCall, "local_shell": ActionCall, "shell": ActionCall,
    "apply_patch": ActionCall, "code_interpreter": CodeCall, "web_search": SearchCall, "mcp": McpCall,
}  # fmt: skip


@dataclass(frozen=True)
class CallItems:
    """Makes the items of one response's calls."""

    faces: dict[str, Face]
    container: str

    def make(self, id: str, name: str, turn: str, place: int) -> CallItem:
        """A name that is no tool's makes a function call."""
        face = self.faces.get(name, Face("function"))
        return _KINDS[face.kind](id, name, turn, place, face, self.container)


def _browsing(name: str, values: JsonObject) -> JsonObject:
    match name:
        case "open":
            return {"type": "open_page", "url": str(values.get("id", ""))}
        case "find":
            return {"type": "find_in_page", "pattern": str(values.get("pattern", "")), "url": ""}
        case _:
            query = str(values.get("query", ""))
            return {"type": "search", "query": query, "queries": [query]}


def _object(arguments: str) -> JsonObject:
    try:
        values = json.loads(arguments)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _value(arguments: str, key: str) -> str:
    """The text under ``key``, also of arguments that were cut off."""
    values = _object(arguments)
    value = values.get(key) if values else TextField(key).feed(arguments)
    return value if isinstance(value, str) else ""
