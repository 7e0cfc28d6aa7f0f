"""Looking something up in a small text file: contacts, calendars, price lists, notes. Sometimes it is not there."""

from __future__ import annotations

from collections.abc import Callable

from ..episode import Answer, Round, Script, Task, says, single, turn
from ..scene import Scene
from ..slots import Slots
from .facts import Fact, draw_facts, fact_answer, facts_text

_DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
_LONG_DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
_EVENTS = ["dentist", "gym", "choir", "swimming", "yoga", "haircut", "team meeting", "piano lesson", "parents evening", "doctor", "football",
           "car service", "book club", "exam", "staff meeting", "flight", "cinema", "therapy", "interview", "dance class", "vet", "call with the bank"]  # fmt: skip
_WITH = ["meeting with", "lunch with", "call with", "dinner with", "coffee with", "tennis with", "appointment with", "breakfast with"]  # fmt: skip


def _file(scene: Scene, stems: list[str], extensions: tuple[str, ...] = ("txt", "txt", "txt", "md")) -> str:
    slots = scene.slots
    stem = slots.pick(stems)
    if slots.chance(0.4):
        stem = slots.pick([f"my_{stem}", f"{stem}{slots.integer(1, 30)}", slots.word().lower(), f"{stem}_new", slots.plain_word().lower()])  # fmt: skip
    folder = f"{slots.directory()}/" if slots.chance(0.1) else ""
    path = f"{folder}{stem}.{slots.pick(extensions)}"
    if scene.world.workspace.has(path) or scene.world.workspace.has(path.split("/")[0]):
        return scene.fresh_path("txt", 0.1)
    return path


def _typed(slots: Slots, name: str) -> str:
    """A name as people type it."""
    return name.lower() if slots.chance(0.55) else name


def _put(scene: Scene, path: str, lines: list[str]) -> None:
    slots = scene.slots
    if slots.chance(0.15):
        lines.insert(0, slots.pick([f"# {slots.phrase(1, 2).title()}", slots.phrase(1, 2).title(), ""]))
    scene.world.workspace.put(path, "\n".join(lines) + slots.pick(["\n", "\n", ""]))
    scene.other_files(0, 3)


def _absent(slots: Slots, what: str, path: str) -> Answer:
    text = slots.pick([f"{what} is not in {path}.", f"{what} is not in {path}.", f"I could not find {what} in {path}."])
    return Answer(text, ("not",))


def _reads(path: str, answer: Answer) -> Callable[[], Script]:
    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        return answer

    return script


def casual_lookup(scene: Scene) -> Task:
    """One entry of a small file."""
    makers = [_contact, _calendar, _price_list, _key_value]
    return scene.slots.rng.choices(makers, [4, 4, 2, 3])[0](scene)


def _contact(scene: Scene) -> Task:
    slots = scene.slots
    kind = slots.rng.choices(["phone", "email", "birthday"], [4, 2, 2])[0]
    stems = {"phone": ["contacts", "phones", "numbers", "phonebook", "people", "addresses"], "email": ["contacts", "emails", "addresses", "people"],
             "birthday": ["birthdays", "bdays", "dates", "family"]}[kind]  # fmt: skip
    make: Callable[[], str] = {
        "phone": lambda: slots.pick([slots.phone(), f"555-{slots.rng.randint(0, 9999):04d}", f"0{slots.integer(100000, 9999999)}"]),
        "email": slots.email,
        "birthday": lambda: slots.pick([slots.date(), slots.long_date(), f"{slots.rng.randint(1, 28)} {slots.fill('month')}"]),
    }[kind]  # fmt: skip
    path = _file(scene, stems)
    whole = slots.chance(0.3)
    people = list(dict.fromkeys((slots.person if whole else slots.first_name)() for _ in range(slots.rng.randint(2, 8))))  # fmt: skip
    values = [make() for _ in people]
    style = slots.pick(
        ["{n} {v}", "{n} {v}", "{n}: {v}", "{n}: {v}", "{n} - {v}", "{n}, {v}", "- {n}: {v}", "{n}\t{v}"]
    )
    _put(scene, path, [style.replace("{n}", n).replace("{v}", v) for n, v in zip(people, values, strict=True)])
    name, value = slots.pick(list(zip(people, values, strict=True)))
    if slots.chance(0.3):
        other = slots.first_name()
        if any(other.lower() in person.lower() for person in people):
            return _contact(scene)
        answer = _absent(slots, other, path)
        spoken = other
    else:
        spoken = name.split(" ")[0] if whole and sum(p.split(" ")[0] == name.split(" ")[0] for p in people) == 1 else name  # fmt: skip
        lead = {"phone": "phone number", "email": "email", "birthday": "birthday"}[kind]
        answer = Answer(slots.pick([f"{name}'s {lead} is {value}.", f"{name}: {value}"]), (value,))
    request = scene.say.request(f"lookups.{kind}", {"p": path, "v": _typed(slots, spoken)})
    return single("lookup", request, _reads(path, answer), ("read_text_file",))


def _calendar(scene: Scene) -> Task:
    slots = scene.slots
    path = _file(scene, ["calendar", "schedule", "week", "plan", "agenda", "appointments", "timetable", "diary"])
    long_days, dated = slots.chance(0.25), slots.chance(0.25)
    count = slots.rng.randint(2, 6)
    events: list[str] = []
    while len(events) < count:
        event = f"{slots.pick(_WITH)} {slots.first_name()}" if slots.chance(0.5) else slots.pick(_EVENTS)
        if not any(event in other or other in event for other in events):
            events.append(event)
    days = slots.rng.sample(_LONG_DAYS if long_days else _DAYS, count)
    days.sort(key=(_LONG_DAYS if long_days else _DAYS).index)
    if dated:
        days = sorted(dict.fromkeys(slots.date() for _ in range(count * 3)))[:count]
    if len(days) < count:
        return _calendar(scene)
    clocks = [slots.clock() if slots.chance(0.8) else slots.casual_clock() for _ in events]
    style = slots.pick(
        [
            "{d} {t} {e}",
            "{d} {t} {e}",
            "{d}, {t}: {e}",
            "{d} {t} - {e}",
            "- {d} {t} {e}",
            "{e}: {d} {t}",
            "{t} {d} {e}",
            "{d}: {e} at {t}",
        ]
    )
    fill = zip(days, clocks, events, strict=True)
    _put(scene, path, [style.replace("{d}", d).replace("{t}", t).replace("{e}", e) for d, t, e in fill])
    at = slots.rng.randrange(count)
    event, clock, day = events[at], clocks[at], days[at]
    kind = slots.rng.choices(["when", "day", "what_on"], [5, 2, 2])[0]
    if slots.chance(0.25):
        other = f"{slots.pick(_WITH)} {slots.first_name()}" if slots.chance(0.5) else slots.pick(_EVENTS)
        if any(other in known or known in other for known in events):
            return _calendar(scene)
        kind = "day" if kind == "what_on" else kind
        request = scene.say.request(f"lookups.{kind}", {"p": path, "v": _typed(slots, other)})
        text = slots.pick([f"{other[0].upper() + other[1:]} is not in {path}.", f"I could not find {other} in {path}."])
        return single("lookup", request, _reads(path, Answer(text, ("not",))), ("read_text_file",))
    spoken = day if dated else slots.pick([_LONG_DAYS, _LONG_DAYS, _DAYS])[[d[:3] for d in _DAYS].index(day[:3])]
    if kind == "what_on":
        answer = Answer(slots.pick([f"{spoken}: {event} at {clock}.", f"You have {event} at {clock}."]), (event, clock))
        request = scene.say.request("lookups.what_on", {"p": path, "v": _typed(slots, spoken)})
    else:
        title = slots.pick([f"The {event}", event[0].upper() + event[1:]])
        expect = (clock,) if kind == "when" else (day,)
        text = slots.pick([f"{title} is at {clock} on {day}.", f"{title} is on {day} at {clock}."])
        answer = Answer(text, expect)
        request = scene.say.request(f"lookups.{kind}", {"p": path, "v": _typed(slots, event)})
    return single("lookup", request, _reads(path, answer), ("read_text_file",))


def _price_list(scene: Scene) -> Task:
    slots = scene.slots
    path = _file(scene, ["prices", "pricelist", "menu", "shop", "costs", "fees"])
    names = list(dict.fromkeys(slots.plain_word().lower() for _ in range(slots.rng.randint(2, 8))))
    values = [slots.price(1, 90) if slots.chance(0.8) else str(slots.integer(1, 200)) for _ in names]
    style = slots.pick(
        ["{n} {v}", "{n}: {v}", "{n} - {v}", "{n}: ${v}", "{n}: {v} eur", "- {n} {v}", "{n} = {v}", "{n} ... {v}"]
    )
    _put(scene, path, [style.replace("{n}", n).replace("{v}", v) for n, v in zip(names, values, strict=True)])
    name, value = slots.pick(list(zip(names, values, strict=True)))
    answer = Answer(slots.pick([f"{name} costs {value}.", f"The price of {name} is {value}."]), (value,))
    if slots.chance(0.25):
        name = slots.plain_word().lower()
        if any(name in known or known in name for known in names):
            return _price_list(scene)
        answer = _absent(slots, name, path)
    request = scene.say.request("lookups.price", {"p": path, "v": name})
    return single("lookup", request, _reads(path, answer), ("read_text_file",))


def _key_value(scene: Scene) -> Task:
    slots = scene.slots
    path = _file(
        scene, ["house", "info", "notes", "trip", "car", "settings", "office", "hotel", "details", "passwords", "stuff"]
    )
    facts = draw_facts(slots, slots.rng.randint(2, 6))
    absent = slots.chance(0.22)
    wanted = facts.pop() if absent else slots.pick(facts)
    known: list[Fact] = [f for f in facts if not (absent and (f.name in wanted.name or wanted.name in f.name))]
    if not known:
        return _key_value(scene)
    scene.world.workspace.put(path, facts_text(slots, known))
    scene.other_files(0, 3)
    answer = Answer(fact_answer(slots, wanted), (wanted.value,))
    if absent:
        answer = _absent(slots, f"The {wanted.name}", path)
        answer = Answer(answer.text.replace("find The", "find the"), answer.expect)
    request = scene.say.request("lookups.key", {"p": path, "k": wanted.ask(scene)})
    rounds = [Round(request, _reads(path, answer))]
    if not absent and len(known) > 1 and slots.chance(0.2):
        other = slots.pick([f for f in known if f is not wanted])
        asks = ["and {k}?", "what about {k}?", "ok and {k}", "thanks, and {k}?", "also {k} please"]
        rounds.append(Round(scene.say.finish(slots.pick(asks), {"k": other.ask(scene)}), says(fact_answer(slots, other), (other.value,), calls=None)))  # fmt: skip
    return Task("lookup", rounds, ("read_text_file",))
