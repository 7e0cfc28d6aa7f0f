"""The format of the natural tool families in this folder, and a check of it.

A family is one tool with an everyday meaning: names, descriptions, requests in plain English, results, final answers.
This file knows the format only; what a slot's values look like is the generator's business.

    python examples/train_pocket/families/check.py
"""

from __future__ import annotations

import json
import re
import string
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["string", "integer", "number", "boolean"]
Slot = str | list[str | int | float]  # the name of a generator, or the literal values

_NUMERIC = {
    **dict.fromkeys(("int", "small", "percent", "year", "duration_minutes"), "7"),
    **dict.fromkeys(("number", "price", "temperature", "weight_kg", "distance_km"), "12.5"),
}
_TEXT = [
    "word", "phrase", "sentence", "person", "first_name", "city", "country", "company", "street_address",
    "email", "phone", "url", "ident", "code4", "date", "weekday", "month", "clock", "color", "animal", "food",
    "product", "language", "currency", "room", "device", "sport", "genre", "title", "team", "filename",
    "topic", "flight", "plate", "version", "unit",
]  # fmt: skip
# Slot name -> a sample of what its generator makes.
SLOTS = _NUMERIC | {name: f"some {name}" for name in _TEXT}

# Meanings kept for the held-out evaluation. A training family that names one would leak it.
RESERVED = re.compile(
    r"""thermostat | timer | countdown | \block(s|ed)?\b | unlock | deadbolt | elevator | vending | parking
    | blood.pressure | watering | water.(the|my|a|our).plants? | irrigat | coffee.(machine|maker) | espresso | vacuum
    | hoover | (car|driver).*window | trunk | \bwalk(ed|ing)?\b.*\bdogs? | dog.walk | library | dentist | dental
    | train.seat | seat.*train | \bt[iy]res?\b | lotter(y|ies) | horoscope | zodiac | postage | stamps?
    | \bmoon | pollen | ferry | karaoke | garage.sale | yard.sale | blood.donat | donate.blood | ski.lift | chairlift
    | swimming.lane | chess | \bdice\b | password.*(strong|strength) | strong.*password | barcode | licen[sc]e.plate
    | minibar | aquarium | fish.tank | \bradio\b | 3d.print | mortgage | volcan | audio.guide | beehive | \bhive\b
    | run.*python | web.search | search.the.web""",
    re.IGNORECASE | re.VERBOSE,
)

_SNAKE = re.compile(r"[a-z][a-z0-9_]{1,62}")
_NAMED_DIRECTLY = 0.6  # at most this share of a family's requests may contain every word of its id


class Parameter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One argument of the tool; its values come from ``slot`` or are the keys of ``enum`` (exactly one is given).

    ``enum`` maps each value, written as a string, to the wordings that stand for it in a request.
    """

    name: str
    type: Kind
    descriptions: list[str]
    required: bool
    slot: Slot | None = None
    enum: dict[str, list[str]] | None = None
    aliases: list[str] = []


class Family(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tool. ``outputs`` are values that only the result has; ``key`` is the value every answer must contain."""

    id: str
    names: list[str]
    descriptions: list[str]
    wordings: list[str]
    results: list[str]
    answers: list[str]
    key: str
    parameter: list[Parameter] = []
    outputs: dict[str, Slot] = {}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    family: list[Family]


def load(path: Path) -> list[Family]:
    """The families of one file.

    Raises:
        tomllib.TOMLDecodeError: the file is not TOML.
        msgspec.ValidationError: a key is missing, unknown or of the wrong type; the message says where.
    """
    return msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).family


def problems(folder: Path) -> list[str]:
    """Everything in the folder's ``*.toml`` that breaks the format, as ``file: family: what is wrong``."""
    found: list[str] = []
    ids: Counter[str] = Counter()
    names: Counter[str] = Counter()
    for path in sorted(folder.glob("*.toml")):
        try:
            families = load(path)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            found.append(f"{path.name}: {error}")
            continue
        for family in families:
            ids[family.id] += 1
            names.update(set(family.names))
            found.extend(f"{path.name}: {family.id}: {problem}" for problem in _family_problems(family))
    found.extend(f"the id {name!r} is used {count} times" for name, count in ids.items() if count > 1)
    found.extend(f"the tool name {name!r} is in {count} families" for name, count in names.items() if count > 1)
    return found


def _family_problems(family: Family) -> Iterator[str]:
    yield from _count("names", family.names, 3, 6)
    yield from _count("descriptions", family.descriptions, 3, 6)
    yield from _count("wordings", family.wordings, 12, 20)
    yield from _count("results", family.results, 2, 3)
    yield from _count("answers", family.answers, 3, 8)
    yield from (f"{name!r} is not snake_case" for name in [family.id, *family.names] if not _SNAKE.fullmatch(name))
    for text in _texts(family):
        if match := RESERVED.search(text):
            yield f"reserved meaning {match.group()!r} in {text!r}"
    for parameter in family.parameter:
        yield from (f"parameter {parameter.name}: {problem}" for problem in _parameter_problems(parameter))
    labels = Counter(label for parameter in family.parameter for label in {parameter.name, *parameter.aliases})
    labels.update(list(family.outputs))
    yield from (f"two values share the name {label!r}" for label, count in labels.items() if count > 1)
    for name, slot in family.outputs.items():
        if isinstance(slot, str) and slot not in SLOTS:
            yield f"output {name} has the unknown slot {slot!r}"
    yield from _wording_problems(family)
    yield from _reply_problems(family)


def _parameter_problems(parameter: Parameter) -> Iterator[str]:
    yield from _count("descriptions", parameter.descriptions, 2, 6)
    yield from _count("aliases", parameter.aliases, 0, 4)
    for label in (parameter.name, *parameter.aliases):
        if not _SNAKE.fullmatch(label):
            yield f"{label!r} is not snake_case"
    if (parameter.slot is None) == (parameter.enum is None):
        yield "needs exactly one of slot and enum"
    if parameter.enum is not None:
        yield from _enum_problems(parameter.type, parameter.enum)
    elif parameter.type == "boolean":
        yield "a boolean needs an enum with true and false"
    elif isinstance(parameter.slot, str):
        if parameter.slot not in SLOTS:
            yield f"unknown slot {parameter.slot!r}"
        elif (parameter.type != "string") != (parameter.slot in _NUMERIC):
            yield f"slot {parameter.slot!r} does not make values of type {parameter.type}"
        elif parameter.type == "integer" and SLOTS[parameter.slot] == "12.5":
            yield f"slot {parameter.slot!r} makes decimals, not integers"
    elif any(isinstance(value, str) != (parameter.type == "string") for value in parameter.slot or []):
        yield f"the listed values are not of type {parameter.type}"


def _enum_problems(kind: Kind, enum: dict[str, list[str]]) -> Iterator[str]:
    if len(enum) < 2:
        yield "an enum needs at least two values"
    if kind == "boolean" and set(enum) != {"true", "false"}:
        yield "a boolean's enum has the keys true and false"
    if kind in ("integer", "number"):
        yield from (f"{value!r} is not a number" for value in enum if not re.fullmatch(r"-?\d+(\.\d+)?", value))
    surfaces = Counter(surface.lower() for wordings in enum.values() for surface in wordings)
    yield from (f"the surface {text!r} is given twice" for text, count in surfaces.items() if count > 1)
    yield from (f"the value {value!r} has no surface" for value, wordings in enum.items() if not wordings)


def _wording_problems(family: Family) -> Iterator[str]:
    known = {parameter.name for parameter in family.parameter}
    required = {parameter.name for parameter in family.parameter if parameter.required}
    for wording in family.wordings:
        used = _placeholders(wording)
        if missing := required - used:
            yield f"wording {wording!r} lacks {sorted(missing)}"
        if unknown := used - known:
            yield f"wording {wording!r} uses {sorted(unknown)}, which are not parameters"
    used_anywhere = set().union(*map(_placeholders, family.wordings))
    yield from (f"no wording gives the parameter {name!r}" for name in sorted(known - used_anywhere))
    stems = [word[:5] for word in family.id.split("_")]
    direct = sum(all(stem in wording.lower() for stem in stems) for wording in family.wordings)
    if direct > _NAMED_DIRECTLY * len(family.wordings):
        yield f"{direct} of {len(family.wordings)} wordings repeat the words of the id; paraphrase"


def _reply_problems(family: Family) -> Iterator[str]:
    required = {parameter.name for parameter in family.parameter if parameter.required}
    sure = required | set(family.outputs)
    if family.key not in sure:
        yield f"key {family.key!r} is neither a required parameter nor an output"
    if any(parameter.name == family.key and parameter.enum is not None for parameter in family.parameter):
        yield f"key {family.key!r} is an enum; its wording and its value differ"
    seen = set(family.outputs)
    for result in family.results:
        used = _placeholders(result)
        seen &= used | required
        if unknown := used - sure:
            yield f"result {result!r} uses {sorted(unknown)}, which may be absent"
            continue
        if result.startswith(("{{", "[")):
            yield from _json_problems(family, result)
    for answer in family.answers:
        used = _placeholders(answer)
        if family.key not in used:
            yield f"answer {answer!r} lacks the key {{{family.key}}}"
        if unknown := used - required - seen:
            yield f"answer {answer!r} uses {sorted(unknown)}, which some result does not give"
    for name in sorted(set(family.outputs) - set().union(*map(_placeholders, family.results))):
        yield f"no result gives the output {name!r}"


def _json_problems(family: Family, result: str) -> Iterator[str]:
    filled = result.format_map({**_samples(family)})
    try:
        json.loads(filled)
    except json.JSONDecodeError as error:
        yield f"result {result!r} is not JSON once filled: {error}"


def _samples(family: Family) -> dict[str, str]:
    samples = {name: _sample(slot) for name, slot in family.outputs.items()}
    for parameter in family.parameter:
        samples[parameter.name] = next(iter(parameter.enum)) if parameter.enum else _sample(parameter.slot)
    return samples


def _sample(slot: Slot | None) -> str:
    if isinstance(slot, str):
        return SLOTS.get(slot, "")
    return str(slot[0]) if slot else ""


def _placeholders(text: str) -> set[str]:
    """Names in braces. A text with stray braces counts as using the name ``?``, which nothing provides."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}
    except ValueError:
        return {"?"}


def _texts(family: Family) -> Iterator[str]:
    for group in (family.names, family.descriptions, family.wordings, family.results, family.answers):
        yield from (text.replace("_", " ") for text in group)
    for parameter in family.parameter:
        yield from parameter.descriptions
        for surfaces in (parameter.enum or {}).values():
            yield from surfaces


def _count(what: str, values: list[str], least: int, most: int) -> Iterator[str]:
    if not least <= len(values) <= most:
        yield f"{len(values)} {what}; expected {least} to {most}"
    yield from (f"{value!r} is twice in {what}" for value, count in Counter(values).items() if count > 1)


def _summary(paths: Iterable[Path]) -> str:
    families = [family for path in paths for family in load(path)]
    return f"{len(families)} families, {sum(len(family.wordings) for family in families)} wordings, no problems"


def main() -> int:
    folder = Path(__file__).parent
    found = problems(folder)
    print("\n".join(found) or _summary(sorted(folder.glob("*.toml"))))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
