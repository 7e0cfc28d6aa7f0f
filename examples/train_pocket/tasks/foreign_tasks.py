"""Tasks with tools that the model has not seen before: from families, or without any meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .. import composed, families
from ..disguise import Disguise
from ..episode import Answer, Call, Script, Task, Turn, says, single, turn
from ..families import Family, Use
from ..phrasing import fill
from ..scene import Scene
from ..slots import Slots
from ..toolbox import View
from ..world import ForeignCall
from .composed_tasks import combined

_DISGUISED = 0.4  # of the families' uses


def _offer(scene: Scene, view: View) -> bool:
    return scene.world.toolbox.add(view)


def natural(scene: Scene, source: Path = families.TRAINING) -> Task:
    """One call of a family's tool."""
    family = scene.slots.pick(families.load(source))
    return one_family(scene, family, original=source != families.TRAINING)


def one_family(scene: Scene, family: Family, *, original: bool = True) -> Task:
    """One call of this family's tool. ``original`` offers it under its first name."""
    disguise = _disguise(scene, family, original)
    if not _offer(scene, families.view(family, scene.slots, disguise, original=original)):
        return combined(scene)
    _, used = _prepared(scene, family, disguise)
    request = scene.say.finish(used.template, used.words)
    if not original:
        for _ in range(scene.slots.pick([0, 0, 1, 2, 3])):
            near = scene.slots.pick(families.neighbours(family.area))
            if near.id != family.id:
                _offer(scene, families.view(near, scene.slots, disguise))

    def script() -> Script:
        yield turn(f"family:{family.id}", used.arguments)
        return Answer(used.answer, (used.key,) if used.key else ())

    return single("natural", request, script)


def _disguise(scene: Scene, family: Family, original: bool) -> Disguise:
    if original or not scene.slots.chance(_DISGUISED):
        return families.PLAIN
    return Disguise.draw(family.shared_stems, scene.slots)


def _prepared(scene: Scene, family: Family, disguise: Disguise = families.PLAIN) -> tuple[str, Use]:
    used = families.use(family, scene.slots, scene.say, disguise)
    tool = f"family:{family.id}"
    scene.world.foreign.append(ForeignCall(tool, used.arguments, used.result))
    return tool, used


def two_naturals(scene: Scene, source: Path = families.TRAINING) -> Task:
    """Two requests at once, each for a call of its own: both are made in one turn."""
    pool = families.load(source)
    first = scene.slots.pick(pool)
    second = first if scene.slots.chance(0.45) else scene.slots.pick(pool)
    for family in {first.id: first, second.id: second}.values():
        if not _offer(scene, families.view(family, scene.slots, original=source != families.TRAINING)):
            return natural(scene, source)
    (tool_a, a), (tool_b, b) = _prepared(scene, first), _prepared(scene, second)
    if tool_a == tool_b and a.arguments == b.arguments:
        return natural(scene, source)
    join = scene.slots.pick([" and ", " and also ", ". also, ", ". and ", "; ", ". then ", ", and "])
    request = scene.say.roughen(fill(a.template.rstrip("?. "), a.words) + join + fill(b.template, b.words))

    def script() -> Script:
        yield Turn((Call(tool_a, a.arguments), Call(tool_b, b.arguments)))
        return Answer(f"{a.answer} {b.answer}", tuple(key for key in (a.key, b.key) if key))

    return single("parallel", request, script)


def missing_argument(scene: Scene, source: Path = families.TRAINING) -> Task:
    """A request without a required argument: ask for it, then call."""
    slots = scene.slots
    family = slots.pick([f for f in families.load(source) if any(p.required and not p.surfaces for p in f.parameters)])
    view = families.view(family, slots, original=source != families.TRAINING)
    required = [p for p in family.parameters if p.required]
    if not _offer(scene, view) or len(required) > 2 or any(p.surfaces for p in required):
        return natural(scene, source)
    clause = family.names[0].replace("_", " ")
    frames = [
        "{c}",
        "{c} please",
        "can you {c}?",
        "i want to {c}",
        "please {c}",
        "i need to {c}",
        "help me {c}",
        "could you {c} for me?",
    ]
    wanted = " and ".join(f"the {p.name.replace('_', ' ')}" for p in required)
    request = scene.say.roughen(slots.pick(frames).replace("{c}", clause))
    return single(
        "ask_back",
        request,
        says(
            slots.pick([f"Please tell me {wanted}.", f"What is {wanted}?", f"I need {wanted} for that."]),
            (required[0].name.replace("_", " ").split()[-1],),
        ),
    )


def _result(slots: Slots, values: dict[str, str]) -> str:
    """Values as tools return them: JSON, lines, a sentence, or the bare value."""
    roll = slots.rng.random()
    if roll < 0.45:
        return json.dumps({name: slots.perhaps_number(value) for name, value in values.items()}, ensure_ascii=False)
    if roll < 0.6:
        return json.dumps(
            {slots.pick(["status", "ok", "code"]): slots.pick(["ok", True, 200]), **values}, ensure_ascii=False
        )
    if roll < 0.8:
        return "\n".join(f"{name}: {value}" for name, value in values.items())
    if roll < 0.9 and len(values) == 1:
        return next(iter(values.values()))
    return ". ".join(f"{name} is {value}" for name, value in values.items())


# Tools without meaning: only the schema tells what to do.


def _invented_view(scene: Scene) -> tuple[View, dict[str, dict[str, Any]]]:
    slots = scene.slots
    verb, noun = slots.rare().lower() or "blor", slots.rare().lower() or "fim"
    if slots.chance(0.3):
        verb = slots.pick(["get", "make", "check", "find", "run", "set", "count", "read"])
    name = slots.pick(
        [f"{verb}_{noun}", f"{verb}{noun.capitalize()}", f"{noun}_{verb}", noun, f"{noun}.{verb}".replace(".", "-")]
    )
    properties: dict[str, dict[str, Any]] = {}
    for _ in range(slots.pick([1, 1, 2, 2, 3, 4])):
        parameter = (
            slots.pick(
                [
                    slots.rare().lower(),
                    slots.word().lower(),
                    slots.noun(),
                    f"{slots.noun()}_{slots.pick(['id', 'name', 'count', 'level'])}",
                ]
            )
            or "x"
        )
        kind = slots.rng.choices(["string", "integer", "number", "boolean", "enum"], [5, 3, 1, 1, 1.5])[0]
        schema: dict[str, Any] = (
            {"type": "string", "enum": [slots.word().lower() for _ in range(3)]} if kind == "enum" else {"type": kind}
        )
        if slots.chance(0.7):
            schema["description"] = slots.pick(
                [slots.phrase(1, 3).capitalize(), f"The {slots.word()}", f"{slots.word().capitalize()} of the {noun}"]
            )
        properties[parameter] = schema
    required = [parameter for parameter in properties if slots.chance(0.75)]
    description = slots.pick(
        [
            f"{verb.capitalize()} a {noun}.",
            f"{verb.capitalize()}s the {noun} of a {slots.word()}.",
            slots.sentence(),
            f"{slots.word().capitalize()} {noun} tool.",
        ]
    )
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = required
    return View(f"invented:{name}", {"name": name, "description": description, "parameters": parameters}), properties


def _invented_value(slots: Slots, schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return slots.pick(schema["enum"])
    if schema["type"] == "integer":
        return slots.integer()
    if schema["type"] == "number":
        return slots.decimal()
    if schema["type"] == "boolean":
        return slots.chance(0.5)
    return slots.pick(
        [
            slots.word,
            slots.word,
            slots.ident,
            slots.person,
            slots.phrase,
            slots.city,
            slots.email,
            slots.date,
            slots.file_name,
        ]
    )()


def _arguments(slots: Slots, view: View, properties: dict[str, dict[str, Any]]) -> dict[str, Any]:
    required = view.schema.get("required", [])
    chosen = [name for name in properties if name in required or slots.chance(0.5)] or [next(iter(properties))]
    return {name: _invented_value(slots, properties[name]) for name in chosen}


def _worded(slots: Slots, arguments: dict[str, Any]) -> str:
    """Arguments as a request states them."""
    parts = []
    style = slots.pick(["{n} {v}", "{n} = {v}", "{n}: {v}", "{n} '{v}'", "{v} as {n}", "{n} set to {v}"])
    order = list(arguments.items())
    if slots.chance(0.3):
        slots.rng.shuffle(order)
    for name, value in order:
        shown = str(value).lower() if isinstance(value, bool) else str(value)
        spoken = name if slots.chance(0.6) else name.replace("_", " ")
        parts.append(style.replace("{n}", spoken).replace("{v}", shown))
    return ", ".join(parts) if len(parts) != 2 or slots.chance(0.4) else " and ".join(parts)


_TOOL_FRAMES = ["{t} with {a}", "call {t} with {a}", "use {t} with {a}", "run {t}: {a}", "please {t} with {a}", "{t}: {a}", "i need a {t} with {a}", "use the {t} tool, {a}", "do {t} for {a}",
                "what does {t} give for {a}?", "can you {t} with {a}?", "execute {t} using {a}", "try {t} ({a})", "get me the {t} result for {a}", "apply {t} to {a}", "what do you get from {t} with {a}?"]  # fmt: skip


def invented(scene: Scene) -> Task:
    """One call of a nonsense tool."""
    slots = scene.slots
    view, properties = _invented_view(scene)
    if not _offer(scene, view):
        return invented(scene)
    for _ in range(slots.pick([0, 1, 2])):
        _offer(scene, _invented_view(scene)[0])
    arguments = _arguments(slots, view, properties)
    values = _invented_values(slots)
    scene.world.foreign.append(ForeignCall(view.tool, arguments, _result(slots, values)))
    spoken = slots.pick([view.name, view.name.replace("_", " "), view.name])
    request = scene.say.finish(scene.say.choose(_TOOL_FRAMES), {"t": spoken, "a": _worded(slots, arguments)})

    def script() -> Script:
        yield turn(view.tool, arguments)
        return Answer(_state(values), tuple(values.values()))

    return single("invented", request, script)


def _invented_values(slots: Slots) -> dict[str, str]:
    count = slots.pick([1, 1, 1, 2])
    return {
        slots.pick([slots.word().lower(), slots.noun(), "result", "value"]) + ("" if i == 0 else "2"): slots.pick(
            [slots.word, slots.ident, slots.phrase, slots.price, slots.date, lambda: str(slots.integer())]
        )()
        for i in range(count)
    }


def _state(values: dict[str, str]) -> str:
    return "The " + " and the ".join(f"{name} is {value}" for name, value in values.items()) + "."


def parallel_invented(scene: Scene) -> Task:
    """The same nonsense tool for two or three things."""
    slots = scene.slots
    view, properties = _invented_view(scene)
    name = next(
        (
            p
            for p, schema in properties.items()
            if schema == {"type": "string"} or (schema["type"] == "string" and "enum" not in schema)
        ),
        None,
    )
    if name is None or any(required != name for required in view.schema.get("required", [])) or not _offer(scene, view):
        return invented(scene)
    things = [slots.pick([slots.word, slots.city, slots.person, slots.ident])() for _ in range(slots.pick([2, 2, 3]))]
    if len(set(things)) < len(things):
        return invented(scene)
    label = slots.noun()
    values = [slots.pick([slots.word, slots.ident, lambda: str(slots.integer())])() for _ in things]
    for thing, value in zip(things, values, strict=True):
        scene.world.foreign.append(ForeignCall(view.tool, {name: thing}, _result(slots, {label: value})))
    joined = ", ".join(things[:-1]) + " and " + things[-1]
    request = scene.say.finish(scene.say.choose(_TOOL_FRAMES), {"t": view.name, "a": joined})

    def script() -> Script:
        yield Turn(tuple(Call(view.tool, {name: thing}) for thing in things))
        return Answer(
            " ".join(f"{thing}: {value}." for thing, value in zip(things, values, strict=True)), tuple(values)
        )

    return single("parallel", request, script)


def chained_invented(scene: Scene) -> Task:
    """The result of one nonsense tool goes into another."""
    slots = scene.slots
    (first, first_properties), (second, second_properties) = _invented_view(scene), _invented_view(scene)
    text = [p for p, schema in second_properties.items() if schema["type"] == "string" and "enum" not in schema]
    if not text or any(required not in text[:1] for required in second.schema.get("required", [])):
        return invented(scene)
    if not (_offer(scene, first) and _offer(scene, second)):
        return invented(scene)
    arguments = _arguments(slots, first, first_properties)
    middle, values = slots.pick([slots.ident, slots.word, slots.phrase])(), _invented_values(slots)
    label = slots.noun()
    scene.world.foreign.append(ForeignCall(first.tool, arguments, _result(slots, {label: middle})))
    scene.world.foreign.append(ForeignCall(second.tool, {text[0]: middle}, _result(slots, values)))
    frames = ["call {t} with {a}, then pass the {l} to {u}", "{t} with {a} and give the {l} to {u}", "first {t} ({a}), then use its {l} in {u}", "run {u} on the {l} that {t} gives for {a}",
              "use {t} with {a}; feed the {l} into {u}", "take the {l} of {t} with {a} and call {u} with it", "get the {l} from {t} ({a}) and use it for {u}"]  # fmt: skip
    request = scene.say.finish(
        scene.say.choose(frames), {"t": first.name, "u": second.name, "l": label, "a": _worded(slots, arguments)}
    )

    def script() -> Script:
        yield turn(first.tool, arguments)
        yield turn(second.tool, {text[0]: middle})
        return Answer(_state(values), tuple(values.values()))

    return single("chained", request, script)


def tool_error(scene: Scene) -> Task:
    """A foreign tool that fails: say what it said."""
    slots = scene.slots
    family = slots.pick(families.load(families.TRAINING))
    if not _offer(scene, families.view(family, slots)):
        return combined(scene)
    used = families.use(family, slots, scene.say)
    reason = slots.pick(
        [
            "not found",
            "permission denied",
            "service unavailable",
            f"unknown {slots.word()}",
            "rate limit exceeded",
            "timeout",
            f"no {slots.noun()} available",
            "invalid value",
        ]
    )
    result = slots.pick(
        [
            f"Error: {reason}",
            json.dumps({"error": reason}),
            f"Error: {reason}.",
            json.dumps({"ok": False, "message": reason}),
        ]
    )
    scene.world.foreign.append(ForeignCall(f"family:{family.id}", used.arguments, result))

    def script() -> Script:
        yield turn(f"family:{family.id}", used.arguments)
        return Answer(slots.pick([f"That did not work: {reason}.", f"The tool failed: {reason}."]), (reason,))

    return single("tool_error", scene.say.finish(used.template, used.words), script)


def distractor(slots: Slots) -> View:
    """A foreign tool that nobody asks for."""
    roll = slots.rng.random()
    if roll < 0.45:
        return families.view(slots.pick(families.load(families.TRAINING)), slots)
    return composed.any_tool(slots).view
