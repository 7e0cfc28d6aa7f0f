"""Composed tools as the model sees them: a name, a description and a schema from an action or attribute and a thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import parts
from .parts import Action, Attribute, Detail, Identity, Thing
from .slots import Slots
from .toolbox import View, decorate

WHICH = "which"  # the task scripts' own name of the identity
_NOTES = [
    "Returns a reference number.", "Returns a confirmation.", "Needs no further confirmation.", "Takes effect at once.",
    "Fails if it does not exist.", "Works for one at a time.", "Part of the office suite.", "Optional values have defaults.",
    "Returns JSON.", "For staff only.", "May take a moment.", "All dates are YYYY-MM-DD.",
]  # fmt: skip
_LOOKUPS = ["get", "get", "find", "check", "fetch", "show", "query", "read", "lookup"]
_NEVER_GIVEN = [
    ("verbose", "boolean", "Log more"), ("timeout", "integer", "Seconds to wait"), ("request_id", "string", "Id for tracing"),
    ("locale", "string", "Locale such as en-GB"), ("callback_url", "string", "URL called afterwards"),
    ("api_version", "string", "Version of the interface"), ("page", "integer", "Page of the results"),
]  # fmt: skip


@dataclass(frozen=True)
class Chosen:
    """A parameter of one tool."""

    detail: Detail
    required: bool


@dataclass(frozen=True)
class Made:
    """A composed tool. Its identity is None where there is only one such thing."""

    view: View
    thing: Thing
    identity: Identity | None
    chosen: tuple[Chosen, ...]


def choose(slots: Slots, action: Action, thing: Thing, identity: Identity | None) -> tuple[Chosen, ...]:
    """The parameters of a tool: those that the action cannot do without, and some of those that fit."""
    table = parts.details()
    chosen = [Chosen(table[name], True) for name in action.must]
    taken = {c.detail.clash for c in chosen} | ({identity.clash} if identity else set())
    pool = [table[name] for name in action.may]
    slots.rng.shuffle(pool)
    for detail in pool[: slots.pick([0, 1, 1, 2, 2, 3, 4])]:
        if detail.clash in taken or not detail.fits(thing) or len(chosen) >= 5:
            continue
        taken.add(detail.clash)
        chosen.append(Chosen(detail, slots.chance(0.1 if detail.type == "boolean" else 0.3)))
    return tuple(chosen)


def action_tool(slots: Slots, action: Action, thing: Thing, *, by: Identity | None = None, apart: str = "") -> Made:
    """A tool that does something to a thing. ``apart`` ends the key of a variant, which says how it is identified."""
    identity = None
    if action.mode == "the":
        identity = by if apart else slots.pick(thing.identities)
    chosen = choose(slots, action, thing, identity)
    noun = slots.pick(thing.nouns) if slots.chance(0.3) else thing.nouns[0]
    several = action.mode in ("find", "count")
    does = slots.pick(action.does).replace("{a}", _some(slots, noun, identity, several))
    does = does.replace("{n}", parts.plural(noun) if action.mode == "count" else noun)
    plain = slots.pick(action.plain).replace("{t}", _some(slots, noun, identity, several))
    suffix = f"_by_{apart}" if apart else ""
    verb, word = slots.pick(action.names), _snake(noun) if slots.chance(0.3) else thing.id
    if several and slots.chance(0.6):
        word = parts.plural(word)
    shapes = [f"{verb}_{word}", f"{verb}_{word}", f"{verb}_{word}", f"{word}_{verb}", f"{verb}_{word}_{slots.pick(['request', 'action', 'now'])}"]  # fmt: skip
    name = slots.pick(shapes) + suffix
    short = [verb, word, slots.rare().lower() or verb, f"{verb[:3]}_{word[:3]}", f"op_{slots.integer(1, 99)}"]
    ways = [f"{does}.", f"{does}.", f"{does}.", f"use this to {plain}.", f"{plain}.", f"call it when someone wants to {plain}."]  # fmt: skip
    description = _sentence(slots.pick(ways))
    if apart and identity:
        description += f" Finds it by {slots.pick(identity.about).replace('{t}', noun).lower()}."
    elif chosen and slots.chance(0.12):
        description += f" Takes {_listed([c.detail.names[0].replace('_', ' ') for c in chosen])}."
    view = _view(slots, f"do:{action.id}:{thing.id}{suffix}", name, short, description, thing, identity, chosen)
    return Made(view, thing, identity, chosen)


def lookup_tool(
    slots: Slots, attribute: Attribute, thing: Thing, *, by: Identity | None = None, apart: str = ""
) -> Made:
    """A tool that looks up one attribute of a thing."""
    identity = by if apart else slots.pick(thing.identities)
    noun = slots.pick(thing.nouns) if slots.chance(0.3) else thing.nouns[0]
    chosen = (Chosen(parts.details()[slots.pick(["detailed", "text_language"])], False),) if slots.chance(0.15) else ()
    name_of, word, verb = slots.pick(attribute.names), thing.id, slots.pick(_LOOKUPS)
    suffix = f"_by_{apart}" if apart else ""
    shapes = [f"{verb}_{word}_{name_of}", f"{verb}_{word}_{name_of}", f"{word}_{name_of}", f"{name_of}_of_{word}", f"{verb}_{name_of}_of_{word}", f"{word}_{name_of}_{verb}"]  # fmt: skip
    short = [f"{verb}_{name_of}", name_of, f"{verb}_{word}", slots.rare().lower() or word, f"{name_of}_{verb}"]
    np, some = slots.pick(attribute.np), _some(slots, noun, identity, False)
    ways = [
        f"get the {np} of {some}.", f"returns the {np} of {some}.", f"the {np} of {some}.", f"look up the {np} for {some}.",
        f"find out the {np} of {some}.", f"tells the {np} of {some}.", f"answers questions like: {slots.pick(attribute.ask)}",
    ]  # fmt: skip
    description = _sentence(slots.pick(ways).replace("{t}", some).replace("{n}", noun))
    if apart and identity:
        description += f" Finds it by {slots.pick(identity.about).replace('{t}', noun).lower()}."
    key = f"get:{attribute.id}:{thing.id}{suffix}"
    view = _view(slots, key, slots.pick(shapes) + suffix, short, description, thing, identity, chosen)
    return Made(view, thing, identity, chosen)


def any_tool(slots: Slots) -> Made:
    """A composed tool that nobody asks for."""
    if slots.chance(0.6):
        action, fitting = slots.pick(parts.action_pairs())
        return action_tool(slots, action, slots.pick(fitting))
    attribute, fitting = slots.pick(parts.attribute_pairs())
    return lookup_tool(slots, attribute, slots.pick(fitting))


def _some(slots: Slots, noun: str, identity: Identity | None, several: bool) -> str:
    if several:
        return parts.plural(noun)
    if identity is None:
        return slots.pick([parts.article(noun), parts.article(noun), f"the {noun}"])
    return slots.pick([parts.article(noun), parts.article(noun), f"one {noun}", f"the given {noun}", f"a certain {noun}"])  # fmt: skip


def _snake(text: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in text.lower())


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def _view(
    slots: Slots, key: str, name: str, short: list[str], description: str, thing: Thing, identity: Identity | None,
    chosen: tuple[Chosen, ...],
) -> View:  # fmt: skip
    """Name and description tell the meaning together: where one is poor, the other is whole."""
    roll = slots.rng.random()
    if roll < 0.16:
        name = slots.pick(short)
    elif roll < 0.26:
        description = slots.pick(["", "", f"{thing.nouns[0].capitalize()} tool.", "Does what its name says."])
    if description and slots.chance(0.15):
        description += f" {slots.pick(_NOTES)}"
    shown: dict[str, str] = {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    order: list[Chosen | Identity] = ([identity] if identity else []) + list(chosen)
    if slots.chance(0.3):
        slots.rng.shuffle(order)
    opaque = slots.chance(0.06)
    for part in order:
        detail = part.detail if isinstance(part, Chosen) else part
        own = WHICH if isinstance(detail, Identity) else detail.id
        label, schema = _property(slots, detail, thing, opaque, properties)
        shown[own], properties[label] = label, schema
        if isinstance(part, Identity) or part.required:
            required.append(label)
    if slots.chance(0.12):
        extra, kind, about = slots.pick(_NEVER_GIVEN)
        properties.setdefault(extra, {"type": kind, "description": about})
    if slots.chance(0.1):
        shown, properties, required = _camel(shown, properties, required)
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required or slots.chance(0.2):
        parameters["required"] = required
    if slots.chance(0.15):
        parameters["additionalProperties"] = False
    function = {"name": decorate(name, slots), "description": description, "parameters": parameters}
    if not description:
        del function["description"]
    return View(key, function, shown)


def _property(
    slots: Slots, part: Detail | Identity, thing: Thing, opaque: bool, taken: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """A parameter's shown name and its schema. A name without meaning always comes with a description."""
    label = part.names[0] if slots.chance(0.4) else slots.pick(part.names)
    label = label.replace("{t}", thing.id)
    meaningless = opaque or slots.chance(0.04)
    if meaningless:
        label = slots.pick([f"p{len(taken) + 1}", f"arg{len(taken) + 1}", slots.rare().lower() or "x", f"value{len(taken) + 1}"])  # fmt: skip
    if label in taken:
        label = next((n for n in part.names if "{" not in n and n not in taken), f"{part.id}_{len(taken)}")
    if isinstance(part, Identity):
        schema: dict[str, Any] = {"type": "string"}
    elif part.type == "strings":
        schema = {"type": "array", "items": {"type": "string"}}
    else:
        schema = {"type": part.type}
        if part.enum:
            schema["enum"] = list(part.enum)
    if meaningless or not slots.chance(0.2):
        about = slots.pick(part.about).replace("{t}", slots.pick(thing.nouns))
        schema["description"] = about if slots.chance(0.8) else about[0].lower() + about[1:]
    return label, schema


def _camel(
    shown: dict[str, str], properties: dict[str, Any], required: list[str]
) -> tuple[dict[str, str], dict[str, Any], list[str]]:
    """The same with camelCase names, where they stay distinct."""
    names = {name: "".join([name.split("_")[0], *(p.capitalize() for p in name.split("_")[1:])]) for name in properties}
    if len(set(names.values())) < len(names):
        return shown, properties, required
    return (
        {own: names[name] for own, name in shown.items()},
        {names[name]: schema for name, schema in properties.items()},
        [names[name] for name in required],
    )
