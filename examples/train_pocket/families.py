"""Natural tools from TOML families: a tool with an everyday meaning, its wordings, results and answers."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from .disguise import Disguise, stems
from .phrasing import Phrasing, fill, held_out
from .slots import Slots
from .toolbox import View, decorate

TRAINING = Path(__file__).parent / "families"
PLAIN = Disguise()
_RETOLD = 0.6  # of the answers tell the result as it is: that works for any tool
_FORMATTED = {"date", "clock", "email", "url", "phone", "weekday", "month", "filename", "flight", "plate", "version"}


@dataclass(frozen=True)
class Parameter:
    """One parameter of a family. ``surfaces`` maps an enum or boolean value to what people say."""

    name: str
    aliases: tuple[str, ...]
    type: str
    slot: str | list[Any]
    descriptions: tuple[str, ...]
    required: bool
    surfaces: dict[str, list[str]]

    def draw(self, slots: Slots) -> tuple[Any, str]:
        """A value and how a request words it."""
        if self.surfaces:
            value = slots.pick(list(self.surfaces))
            words = slots.pick(self.surfaces[value])
            return (value == "true" if self.type == "boolean" else _typed(value, self.type)), words
        if (
            self.type == "string"
            and not (isinstance(self.slot, str) and self.slot in _FORMATTED)
            and slots.chance(0.15)
        ):
            text = slots.label()
        else:
            text = str(slots.pick(self.slot)) if isinstance(self.slot, list) else slots.fill(self.slot)
        return _typed(text, self.type), text

    def schema(self, slots: Slots, disguise: Disguise) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": self.type}
        if not slots.chance(0.12):
            schema["description"] = disguise.text(slots.pick(self.descriptions))
        if self.surfaces and self.type != "boolean":
            schema["enum"] = [_typed(value, self.type) for value in self.surfaces]
        return schema


@dataclass(frozen=True)
class Family:
    """See FAMILIES in the README for what the fields mean."""

    id: str
    names: tuple[str, ...]
    descriptions: tuple[str, ...]
    wordings: tuple[str, ...]
    results: tuple[str, ...]
    answers: tuple[str, ...]
    key: str
    parameters: tuple[Parameter, ...]
    outputs: dict[str, str | list[Any]]
    area: str

    @cached_property
    def shared_stems(self) -> tuple[str, ...]:
        """What requests and the tool's name, description or parameters have in common: the words to disguise."""
        named = [name.replace("_", " ") for name in (*self.names, *(p.name for p in self.parameters))]
        described = [text for parameter in self.parameters for text in parameter.descriptions]
        return tuple(sorted(stems(self.wordings) & stems([*named, *self.descriptions, *described])))


@dataclass(frozen=True)
class Use:
    """One request that the family's tool answers."""

    template: str
    words: dict[str, str]
    arguments: dict[str, Any]
    result: str
    answer: str
    key: str


def _typed(text: str, kind: str) -> Any:
    if kind == "integer":
        return int(float(text))
    if kind == "number":
        number = float(text)
        return int(number) if number == int(number) and "." not in text else number
    return text


@cache
def load(path: Path) -> tuple[Family, ...]:
    """The families of a TOML file, or of every TOML file of a folder."""
    if path.is_dir():
        return tuple(family for file in sorted(path.glob("*.toml")) for family in load(file))
    return tuple(_family(table, path.stem) for table in tomllib.loads(path.read_text())["family"])


def _family(table: dict[str, Any], area: str) -> Family:
    parameters = tuple(
        Parameter(
            p["name"], tuple(p.get("aliases", ())), p["type"], p.get("slot", "word"), tuple(p["descriptions"]),
            bool(p.get("required", True)), {str(value): list(words) for value, words in p.get("enum", {}).items()},
        )
        for p in table.get("parameter", [])
    )  # fmt: skip
    return Family(
        table["id"], tuple(table["names"]), tuple(table["descriptions"]), tuple(table["wordings"]), tuple(table["results"]),
        tuple(table["answers"]), table["key"], parameters, dict(table.get("outputs", {})), area,
    )  # fmt: skip


@cache
def neighbours(area: str) -> tuple[Family, ...]:
    """The training families of one area, which are easily taken for each other."""
    return load(TRAINING / f"{area}.toml")


def view(family: Family, slots: Slots, disguise: Disguise = PLAIN, *, original: bool = False) -> View:
    """The family's tool under one of its names. ``original`` keeps the first names, as an evaluation wants."""
    shown: dict[str, str] = {}
    for parameter in family.parameters:
        roll = slots.rng.random()
        if original or roll < 0.5:
            continue
        if roll < 0.87 and parameter.aliases:
            shown[parameter.name] = slots.pick(parameter.aliases)
        elif roll > 0.93:
            shown[parameter.name] = slots.pick(
                [
                    f"{parameter.name}_{slots.pick(['name', 'value', 'text', 'param'])}",
                    slots.rare().lower() or parameter.name,
                ]
            )
    for parameter in family.parameters if disguise.words else ():
        shown[parameter.name] = disguise.name(shown.get(parameter.name, parameter.name))
    names = [shown.get(parameter.name, parameter.name) for parameter in family.parameters]
    if len(set(names)) < len(names):
        shown = {}
    parameters = list(family.parameters)
    if slots.chance(0.3):
        slots.rng.shuffle(parameters)
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {shown.get(p.name, p.name): p.schema(slots, disguise) for p in parameters},
    }
    required = [shown.get(p.name, p.name) for p in parameters if p.required]
    if required:
        schema["required"] = required
    if slots.chance(0.25):
        schema["additionalProperties"] = False
    name = family.names[0] if original else decorate(disguise.name(slots.pick(family.names)), slots)
    description = disguise.text(slots.pick(family.descriptions))
    function = {"name": name, "description": description, "parameters": schema}
    return View(f"family:{family.id}", function, shown)


def use(family: Family, slots: Slots, say: Phrasing, disguise: Disguise = PLAIN) -> Use:
    """A request for the tool, what it answers, and what to say then. Every seventh wording is held out of training."""
    reserved = [w for w in family.wordings if held_out(w, 7)]
    open_ = [w for w in family.wordings if not held_out(w, 7)] or list(family.wordings)
    template = slots.pick(reserved if say.split == "unseen" and reserved else open_)
    arguments: dict[str, Any] = {}
    words: dict[str, str] = {}
    for parameter in family.parameters:
        if "{" + parameter.name + "}" in template:
            arguments[parameter.name], words[parameter.name] = parameter.draw(slots)
    values = {
        name: slots.fill(slot) if isinstance(slot, str) else str(slots.pick(slot))
        for name, slot in family.outputs.items()
    }
    spoken = {name: _spoken(value) for name, value in arguments.items()}
    known = {**spoken, **values}
    result = _known(slots, family.results, known, disguise).replace("{{", "{").replace("}}", "}")
    with_key = [answer for answer in family.answers if "{" + family.key + "}" in answer] or list(family.answers)
    answer = _known(slots, tuple(with_key), known, disguise)
    if slots.chance(_RETOLD):
        answer = retold(result, [spoken[p.name] for p in family.parameters if p.name in spoken and not p.surfaces])
    return Use(disguise.text(template), words, arguments, result, answer, known.get(family.key, ""))


def retold(result: str, arguments: list[str]) -> str:
    """An answer to anything: the result in plain words, and what was asked for where it does not say that."""
    text = result.strip()
    if text.startswith("{"):
        text = ", ".join(
            f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in json.loads(text, parse_float=str).items()
        )
    silent = [value for value in arguments if value.lower() not in text.lower()]
    whole = f"{text} ({', '.join(silent)})" if silent else text
    return whole[:1].upper() + whole[1:] + ("" if whole.endswith((".", "!", "?")) else ".")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_plain(one)}" for name, one in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else _spoken(value)


def _spoken(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(slots: Slots, templates: tuple[str, ...], values: dict[str, str], disguise: Disguise) -> str:
    """A template all of whose placeholders have values, filled."""
    complete = []
    for template in templates:
        # Closing braces pair up from the right: in '{{"minutes": {minutes}}}' the first one ends the placeholder.
        paired = disguise.text(template).replace("{{", "\0")[::-1].replace("}}", "\1")[::-1]
        text = fill(paired, values)
        if "{" not in text:
            complete.append(text.replace("\0", "{{").replace("\1", "}}"))
    if complete:
        return slots.pick(complete)
    return json.dumps({"ok": True, **values}, ensure_ascii=False)
