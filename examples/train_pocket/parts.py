"""The parts that composed tools are made of: things, actions, parameters, attributes, from vocabulary/composed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from .phrasing import Wordings
from .slots import VOCABULARY

FOLDER = VOCABULARY / "composed"
Mode = Literal["the", "new", "find", "count"]
_VARIANT = re.compile(r"_(optional|must|less)$")


@dataclass(frozen=True)
class Identity:
    """How one thing is told from others: the tool's main parameter."""

    id: str
    names: tuple[str, ...]
    slot: str
    about: tuple[str, ...]
    phrases: tuple[str, ...]
    clash: str


@dataclass(frozen=True)
class Thing:
    """``nouns`` are its everyday names, the first the plainest. No identity (None) means that there is only one."""

    id: str
    kind: str
    nouns: tuple[str, ...]
    identities: tuple[Identity | None, ...]
    around: tuple[str, ...]


@dataclass(frozen=True)
class Detail:
    """A parameter besides the identity. ``said`` has whole phrases for a value, ``enum`` what a value is called."""

    id: str
    names: tuple[str, ...]
    type: str
    slot: str | list[Any]
    enum: dict[str, list[str]]
    said: dict[str, list[str]]
    about: tuple[str, ...]
    tail: tuple[str, ...]
    own: tuple[str, ...]
    clash: str
    words: bool
    kinds: frozenset[str]
    things: frozenset[str]

    def fits(self, thing: Thing) -> bool:
        return (not self.kinds or thing.kind in self.kinds) and (not self.things or thing.id in self.things)


@dataclass(frozen=True)
class Action:
    """What is done to a thing. ``plain`` are clauses fit for a description."""

    id: str
    mode: Mode
    names: tuple[str, ...]
    wordings: Wordings
    plain: tuple[str, ...]
    does: tuple[str, ...]
    past: tuple[str, ...]
    must: tuple[str, ...]
    may: tuple[str, ...]
    forms: frozenset[str]
    sense: str
    outcome: str
    quiet: bool

    def like(self, other: Action) -> bool:
        """Whether a request for one might be taken for the other."""
        return self.sense == other.sense or bool(self.forms & other.forms)


@dataclass(frozen=True)
class Attribute:
    """What can be looked up about a thing."""

    id: str
    names: tuple[str, ...]
    np: tuple[str, ...]
    ask: tuple[str, ...]
    wordings: Wordings
    says: tuple[str, ...]
    slot: str | list[str]

    def like(self, other: Attribute) -> bool:
        return bool(set(self.ask) & set(other.ask)) or bool(set(self.np) & set(other.np))


def _table(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / f"{name}.toml").read_text())


@cache
def things() -> dict[str, Thing]:
    table = _table("things")
    clashes = {"room": "place", "town": "place", "day": "day"}
    identities: dict[str, Identity | None] = {
        name: Identity(
            name,
            tuple(entry["names"]),
            entry["slot"],
            tuple(entry["descriptions"]),
            tuple(entry["phrases"]),
            clashes.get(name, ""),
        )
        for name, entry in table.pop("identities").items()
    } | {"": None}
    kinds = table.pop("kinds")
    return {
        name: Thing(
            name,
            kind,
            tuple(nouns),
            tuple(identities[i] for i in kinds[kind]["identities"]),
            tuple(kinds[kind]["around"]),
        )
        for kind, entries in table.items()
        for name, nouns in entries.items()
    }


@cache
def details() -> dict[str, Detail]:
    return {
        name: Detail(
            name, tuple(d["names"]), d.get("type", "string"), d.get("slot", ""), d.get("enum", {}), d.get("said", {}),
            tuple(d["about"]), tuple(d.get("tail", ())), tuple(d.get("own", ())), d.get("clash", name),
            d.get("words", False), frozenset(d.get("kinds", ())), frozenset(d.get("things", ())),
        )
        for name, d in _table("parameters").items() if name != "groups"
    }  # fmt: skip


def _of_user(clause: str) -> str:
    """A clause as a description puts it: me is the user."""
    return re.sub(r"\b(me|my)\b", lambda match: "the user" + ("'s" if match[0] == "my" else ""), clause)


@cache
def _actions() -> dict[str, tuple[Action, frozenset[str], frozenset[str]]]:
    groups: dict[str, list[str]] = _table("parameters")["groups"]
    made = {}
    for name, d in _table("actions").items():
        may = [_VARIANT.sub("", tag) for tag in d["tags"]]
        say = [clause if "{tail}" in clause else clause + "{tail}" for clause in d["say"]]
        action = Action(
            name, d.get("mode", "the"), tuple(d["names"]), Wordings.of({"do": say, "ask": d["need"]}),
            tuple(_of_user(clause.replace("{tail}", "")) for clause in d["say"][:2]), tuple(d["does"]), tuple(d["past"]),
            tuple(_VARIANT.sub("", must) for must in d.get("must", ())),
            tuple(detail for tag in may for detail in groups.get(tag, [tag])),
            frozenset(say), d.get("sense", name), d.get("outcome", "reference"), d.get("quiet", False),
        )  # fmt: skip
        made[name] = action, frozenset(d.get("kinds", ())), frozenset(d.get("things", ()))
    return made


@cache
def _attributes() -> dict[str, tuple[Attribute, frozenset[str], frozenset[str]]]:
    made = {}
    for name, d in _table("attributes").items():
        wordings = Wordings.of({"np": [f"the {np} of {{t}}" for np in d["np"]], "ask": d["ask"]})
        attribute = Attribute(
            name, tuple(d["names"]), tuple(d["np"]), tuple(d["ask"]), wordings, tuple(d["says"]), d["slot"]
        )
        made[name] = attribute, frozenset(d.get("kinds", ())), frozenset(d.get("things", ()))
    return made


@cache
def actions_for(thing: str) -> tuple[Action, ...]:
    kind = things()[thing].kind
    return tuple(action for action, kinds, named in _actions().values() if kind in kinds or thing in named)


@cache
def attributes_for(thing: str) -> tuple[Attribute, ...]:
    kind = things()[thing].kind
    return tuple(attribute for attribute, kinds, named in _attributes().values() if kind in kinds or thing in named)


@cache
def _pairs(table: str) -> tuple[tuple[Any, tuple[Thing, ...]], ...]:
    """Every action or attribute with the things that it fits."""
    fitting = actions_for if table == "actions" else attributes_for
    entries = _actions() if table == "actions" else _attributes()
    return tuple(
        (part, tuple(t for t in things().values() if part in fitting(t.id)))
        for part, _, _ in entries.values()  # type: ignore[misc]
    )


def action_pairs() -> tuple[tuple[Action, tuple[Thing, ...]], ...]:
    return _pairs("actions")


def attribute_pairs() -> tuple[tuple[Attribute, tuple[Thing, ...]], ...]:
    return _pairs("attributes")


@cache
def things_for(part: str) -> tuple[Thing, ...]:
    """The things that an action ("do:start") or an attribute ("get:weight") fits."""
    kind, _, name = part.partition(":")
    pairs = action_pairs() if kind == "do" else attribute_pairs()
    return next(fitting for entry, fitting in pairs if entry.id == name)


@cache
def plural(noun: str) -> str:
    if noun.endswith(("sheep", "series", "aircraft")):
        return noun
    if noun.endswith("shelf"):
        return noun[:-1] + "ves"
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh", "z")) else "s")


@cache
def article(noun: str) -> str:
    """The noun with a or an."""
    first = noun.lower()
    vowel = first[0] in "aeiou" and not first.startswith(("uni", "use", "eu", "one"))
    return f"{'an' if vowel or first.startswith(('x-ray', 'sms', 'hour')) else 'a'} {noun}"


def typed(text: str, kind: str) -> Any:
    """A value as the schema's type wants it."""
    if kind == "integer":
        return int(text)
    if kind != "number":
        return text
    return float(text) if "." in text else int(text)
