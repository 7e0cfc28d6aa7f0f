"""The tools of one conversation as the model sees them.

A tool is known to task scripts by its own name and arguments. In part of the conversations it is offered under another
name, with other parameter names and another description; a :class:`View` holds that and translates calls. Arguments are
always written in the order of the schema's properties, as grammar-enforced decoding will make them.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from agenthost.tools.browser.specs import BROWSER_SPECS
from agenthost.tools.code.spec import PYTHON
from agenthost.tools.files.specs import FILE_SPECS
from agenthost.tools.spec import ToolSpec

from .slots import VOCABULARY, Slots

HOSTED: dict[str, ToolSpec] = {spec.name: spec for spec in (PYTHON, *FILE_SPECS, *BROWSER_SPECS)}
COMPACT = ("python", "read_text_file", "write_file", "list_directory")


@dataclass(frozen=True)
class View:
    """A tool under the name and parameters that this conversation shows."""

    tool: str
    function: dict[str, Any]
    shown: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.function["name"]

    @property
    def schema(self) -> dict[str, Any]:
        return self.function["parameters"]

    @cached_property
    def line(self) -> str:
        """The tool's line in the system prompt."""
        return json.dumps({"type": "function", "function": self.function}, ensure_ascii=False)

    def show(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Arguments under their shown names, in the schema's order."""
        named = {self.shown.get(name, name): value for name, value in arguments.items()}
        return {name: named[name] for name in self.schema["properties"] if name in named}

    def understand(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The inverse of :meth:`show`."""
        own = {shown: name for name, shown in self.shown.items()}
        return {own.get(name, name): value for name, value in arguments.items()}


class Toolbox:
    """The tools of one conversation, by the task scripts' names, in the order of the prompt."""

    def __init__(self) -> None:
        self.views: dict[str, View] = {}
        self._names: set[str] = set()

    def add(self, view: View) -> bool:
        """Offer a tool. False if the tool is there already or its shown name is taken."""
        if view.tool in self.views or view.name in self._names:
            return False
        self.views[view.tool] = view
        self._names.add(view.name)
        return True

    def shuffle(self, slots: Slots) -> None:
        order = list(self.views.items())
        slots.rng.shuffle(order)
        self.views = dict(order)

    def by_shown_name(self, name: str) -> View | None:
        return next((view for view in self.views.values() if view.name == name), None)

    def functions(self) -> list[dict[str, Any]]:
        """The tools in OpenAI's shape."""
        return [{"type": "function", "function": view.function} for view in self.views.values()]

    def lines(self) -> list[str]:
        return [view.line for view in self.views.values()]


@cache
def _aliases() -> dict[str, dict[str, Any]]:
    return tomllib.loads((VOCABULARY / "host_aliases.toml").read_text())


@cache
def hosted_view(tool: str) -> View:
    """A hosted tool exactly as the product offers it."""
    return View(tool, HOSTED[tool].function()["function"])


def renamed_view(tool: str, slots: Slots, *, full: bool = False) -> View:
    """A hosted tool under another name, as other products offer it. ``full`` keeps all optional parameters."""
    spec = HOSTED[tool]
    aliases = _aliases().get(tool)
    if aliases is None:
        return hosted_view(tool)
    shown = {name: slots.pick(options) for name, options in aliases["parameters"].items()}
    if slots.chance(0.1):
        shown = {name: slots.rare().lower() or name for name in shown}
    if len(set(shown.values())) < len(shown):
        shown = {}
    properties: dict[str, Any] = {}
    plain = slots.chance(0.3)
    required = spec.parameters.get("required", [])
    drop_optional = not full and slots.chance(0.5)
    for name, schema in spec.parameters["properties"].items():
        if drop_optional and name not in required:
            continue
        properties[shown.get(name, name)] = {k: v for k, v in schema.items() if not (plain and k == "description")}
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = [shown.get(name, name) for name in required]
    if slots.chance(0.4):
        parameters["additionalProperties"] = False
    name = decorate(slots.pick(aliases["names"]), slots)
    description = slots.pick([spec.description, *aliases["descriptions"]])
    return View(tool, {"name": name, "description": description, "parameters": parameters}, shown)


def decorate(name: str, slots: Slots) -> str:
    """A tool name with the prefixes and spellings that servers use."""
    roll = slots.rng.random()
    if roll < 0.7:
        return name
    if roll < 0.8:
        first, *rest = name.split("_")
        return first + "".join(part.capitalize() for part in rest)
    prefix = slots.pick([slots.invented(), slots.word().lower(), slots.noun(), "mcp", "my", "app", "api"])
    return (
        f"{prefix}{slots.pick(['_', '__', '-', '_'])}{name}"
        if roll < 0.95
        else f"{name}_{slots.pick(['tool', 'v2', 'now', prefix])}"
    )
