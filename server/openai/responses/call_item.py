"""The item of a call: how it looks while the model writes it, while its tool works, and when it is done.

Every method returns the events that the moment calls for, without their places in the stream.
"""

from __future__ import annotations

from ...agent.events import CallFinished
from ...json_values import JsonObject
from .items import item_id
from .tools import Face

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
        namespace = {"namespace": self.face.label} if self.face.label else {}
        return {
            "type": "function_call", "status": "in_progress", "arguments": "", "call_id": self.call_id,
            "name": self.face.tool or self.name, **namespace,
        }  # fmt: skip

    def begun(self) -> Events:
        return [self._added()]

    def writing(self, text: str) -> Events:
        return [self._event("response.function_call_arguments.delta", delta=text)]

    def written(self, arguments: str, complete: bool) -> Events:
        self.item.update(arguments=arguments, status="completed" if complete else "incomplete")
        done = self._event("response.function_call_arguments.done", arguments=arguments, name=self.item["name"])
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
