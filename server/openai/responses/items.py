"""Items, the pieces of input and output, and the chat messages that they make.

What the model wrote in one turn is one message, but several items. Their ids say which belong together: after the
prefix stand 22 hexadecimal digits for the turn and two for the place in it, and so in the ids of calls. Items that
come with other ids are put together by their order.

Keys that begin with ``_`` are not for clients: what a hosted tool was called with, and all that it gave back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, cast

from ...json_values import JsonObject
from .mcp.approvals import Approvals, ApprovedCall
from .sealed import Unsealer

Private = Callable[[str], Mapping[str, Any] | None]
Named = Callable[[str, str], str]

_OURS = re.compile(r"[a-z]+_([0-9a-f]{22})([0-9a-f]{2})")


class ItemError(ValueError):
    """An item cannot be understood; ``index`` is its place in the list."""

    def __init__(self, message: str, index: int) -> None:
        super().__init__(message)
        self.index = index


def item_id(prefix: str, turn: str, place: int) -> str:
    return f"{prefix}_{turn}{place:02x}"


class Item(TypedDict):
    """A piece of input or output, with the further keys of its type."""

    id: str
    type: str


def public(item: Mapping[str, Any]) -> Item:
    """The item as clients see it."""
    return cast(Item, {key: value for key, value in item.items() if not key.startswith("_")})


@dataclass(frozen=True)
class Read:
    """The chat messages that items make, and the calls among them that were approved and are to run.

    Those have empty results in the messages.
    """

    messages: list[JsonObject]
    approved: list[ApprovedCall]


def read_items(
    items: Sequence[Mapping[str, Any]], private: Private | None = None, named: Named | None = None, *, old: int = 0
) -> Read:
    """Read ``items``. Raises :class:`ItemError`.

    Args:
        private: finds the private keys of an item that a client sends back, by its id.
        named: what the model calls a tool of a server, of the server's label and its own name.
        old: how many of the items came before the request.
    """
    builder = _Builder(private or (lambda _: None), named or (lambda _, name: name), old)
    for index, item in enumerate(items):
        try:
            builder.add(item)
        except (KeyError, TypeError, AttributeError) as error:
            kind = item.get("type") if isinstance(item, Mapping) else type(item).__name__
            raise ItemError(f"an item of type {kind!r} is incomplete or malformed ({error}).", index) from error
        except ValueError as error:
            raise ItemError(str(error), index) from error
    return Read(builder.finish(), builder.approvals.approved)


class _Builder:
    def __init__(self, private: Private, named: Named, old: int) -> None:
        self.approvals = Approvals()
        self._named = named
        self._old = old
        self._count = 0
        self._messages: list[JsonObject] = []
        self._turn: JsonObject | None = None
        self._turn_id: str | None = None
        self._words: list[str] = []
        self._thoughts: list[str] = []
        self._results: list[JsonObject] = []
        self._private = private
        self._unsealer = Unsealer()

    def add(self, item: Mapping[str, Any]) -> None:
        self._count += 1
        kind = item.get("type") or ("message" if "role" in item else None)
        match kind:
            case "message":
                self._message(item)
            case "reasoning":
                self._assistant(item)
                self._thoughts.append(self._thought(item))
            case "function_call":
                namespace = f"{item['namespace']}." if item.get("namespace") else ""
                self._call(item, item["call_id"], namespace + item["name"], item["arguments"])
            case "custom_tool_call":
                self._call(item, item["call_id"], item["name"], json.dumps({"input": item["input"]}))
            case "local_shell_call" | "shell_call":
                self._call(item, item["call_id"], kind.removesuffix("_call"), json.dumps(_action(item["action"])))
            case "apply_patch_call":
                self._call(item, item["call_id"], "apply_patch", json.dumps(item["operation"]))
            case "mcp_approval_request":
                self._asked(item)
            case "mcp_approval_response":
                self.approvals.answer(item, new=self._count > self._old)
            case "code_interpreter_call" | "web_search_call" | "mcp_call" | "tool_search_call":
                self._hosted(item)
            case str() if kind.endswith("_call_output"):
                self._output(item)
            case "agent_message":  # another agent's words, for this one
                self._message({"role": "user", "content": item["content"]})
            case "mcp_list_tools" | "compaction_trigger":
                pass
            case "compaction":
                self._finish_turn()
                self._messages.append({"role": "user", "content": self._unsealer.read(item["encrypted_content"])})
            case _:
                raise ValueError(f"items of type {kind!r} are not supported here.")

    def finish(self) -> list[JsonObject]:
        self._finish_turn()
        return [*self._messages, *self.approvals.results()]

    def _message(self, item: Mapping[str, Any]) -> None:
        if item["role"] != "assistant":
            self._finish_turn()
            self._messages += self.approvals.results()
            self._messages.append({"role": item["role"], "content": item["content"]})
            return
        self._assistant(item)
        self._words.append(_text(item["content"]))

    def _thought(self, item: Mapping[str, Any]) -> str:
        content = "".join(part["text"] for part in item.get("content") or ())
        return content or self._unsealer.read(item.get("encrypted_content"))

    def _call(self, item: Mapping[str, Any], call_id: str, name: str, arguments: str) -> None:
        call = {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        self._assistant(item).setdefault("tool_calls", []).append(call)

    def _hosted(self, item: Mapping[str, Any]) -> None:
        item, call_id = self._whole(item)
        name, arguments, output = _worked(item, self._named)
        if item["type"] == "mcp_call" and self.approvals.ran(item, output):
            return
        self._call(item, call_id, name, arguments)
        self._results.append({"role": "tool", "tool_call_id": call_id, "name": name, "content": output})

    def _asked(self, item: Mapping[str, Any]) -> None:
        item, call_id = self._whole(item)
        name, arguments, _ = _worked(item, self._named)
        self._call(item, call_id, name, arguments)
        call = ApprovedCall(call_id, *_texts(item, "server_label", "name", "arguments"))
        self.approvals.ask(item["id"], call, name)

    def _whole(self, item: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
        """The item of a call with its private keys, and the call's id."""
        item = {**item, **(self._private(item["id"]) or {})}
        ours = _OURS.fullmatch(item["id"])
        return item, item.get("_call_id") or (f"call_{ours[1]}{ours[2]}" if ours else item["id"])

    def _output(self, item: Mapping[str, Any]) -> None:
        self._finish_turn()
        output = item.get("output")
        content = output if isinstance(output, str) else _parts(output)
        self._messages.append({"role": "tool", "tool_call_id": item.get("call_id") or item["id"], "content": content})

    def _assistant(self, item: Mapping[str, Any]) -> JsonObject:
        """The turn that ``item`` belongs to."""
        ours = _OURS.fullmatch(str(item.get("id", "")))
        turn_id = ours[1] if ours else None
        same = turn_id == self._turn_id if turn_id and self._turn_id else not self._results
        same = same and not self.approvals.answered
        if self._turn is None or not same:
            self._finish_turn()
            self._messages += self.approvals.results()
            self._turn = {"role": "assistant", "content": ""}
            self._turn_id = turn_id
        return self._turn

    def _finish_turn(self) -> None:
        if self._turn is not None:
            self._turn["content"] = "".join(self._words)
            if self._thoughts:
                self._turn["reasoning_content"] = "".join(self._thoughts)
            self._messages += [self._turn, *self._results]
        self._turn, self._turn_id, self._words, self._thoughts, self._results = None, None, [], [], []


def _worked(item: Mapping[str, Any], named: Named) -> tuple[str, str, str]:
    """Name, arguments and output of a hosted tool's call."""
    kind = item["type"]
    if "_name" in item:
        return item["_name"], item["_arguments"], item.get("_output") or ""
    if kind == "code_interpreter_call":
        logs = [output["logs"] for output in item.get("outputs") or () if output.get("type") == "logs"]
        return "python", json.dumps({"code": item.get("code") or ""}), "\n".join(logs) or "(the output was not kept)"
    if kind in ("mcp_call", "mcp_approval_request"):
        label, tool, arguments = _texts(item, "server_label", "name", "arguments")
        output = item.get("output") or item.get("error") or ""
        return named(label, tool), arguments, output if isinstance(output, str) else json.dumps(output)
    if kind == "tool_search_call":
        return "search_tools", json.dumps(item.get("arguments") or {}), "(the result was not kept)"
    action = item.get("action") or {}
    match action.get("type"):
        case "open_page":
            name, arguments = "open", {"id": action.get("url") or ""}
        case "find" | "find_in_page":
            name, arguments = "find", {"pattern": action.get("pattern") or ""}
        case _:
            name, arguments = "search", {"query": action.get("query") or ""}
    return name, json.dumps(arguments), "(the result was not kept)"


def _texts(item: Mapping[str, Any], *keys: str) -> list[str]:
    """The strings under ``keys``. Raises KeyError and TypeError."""
    for key in keys:
        if not isinstance(item[key], str):
            raise TypeError(f"{key} must be a string")
    return [item[key] for key in keys]


def _action(action: Mapping[str, Any]) -> JsonObject:
    return {key: value for key, value in action.items() if key != "type" and value is not None and value != {}}


def _parts(output: object) -> object:
    """A tool's output as a chat message's content. What is not text parts goes to the model as JSON."""
    parts = output if isinstance(output, list) else None
    if parts is not None and all(isinstance(p, Mapping) and isinstance(p.get("text"), str) for p in parts):
        return [{"type": "text", "text": part["text"]} for part in parts]
    if parts is not None and any(
        isinstance(p, Mapping) and p.get("type") in ("input_image", "input_file") for p in parts
    ):
        raise ValueError("images and files in a tool's output are not supported: this model reads text only.")
    return json.dumps(output, ensure_ascii=False)


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Iterable):
        raise ValueError("the content of an assistant's message must be text or a list of parts.")
    return "".join(part.get("text") or part.get("refusal") or "" for part in content)
