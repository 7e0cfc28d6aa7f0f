"""What composed tools return, in the many shapes that tools have, and what is to be said about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .. import families, parts
from ..composed import WHICH, Made
from ..parts import Action, Attribute
from ..slots import Slots

_REASONS = [
    "permission denied", "service unavailable", "device offline", "rate limit exceeded", "timeout", "invalid value",
    "already in progress", "quota exceeded", "connection refused", "not allowed at this time", "maintenance in progress",
]  # fmt: skip
_VERDICTS = ["passed", "all fine", "works", "needs attention", "two problems found", "nearly the same", "clearly better", "worse in most points"]  # fmt: skip
_REFERENCES = ["reference", "confirmation", "id", "request_id", "ticket", "number", "receipt"]


@dataclass(frozen=True)
class Outcome:
    result: str
    answer: str
    expect: tuple[str, ...]


def of_action(slots: Slots, action: Action, made: Made, arguments: dict[str, Any], np: str) -> Outcome:
    """What comes of an action on ``np``, as the request named it."""
    if slots.chance(0.07):
        return _refused(slots)
    if action.mode == "count":
        count = str(slots.integer(0, slots.pick([9, 99, 999])))
        noun = parts.plural(made.thing.nouns[0])
        answer = slots.pick(
            [f"There are {count} {noun}.", f"I counted {count} {noun}.", f"The number of {noun} is {count}."]
        )
        return Outcome(_shaped(slots, slots.pick(["count", "total", "number"]), count), answer, (count,))
    if action.mode == "find":
        return _found(slots, made)
    np = _plain(np, made)
    past = slots.pick(action.past)
    if action.quiet and action.outcome == "reference":
        done = [f"Done, {np}." if slots.chance(0.2) else "Done.", "That is done."]
    elif action.mode == "new":
        done = [f"I have {past} {np}.", f"Done, I have {past} {np}."]
    else:
        done = [f"{_upper(np)} has been {past}.", f"{_upper(np)} has been {past}.", f"Done, {np} has been {past}."]
    said = slots.pick(done)
    if action.outcome == "place":
        value = slots.city()
        return Outcome(_shaped(slots, slots.pick(["location", "position", "place"]), value), f"{_upper(np)} is in {value}.", (value,))  # fmt: skip
    if action.outcome == "value":
        value = str(slots.decimal(places=2))
        return Outcome(_shaped(slots, slots.pick(["value", "reading", "result"]), value), f"The reading is {value}.", (value,))  # fmt: skip
    if action.outcome == "file" and slots.chance(0.7):
        value = slots.file_name()
        return Outcome(_shaped(slots, slots.pick(["file", "output", "saved_as"]), value), f"{said} It is in {value}.", (value,))  # fmt: skip
    if action.outcome == "verdict":
        value = slots.pick(_VERDICTS)
        return Outcome(_shaped(slots, slots.pick(["result", "verdict", "outcome"]), value), slots.pick([f"The result: {value}.", f"Done. The result is: {value}."]), (value,))  # fmt: skip
    if slots.chance(0.35):
        result = slots.pick(["ok", "OK", "done", "Success.", '{"ok": true}', '{"status": "success"}', "true", '{"result": "done"}', "accepted", "{}"])  # fmt: skip
        return Outcome(result, said, ())
    label, reference = slots.pick(_REFERENCES), slots.ident()
    told = slots.pick([f"The {label.replace('_', ' ')} is {reference}.", f"Reference: {reference}."])
    echoes = {k: v for k, v in arguments.items() if k != WHICH and slots.chance(0.3)}
    return Outcome(_shaped(slots, label, reference, echoes), f"{said} {told}", (reference,))


def of_lookup(slots: Slots, attribute: Attribute, made: Made, arguments: dict[str, Any], np: str) -> Outcome:
    """A value found for ``np``; sometimes nothing is."""
    np = _plain(np, made)
    roll = slots.rng.random()
    if roll < 0.04:
        return _refused(slots)
    label = slots.pick(attribute.names)
    if roll < 0.11:
        result = slots.pick(["not found", "null", json.dumps({label: None}), json.dumps({"error": "not found"}), "[]", "no such entry", json.dumps({"found": False})])  # fmt: skip
        answer = slots.pick([f"I could not find the {attribute.np[0]} of {np}.", f"The {attribute.np[0]} of {np} could not be found.", f"Nothing was found for {np}."])  # fmt: skip
        return Outcome(result, answer, ("not find|not be found|nothing was found|no entry|not found",))
    value = value_of(slots, attribute)
    says = slots.pick(attribute.says).replace("{T}", np).replace("{t}", np).replace("{v}", value)
    answer = slots.pick([says, says, f"The {slots.pick(attribute.np)} of {np} is {value}."])
    others = [a for a in parts.attributes_for(made.thing.id) if not a.like(attribute)]
    if made.identity and roll < 0.3:
        result = _records(slots, made, label, value, arguments[WHICH], attribute)
    elif others and roll < 0.62:
        fields = {slots.pick(a.names): value_of(slots, a) for a in slots.rng.sample(others, min(len(others), slots.pick([1, 2, 3])))}  # fmt: skip
        fields = {name: other for name, other in fields.items() if name != label and other != value}
        result = _shaped(slots, label, value, fields)
    elif roll < 0.75:
        result = slots.pick([value, says, answer])
    else:
        result = _shaped(slots, label, value)
    return Outcome(result, _upper(answer), (value,))


def retold(slots: Slots, outcome: Outcome) -> Outcome:
    """Now and then the answer tells the result as it is, which works for any tool."""
    if not slots.chance(0.25) or outcome.result[:1] not in "{" or len(outcome.result) > 120 or not outcome.expect:
        return outcome
    told = families.retold(outcome.result, [])
    whole = all(any(option in told.lower() for option in e.lower().split("|")) for e in outcome.expect)
    return Outcome(outcome.result, told, outcome.expect) if whole else outcome


def value_of(slots: Slots, attribute: Attribute) -> str:
    return slots.fill(attribute.slot) if isinstance(attribute.slot, str) else slots.pick(attribute.slot)


def _refused(slots: Slots) -> Outcome:
    reason = slots.pick([*_REASONS, f"unknown {slots.noun()}", f"no {slots.noun()} available", f"error {slots.integer(100, 599)}"])  # fmt: skip
    result = slots.pick([f"Error: {reason}", json.dumps({"error": reason}), json.dumps({"ok": False, "message": reason}), f"Failed: {reason}.", json.dumps({"status": "failed", "reason": reason})])  # fmt: skip
    return Outcome(result, slots.pick([f"That did not work: {reason}.", f"The tool failed: {reason}.", f"It failed: {reason}."]), (reason,))  # fmt: skip


def _found(slots: Slots, made: Made) -> Outcome:
    """The records that a search gives."""
    count = slots.pick([0, 1, 1, 2, 2, 3, 4])
    noun = made.thing.nouns[0]
    if count == 0:
        result = slots.pick(["[]", '{"results": []}', "nothing found", '{"count": 0, "items": []}', "no matches"])
        return Outcome(result, f"No {parts.plural(noun)} were found.", ("no |not |nothing|none",))
    kind = slots.pick([slots.title, slots.company, lambda: slots.word().capitalize(), slots.ident])
    names = list(dict.fromkeys(kind() for _ in range(count)))
    label = slots.pick(["name", "title", "id", "label"])
    extra = slots.pick(["price", "score", "distance", "rank"])
    records = [{label: name} | ({extra: slots.decimal(1, 99, 1)} if len(extra) > 4 else {}) for name in names]
    result = slots.pick([
        json.dumps(records, ensure_ascii=False), json.dumps({"results": records}, ensure_ascii=False),
        json.dumps({"count": len(records), "items": records}, ensure_ascii=False), "\n".join(names), "\n".join(f"- {name}" for name in names),
    ])  # fmt: skip
    listed = names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
    found = parts.article(noun) if len(names) == 1 else f"{len(names)} {parts.plural(noun)}"
    return Outcome(result, f"I found {found}: {listed}.", tuple(names))


def _records(slots: Slots, made: Made, label: str, value: str, which: str, attribute: Attribute) -> str:
    """A list in which one record is the one asked for."""
    assert made.identity is not None
    name = slots.pick([made.identity.id if made.identity.id != "self" else "name", "name", "id", made.thing.id])
    name = name if name != label else "key"
    records: list[dict[str, Any]] = [{name: which, label: slots.perhaps_number(value)}]
    for _ in range(slots.pick([1, 1, 2, 3])):
        other = value_of(slots, attribute)
        records.append({name: slots.fill(made.identity.slot), label: slots.perhaps_number(other)})
    records = [records[0], *(r for r in records[1:] if r[name] != which)]
    slots.rng.shuffle(records)
    if slots.chance(0.3):
        return "\n".join(f"{r[name]}: {r[label]}" for r in records)
    return json.dumps(records if slots.chance(0.6) else {"results": records}, ensure_ascii=False)


def _shaped(slots: Slots, label: str, value: str, fields: dict[str, Any] | None = None) -> str:
    """A value among other fields, as tools return it."""
    items = [(label, slots.perhaps_number(value)), *(fields or {}).items()]
    slots.rng.shuffle(items)
    table = dict(items) | {label: items[[key for key, _ in items].index(label)][1]}
    roll = slots.rng.random()
    if roll < 0.4:
        return json.dumps(table, ensure_ascii=False)
    if roll < 0.55:
        return json.dumps({slots.pick(["status", "ok", "code"]): slots.pick(["ok", True, 200]), **table}, ensure_ascii=False)  # fmt: skip
    if roll < 0.7:
        return json.dumps({slots.pick(["data", "result", "response"]): table, "error": None} if slots.chance(0.4) else {slots.pick(["data", "result", "response"]): table}, ensure_ascii=False)  # fmt: skip
    if roll < 0.85:
        return "\n".join(
            f"{key.replace('_', ' ') if slots.chance(0.3) else key}: {item}" for key, item in table.items()
        )
    if roll < 0.93:
        return ", ".join(f"{key}={item}" for key, item in table.items())
    return json.dumps(table, ensure_ascii=False, indent=1)


def _plain(np: str, made: Made) -> str:
    """What was asked for, seen from outside: my lamp is the lamp."""
    if np.startswith(made.thing.nouns):
        return f"the {np}"
    first, _, rest = np.partition(" ")
    return f"the {rest}" if first in ("my", "our") and rest else np.replace(" i got from ", " from ")


def _upper(text: str) -> str:
    """A sentence's first letter. Names keep their spelling."""
    return text[0].upper() + text[1:] if text.startswith(("the ", "nothing ")) else text
