"""Tasks with tools composed of parts: an action or a lookup, a thing, parameters, among neighbours one part away."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from .. import composed, parts
from ..composed import WHICH, Made
from ..episode import Answer, Call, Script, Task, Turn, single, turn
from ..parts import Action, Attribute, Detail, Identity, Thing
from ..phrasing import Wordings, fill
from ..scene import Scene
from ..slots import Slots
from ..world import ForeignCall
from . import composed_results as results

_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_LAST = (":", ",", "-", "(")  # a tail that starts so ends the sentence
_ASKS_LATE = {"track", "measure", "weigh", "inspect", "monitor", "compare", "enroll_test"}  # too near to a lookup
_ALIKE = {
    "title": "name",
    "host": "name",
    "firm": "name",
    "pet": "name",
    "plate": "number",
    "route": "number",
}  # identities


@dataclass
class _Given:
    """What a request says: text after the verb, sentences of their own, and the values in it."""

    arguments: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    tails: list[str] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)


def combined(scene: Scene) -> Task:
    """A lookup or an action put together from parts, among near neighbours."""
    for _ in range(20):
        task = _lookup(scene) if scene.slots.chance(0.3) else _action(scene)
        if task is not None:
            return task
    raise LookupError("every composed tool is taken")


def _action(scene: Scene) -> Task | None:
    slots = scene.slots
    action, fitting = slots.pick(parts.action_pairs())
    thing = slots.pick(fitting)
    made = composed.action_tool(slots, action, thing)
    if not scene.world.toolbox.add(made.view):
        return None
    _offer_neighbours(scene, made, action)
    if made.identity and action.mode == "the" and slots.chance(0.06):
        return _both(scene, made, action)
    given = _Given()
    np = _name(slots, action, made, given)
    for chosen in made.chosen:
        if chosen.detail.id not in given.arguments and (chosen.required or slots.chance(0.5)):
            _give(slots, chosen.detail, given)
    request = _worded(scene, made, action.wordings, np, given)
    spoken = fill(np, given.words)
    outcome = results.retold(slots, results.of_action(slots, action, made, given.arguments, spoken))
    scene.world.foreign.append(ForeignCall(made.view.tool, given.arguments, outcome.result))

    def script() -> Script:
        yield turn(made.view.tool, given.arguments)
        return Answer(outcome.answer, outcome.expect)

    return single("natural", request, script)


def _lookup(scene: Scene) -> Task | None:
    slots = scene.slots
    attribute, fitting = slots.pick(parts.attribute_pairs())
    thing = slots.pick(fitting)
    made = composed.lookup_tool(slots, attribute, thing)
    if not scene.world.toolbox.add(made.view):
        return None
    _offer_neighbours(scene, made, attribute)
    if made.identity and slots.chance(0.08):
        return _both(scene, made, attribute)
    given = _Given()
    np = _identified(slots, made, given)
    for chosen in made.chosen:
        if slots.chance(0.4):
            _give(slots, chosen.detail, given)
    request = _worded(scene, made, attribute.wordings, np, given)
    outcome = results.of_lookup(slots, attribute, made, given.arguments, fill(np, given.words))
    scene.world.foreign.append(ForeignCall(made.view.tool, given.arguments, outcome.result))

    def script() -> Script:
        yield turn(made.view.tool, given.arguments)
        return Answer(outcome.answer, outcome.expect)

    return single("natural", request, script)


def _both(scene: Scene, made: Made, part: Action | Attribute) -> Task:
    """One request about two such things: two calls in one turn."""
    slots = scene.slots
    identity = made.identity
    assert identity is not None
    shared = _Given()
    for chosen in made.chosen:
        if chosen.required:
            _give(slots, chosen.detail, shared)
    values = {"id": slots.fill(identity.slot), "id2": slots.fill(identity.slot)}
    if values["id"] == values["id2"]:
        values["id2"] += "2"
    phrase = slots.pick([p for p in identity.phrases if "{v}" in p])
    noun = slots.pick(made.thing.nouns)
    one, two = (phrase.replace("{t}", noun).replace("{v}", f"{{{key}}}") for key in ("id", "id2"))
    shared.words |= values
    request = _worded(scene, made, part.wordings, f"{one} and {two}", shared, alone=True)
    calls, answers, expect = [], [], []
    for np, value in ((one, values["id"]), (two, values["id2"])):
        arguments = {WHICH: value, **shared.arguments}
        spoken = fill(np, shared.words)
        outcome = (
            results.of_action(slots, part, made, arguments, spoken)
            if isinstance(part, Action)
            else results.of_lookup(slots, part, made, arguments, spoken)
        )
        scene.world.foreign.append(ForeignCall(made.view.tool, arguments, outcome.result))
        calls.append(Call(made.view.tool, arguments))
        answers.append(outcome.answer)
        expect += outcome.expect

    def script() -> Script:
        yield Turn(tuple(calls))
        return Answer(" ".join(answers), tuple(expect))

    return single("parallel", request, script)


def _name(slots: Slots, action: Action, made: Made, given: _Given) -> str:
    """How the request names what the action is about."""
    noun = slots.pick(made.thing.nouns)
    if action.mode == "the":
        return _identified(slots, made, given)
    if action.mode in ("find", "count"):
        return parts.plural(noun)
    quantity = next((c for c in made.chosen if c.detail.id == "quantity"), None)
    if quantity and (quantity.required or slots.chance(0.5)):
        number = int(slots.pick(quantity.detail.slot))
        given.arguments["quantity"] = number
        given.words["quantity"] = _NUMBERS[number] if number < len(_NUMBERS) and slots.chance(0.4) else str(number)
        return f"{{quantity}} {parts.plural(noun)}"
    return parts.article(noun)


def _identified(slots: Slots, made: Made, given: _Given) -> str:
    noun = slots.pick(made.thing.nouns)
    if made.identity is None:
        return slots.pick([f"the {noun}", f"the {noun}", f"my {noun}", f"our {noun}"])
    value = slots.fill(made.identity.slot)
    given.arguments[WHICH] = given.words["id"] = value
    return slots.pick(made.identity.phrases).replace("{t}", noun).replace("{v}", "{id}")


def _give(slots: Slots, detail: Detail, given: _Given) -> None:
    """Draw a value and say it, after the verb or in a sentence of its own."""
    key, value = detail.id, None
    if detail.said and (detail.type == "boolean" or slots.chance(0.3)):
        text = slots.pick(list(detail.said))
        value = text == "true" if detail.type == "boolean" else parts.typed(text, detail.type)
        given.arguments[key] = value
        given.tails.append(slots.pick(detail.said[text]))
        return
    if detail.enum:
        value = slots.pick(list(detail.enum))
        word = slots.pick(detail.enum[value])
    elif detail.type == "strings":
        value = _several(slots, detail)
        word = ", ".join(value[:-1]) + slots.pick([" and ", " and ", ", ", " & "]) + value[-1]
    else:
        word = str(slots.pick(detail.slot)) if isinstance(detail.slot, list) else slots.fill(detail.slot)
        value = parts.typed(word, detail.type)
        if detail.words and isinstance(value, int) and 1 < value < len(_NUMBERS) and slots.chance(0.35):
            word = _NUMBERS[value]
        elif detail.words and value == 1:
            value, word = 2, "two"
    given.arguments[key] = value
    given.words[key] = word
    said_apart = detail.own and slots.chance(0.2)
    form = slots.pick(detail.own if said_apart else detail.tail).replace("{v}", f"{{{key}}}")
    (given.sentences if said_apart else given.tails).append(form)


def _several(slots: Slots, detail: Detail) -> list[str]:
    count = slots.pick([2, 2, 2, 3, 3, 4])
    made = [
        slots.pick(detail.slot)
        if isinstance(detail.slot, list)
        else slots.noun()
        if detail.slot == "noun"
        else slots.fill(detail.slot)
        for _ in range(count)
    ]
    return list(dict.fromkeys(made)) if len(set(made)) > 1 else [made[0], f"{made[0]}2"]


def _worded(scene: Scene, made: Made, wordings: Wordings, np: str, given: _Given, *, alone: bool = False) -> str:
    """The request: one sentence, with more before and after it where a value or a circumstance asks for that."""
    slots = scene.slots
    template = scene.say.template(wordings).replace("{t}", np).replace("{n}", slots.pick(made.thing.nouns))
    if slots.chance(0.6):
        slots.rng.shuffle(given.tails)
    given.tails.sort(key=lambda tail: tail.startswith(_LAST))
    tail = "".join(part if part[0] in ":," else f" {part}" for part in given.tails)
    if "{tail}" in template:
        template = template.replace("{tail}", tail)
    elif tail:
        end = "?" if template.endswith("?") else ""
        template = template.removesuffix("?") + tail + end
    after = given.sentences
    before = []
    if after and slots.chance(0.15):
        before.append(after.pop())
    if not alone and slots.chance(0.12):
        before.insert(0, slots.pick(made.thing.around).rstrip("."))
    elif slots.chance(0.05):
        after.append(slots.pick(made.thing.around).rstrip("."))
    sentences = [*(f"{text}." for text in before), template, *after]
    text = sentences[0]
    for sentence in sentences[1:]:
        text = text.rstrip(" ") + ("" if text[-1] in ".?!" else slots.pick([".", ".", ".", ",", " -"])) + f" {sentence}"
    text = scene.say.roughen(text)
    if text[0].isupper():
        text = re.sub(r"(?<=[.?!] )[a-z]", lambda match: match[0].upper(), text)
    return fill(text, given.words)


def _offer_neighbours(scene: Scene, made: Made, part: Action | Attribute) -> None:
    """Other tools that share the thing, the action, or all but the way in which the thing is named."""
    slots, thing = scene.slots, made.thing
    for _ in range(slots.pick([0, 0, 1, 1, 2, 3, 4, 6])):
        roll = slots.rng.random()
        if roll < 0.42:
            other = _other_part(slots, part, thing, thing)
        elif roll < 0.75:
            near = slots.pick(parts.things_for(f"{'do' if isinstance(part, Action) else 'get'}:{part.id}"))
            other = _tool(slots, part, near) if not set(near.nouns) & set(thing.nouns) else None
        elif roll < 0.87:
            other = _other_identity(slots, made, part)
        else:
            other = _crossing(slots, part, thing)
        if other is not None:
            scene.world.toolbox.add(other.view)


def _tool(slots: Slots, part: Action | Attribute, thing: Thing) -> Made:
    if isinstance(part, Action):
        return composed.action_tool(slots, part, thing)
    return composed.lookup_tool(slots, part, thing)


def _other_part(slots: Slots, part: Action | Attribute, thing: Thing, of: Thing) -> Made | None:
    """Another action, or another attribute, of the thing."""
    if isinstance(part, Action):
        action = slots.pick(parts.actions_for(thing.id))
        return None if action.like(part) else composed.action_tool(slots, action, of)
    attribute = slots.pick(parts.attributes_for(thing.id))
    return None if attribute.like(part) else composed.lookup_tool(slots, attribute, of)


def _other_identity(slots: Slots, made: Made, part: Action | Attribute) -> Made | None:
    """The same action or lookup for a thing that is named in another way."""
    others: list[Identity] = [
        identity
        for identity in made.thing.identities
        if identity
        and made.identity
        and _ALIKE.get(identity.id, identity.id) != _ALIKE.get(made.identity.id, made.identity.id)
    ]
    if not others or (isinstance(part, Action) and part.mode != "the"):
        return None
    other = slots.pick(others)
    if isinstance(part, Action):
        return composed.action_tool(slots, part, made.thing, by=other, apart=other.id)
    return composed.lookup_tool(slots, part, made.thing, by=other, apart=other.id)


def _crossing(slots: Slots, part: Action | Attribute, thing: Thing) -> Made | None:
    """A lookup beside an action, or an action beside a lookup."""
    if isinstance(part, Action):
        attributes = parts.attributes_for(thing.id)
        if part.id in _ASKS_LATE or part.mode != "the" or not attributes:
            return None
        return composed.lookup_tool(slots, slots.pick(attributes), thing)
    actions = [a for a in parts.actions_for(thing.id) if a.id not in _ASKS_LATE]
    return composed.action_tool(slots, slots.pick(actions), thing) if actions else None
