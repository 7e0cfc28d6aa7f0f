"""The tools of a request: those of the client, those that run here, and as which items their calls appear."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ....tools import Offer
from ....tools.remote.names import Aliases
from ....tools.remote.search import CALL, SEARCH
from ...agent.events import Call
from ...agent.hosted_tools import NotOffered, group_of, select
from ...json_values import JsonObject, loads_object
from ..errors import ApiError
from .mcp.approvals import ApprovedCall
from .mcp.wanted import MOST_SERVERS, Wanted, read_policy, read_wanted

Kind = Literal[
    "function", "custom", "local_shell", "shell", "apply_patch", "code_interpreter", "web_search", "mcp", "mcp_held",
    "mcp_deferred", "tool_search",
]  # fmt: skip

CONNECTOR = "agenthost_files"
_CODE = "code_interpreter"
_SEARCH = ("web_search", "web_search_2025_08_26", "web_search_preview", "web_search_preview_2025_03_11")

_TEXT: JsonObject = {"type": "string"}
_SHELLS: dict[str, tuple[str, JsonObject, list[str]]] = {
    "local_shell": (
        "Run a command on the user's machine.",
        {
            "command": {"type": "array", "items": _TEXT},
            "working_directory": _TEXT,
            "timeout_ms": {"type": "integer", "minimum": 1},
        },
        ["command"],
    ),
    "shell": (
        "Run shell commands.",
        {"commands": {"type": "array", "items": _TEXT, "minItems": 1}, "timeout_ms": {"type": "integer", "minimum": 1}},
        ["commands"],
    ),
    "apply_patch": (
        "Create, update or delete a file. diff is in V4A format: lines that begin with space, - or +.",
        {"type": {"enum": ["create_file", "update_file", "delete_file"]}, "path": _TEXT, "diff": _TEXT},
        ["type", "path"],
    ),
}


@dataclass(frozen=True)
class Face:
    """As what a tool's calls appear.

    Args:
        label, tool: for ``mcp``, the server, and what it calls the tool if that differs from what the model does;
            for a function of a namespace, the namespace and the function's name in it.
        inner: for ``mcp_deferred``, the faces of the tools that may be called this way.
    """

    kind: Kind
    label: str = ""
    tool: str = ""
    inner: Mapping[str, Face] = field(default_factory=dict)


@dataclass(frozen=True)
class NewContainer:
    """The files that are put into a container, and the policy of its network, which stands at ``param``."""

    files: Sequence[str] = ()
    network: object = None
    param: str = ""


@dataclass
class RequestTools:
    """
    Attributes:
        faces: by the name under which the model calls a tool.
        definitions: the client's tools, as chat completions take them.
        hosted: names of the tools that run here.
        labels: tools of each server of type ``mcp``, by its label.
        servers: external ones, whose tools are still to be found. hidden: those of their tools that go behind a search.
        container: what ``code_interpreter`` or a connector says about its container: its id, or how to make one.
    """

    faces: dict[str, Face] = field(default_factory=dict)
    definitions: list[JsonObject] = field(default_factory=list)
    hosted: list[str] = field(default_factory=list)
    labels: dict[str, list[str]] = field(default_factory=dict)
    servers: list[Wanted] = field(default_factory=list)
    hidden: frozenset[str] = frozenset()
    container: str | NewContainer | None = None

    def named(self, label: str, tool: str) -> str:
        """What the model calls a tool of a server."""
        return Aliases().add(label, tool) if any(server.label == label for server in self.servers) else tool

    def shown(self, names: Iterable[str]) -> list[str]:
        """``names`` as far as the model is told of them. The others it finds and calls by way of two tools."""
        names = list(names)
        shown = [name for name in names if name not in self.hidden]
        return shown if len(shown) == len(names) else [*shown, SEARCH.name, CALL.name]

    def held(self, call: Call) -> bool:
        """Whether a call must be approved before it runs, also where it goes by way of the search for tools."""
        face = self.faces.get(call.name)
        if face is not None and face.kind == "mcp_deferred":
            face = face.inner.get(str(loads_object(call.arguments).get("name")))
        return face is not None and face.kind == "mcp_held"

    def approved(self, call: ApprovedCall) -> Call:
        """A call of an earlier turn that may run now. Raises :class:`ApiError`: none of these tools is meant."""
        inner = [face.inner for face in self.faces.values() if face.kind == "mcp_deferred"]
        for name, face in {**self.faces, **dict(item for faces in inner for item in faces.items())}.items():
            if face.kind.startswith("mcp") and (face.label, face.tool) == (call.label, call.name):
                return Call(name, call.call_id, call.arguments)
        raise ApiError(
            f"The call of {call.name[:100]!r} was approved, but this request has no mcp tool with the server_label "
            f"{call.label[:100]!r} that offers it.",
            code="invalid_value",
            param="tools",
        )


def read_tools(tools: Sequence[JsonObject], offer: Offer, model: str, operators: Collection[str]) -> RequestTools:
    """Raises :class:`ApiError`.

    Args:
        operators: labels of the operator's external servers.
    """
    read = RequestTools()
    for index, tool in enumerate(tools):
        kind = tool.get("type")
        place = f"tools[{index}]"
        if kind == "function":
            _add(read, "function", _function(tool), place)
        elif kind == "custom":
            _add(read, "custom", _custom(tool, place), place)
        elif kind in _SHELLS:
            description, properties, required = _SHELLS[kind]
            schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
            _add(read, kind, {"name": kind, "description": description, "parameters": schema}, place)
        elif kind == _CODE:
            _host(read, ["python"], Face("code_interpreter"), offer, model, place)
            read.container = _container(tool, place) or read.container
        elif kind in _SEARCH and tool.get("external_web_access") is False:
            pass  # wants an index of the web; there is none
        elif kind in _SEARCH:
            _host(read, ["search", "open", "find"], Face("web_search"), offer, model, place)
        elif kind == "namespace":
            _namespace(read, tool, place)
        elif kind == "tool_search":
            pass  # finds what is deferred; here the model knows every tool from the beginning
        elif kind == "mcp":
            _mcp(read, tool, offer, model, place, operators)
        else:
            known = ", ".join(("function", "custom", "namespace", _CODE, "web_search", "mcp", *_SHELLS))
            raise ApiError(
                f"Tools of type {str(kind)[:60]!r} are not supported here. Supported: {known}.",
                code="unsupported_value",
                param=f"{place}.type",
            )
    return read


def chat_choice(choice: str | JsonObject | None, tools: RequestTools) -> str | JsonObject | None:
    """``tool_choice`` as chat completions take it. Raises :class:`ApiError`."""
    if choice is None or isinstance(choice, str):
        return choice
    kind = choice.get("type")
    if kind == "allowed_tools":
        allowed = choice.get("tools") or []
        if not isinstance(allowed, list) or not all(isinstance(tool, dict) for tool in allowed):
            message = "Invalid 'tool_choice.tools': expected a list of objects."
            raise ApiError(message, code="invalid_value", param="tool_choice")
        names = tools.shown(name for tool in allowed for name in _named(tool, tools))
        return _allowed(names, str(choice.get("mode") or "auto"))
    names = tools.shown(_named(choice, tools))
    if not names:
        raise ApiError(
            f"tool_choice {json.dumps(choice)[:200]} names no tool of this request.", code="invalid_value",
            param="tool_choice",
        )  # fmt: skip
    if len(names) == 1:
        return {"type": "function", "function": {"name": names[0]}}
    return _allowed(names, "required")


def _allowed(names: Sequence[str], mode: str) -> JsonObject:
    allowed = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": allowed}}


def _named(choice: JsonObject, tools: RequestTools) -> list[str]:
    kind, name = choice.get("type"), choice.get("name")
    if kind in ("function", "custom"):
        return [name] if isinstance(name, str) and name in tools.faces else []
    if kind == "mcp":
        there = tools.labels.get(str(choice.get("server_label")), [])
        return [tool for tool in there if name in (None, tool, tools.faces[tool].tool)]
    kind = "web_search" if kind in _SEARCH else kind
    return [tool for tool, face in tools.faces.items() if face.kind == kind]


def _function(tool: JsonObject) -> JsonObject:
    # Some clients send the function as chat completions have it.
    function = tool.get("function") if isinstance(tool.get("function"), dict) else tool
    assert isinstance(function, dict)
    return {key: function[key] for key in ("name", "description", "parameters", "strict") if key in function}


def _namespace(read: RequestTools, namespace: JsonObject, place: str) -> None:
    """Functions that go by their namespace's name and their own."""
    name, tools = namespace.get("name"), namespace.get("tools")
    if not isinstance(name, str) or not isinstance(tools, list):
        raise ApiError("A namespace needs a name and tools.", code="missing_required_parameter", param=place)
    for index, tool in enumerate(tools):
        inner = f"{place}.tools[{index}]"
        if not isinstance(tool, dict) or tool.get("type") != "function":
            raise ApiError("A namespace holds functions.", code="unsupported_value", param=inner)
        function = _function(tool)
        own = str(function.get("name"))
        _add(read, "function", {**function, "name": f"{name}.{own}"}, inner)
        read.faces[f"{name}.{own}"] = Face("function", name, own)


def _custom(tool: JsonObject, place: str) -> JsonObject:
    """As chat completions have it."""
    format = tool.get("format") or {}
    if not isinstance(format, dict):
        raise ApiError("a custom tool's format must be an object.", code="invalid_type", param=f"{place}.format")
    if format.get("type") == "grammar":
        grammar = {"syntax": format.get("syntax"), "definition": format.get("definition")}
        format = {"type": "grammar", "grammar": grammar}
    return {"name": tool.get("name"), "description": tool.get("description"), "format": format or None}


def _mcp(
    read: RequestTools, tool: JsonObject, offer: Offer, model: str, place: str, operators: Collection[str]
) -> None:
    label = tool.get("server_label")
    if not isinstance(label, str) or not label:
        raise ApiError("An mcp tool needs a server_label.", code="missing_required_parameter", param=place)
    if label in read.labels or any(server.label == label for server in read.servers):
        raise ApiError(f"Two mcp tools have the label {label[:100]!r}.", code="invalid_value", param=place)
    if tool.get("connector_id") == CONNECTOR:
        _connector(read, tool, label, offer, model, place)
        return
    if len(read.servers) == MOST_SERVERS:
        message = f"There are more than {MOST_SERVERS} mcp servers in one request."
        raise ApiError(message, code="invalid_value", param=place)
    read.servers.append(read_wanted(tool, place, operators))


def _connector(read: RequestTools, tool: JsonObject, label: str, offer: Offer, model: str, place: str) -> None:
    policy = read_policy(tool, place)
    files = select(["files"], offer, model).tools if _has_files(offer) else {}
    hints = {name: file.spec.annotations.read_only for name, file in files.items()}
    names = [name for name, read_only in hints.items() if policy.allows(name, read_only=read_only)]
    if not names:
        raise ApiError("There are no file tools on this server.", code="unsupported_value", param=place)
    for name in names:
        kind: Kind = "mcp_held" if policy.asks(name, read_only=hints[name]) else "mcp"
        _host(read, [name], Face(kind, label, name), offer, model, place)
    read.labels[label] = names
    read.container = read.container or _container(tool, place)


def _container(tool: JsonObject, place: str) -> str | NewContainer | None:
    """See :class:`RequestTools`. Raises :class:`ApiError`."""
    given = tool.get("container")
    if given is None or isinstance(given, str):
        return given
    files = given.get("file_ids") or [] if isinstance(given, dict) else None
    if not isinstance(files, list) or not all(isinstance(file, str) for file in files):
        message = f"Invalid '{place}.container': expected an id, or an object whose file_ids are a list of ids."
        raise ApiError(message, code="invalid_value", param=f"{place}.container")
    return NewContainer(files, given.get("network_policy"), f"{place}.container.network_policy")


def _has_files(offer: Offer) -> bool:
    return any(group_of(name) == "files" for name in offer.registry.tools)


def _host(read: RequestTools, names: list[str], face: Face, offer: Offer, model: str, place: str) -> None:
    try:
        chosen = select(names, offer, model).tools
    except NotOffered as error:
        raise ApiError(str(error), code="unsupported_value", param=f"{place}.type") from error
    for name in chosen:
        if name in read.faces:
            raise ApiError(f"Two tools are named {name!r}.", code="invalid_value", param=place)
        read.faces[name] = face
        read.hosted.append(name)


def _add(read: RequestTools, kind: Kind, function: JsonObject, place: str) -> None:
    name = function.get("name")
    if not isinstance(name, str):
        raise ApiError(f"Missing required parameter: '{place}.name'.", code="missing_required_parameter", param=place)
    if name in read.faces:
        raise ApiError(f"Two tools are named {name!r}.", code="invalid_value", param=f"{place}.name")
    read.faces[name] = Face(kind)
    defined = "custom" if kind == "custom" else "function"
    read.definitions.append({"type": defined, defined: function})
