"""Things that have named properties: the content of notes, settings, pages and records, and how people ask for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..scene import Scene
from ..slots import Slots, names


@dataclass(frozen=True)
class Fact:
    """A property of something.

    ``asks`` are noun phrases for requests ("the wifi password"); ``name`` is how files and pages call it.
    """

    name: str
    value: str
    asks: tuple[str, ...]

    def ask(self, scene: Scene) -> str:
        return scene.slots.pick(self.asks)


_KINDS: dict[str, tuple[Callable[[Slots], str], tuple[str, ...]]] = {
    "wifi password": (Slots.ident, ("the wifi password", "the wlan password", "our wifi password", "the password for the wifi", "my wifi password", "the wi-fi password", "the wireless password")),
    "password": (Slots.ident, ("the password", "my password", "the pass word")),
    "door code": (lambda s: str(s.integer(1000, 99999)), ("the door code", "the code for the door", "the entry code")),
    "alarm code": (lambda s: str(s.integer(1000, 99999)), ("the alarm code", "the code of the alarm")),
    "pin": (lambda s: str(s.integer(1000, 9999)), ("the pin", "the PIN", "my pin")),
    "phone": (Slots.phone, ("the phone number", "the telephone number", "the phone")),
    "email": (Slots.email, ("the email address", "the email", "the e-mail")),
    "address": (Slots.street_address, ("the address", "the street address")),
    "deadline": (lambda s: s.pick([s.date, s.long_date])(), ("the deadline", "the due date")),
    "budget": (lambda s: str(s.integer(100, 99999)), ("the budget", "our budget")),
    "total": (Slots.price, ("the total", "the total amount")),
    "price": (Slots.price, ("the price", "the cost")),
    "owner": (Slots.person, ("the owner", "the name of the owner", "the owner's name")),
    "manager": (Slots.person, ("the manager", "the name of the manager")),
    "author": (Slots.person, ("the author", "the author's name", "the name of the author")),
    "city": (Slots.city, ("the city",)),
    "version": (lambda s: s.fill("version"), ("the version", "the version number")),
    "port": (lambda s: str(s.integer(80, 65000)), ("the port", "the port number", "the server port")),
    "host": (Slots.domain, ("the host", "the host name")),
    "api key": (Slots.ident, ("the api key", "the API key", "my api key")),
    "room": (lambda s: str(s.integer(1, 999)), ("the room", "the room number")),
    "meeting time": (Slots.casual_clock, ("the meeting time", "the time of the meeting")),
    "departure": (Slots.casual_clock, ("the departure time", "the time of departure")),
    "birthday": (lambda s: s.pick([s.date, s.long_date])(), ("the birthday", "the date of birth")),
    "color": (lambda s: s.fill("color"), ("the color", "the colour")),
    "project": (lambda s: s.phrase(1, 2), ("the project name", "the name of the project")),
    "invoice number": (Slots.ident, ("the invoice number", "the number of the invoice")),
    "order id": (Slots.ident, ("the order id", "the order number")),
    "score": (lambda s: str(s.integer(1, 999)), ("the score",)),
    "quantity": (lambda s: str(s.integer(1, 9999)), ("the quantity", "the amount")),
    "supplier": (Slots.company, ("the supplier", "the name of the supplier")),
    "username": (lambda s: s.invented() + str(s.integer(1, 99)), ("the username", "the user name", "the login name")),
    "flight": (Slots.flight, ("the flight number", "the flight")),
    "temperature": (lambda s: f"{s.decimal(-20, 45, 1)}", ("the temperature",)),
    "weight": (lambda s: f"{s.integer(1, 500)} kg", ("the weight",)),
    "distance": (lambda s: f"{s.integer(1, 900)} km", ("the distance",)),
    "status": (lambda s: s.pick(["open", "closed", "pending", "active", "done", "blocked", "shipped"]), ("the status", "the current status")),
    "gate": (lambda s: s.pick("ABCDEF") + str(s.integer(1, 60)), ("the gate", "the gate number")),
    "doctor": (lambda s: f"Dr. {s.last_name()}", ("the doctor", "the name of the doctor", "the doctor's name")),
    "hotel": (lambda s: f"Hotel {s.word().capitalize()}", ("the hotel", "the name of the hotel")),
    "license": (lambda s: s.pick(["MIT", "Apache-2.0", "GPL-3.0", "BSD-3-Clause"]), ("the license",)),
    "database": (lambda s: s.word().lower() + "_db", ("the database", "the database name", "the name of the database")),
    "timeout": (lambda s: str(s.integer(1, 600)), ("the timeout", "the timeout setting")),
    "language": (lambda s: s.fill("language"), ("the language",)),
    "team": (lambda s: s.fill("team"), ("the team", "the team name")),
    "salary": (lambda s: str(s.integer(1000, 9999)), ("the salary",)),
    "seat": (lambda s: f"{s.integer(1, 40)}{s.pick('ABCDEF')}", ("the seat", "the seat number")),
    "locker": (lambda s: str(s.integer(1, 400)), ("the locker number", "the locker")),
    "account number": (Slots.ident, ("the account number", "the number of the account")),
    "contact": (Slots.person, ("the contact", "the contact person")),
}  # fmt: skip


def draw_facts(slots: Slots, count: int) -> list[Fact]:
    """Different properties; some are invented words, so that names are read and not recalled."""
    facts = []
    for kind in slots.rng.sample(list(_KINDS), count):
        if slots.chance(0.12):
            name = slots.phrase(1, 2).lower()
            if all(name != fact.name for fact in facts):
                facts.append(Fact(name, slots.ident() if slots.chance(0.5) else slots.word(), (f"the {name}", name)))
            continue
        make, asks = _KINDS[kind]
        value = make(slots)
        if slots.chance(0.15):
            owner = slots.pick([slots.word().lower(), slots.first_name().lower(), slots.pick(names("room"))])
            facts.append(Fact(f"{owner} {kind}", value, (f"the {owner} {kind}", f"{owner} {kind}")))
        else:
            facts.append(Fact(kind, value, asks))
    return facts


def facts_text(slots: Slots, facts: list[Fact], style: str | None = None) -> str:
    """The facts as a file would hold them."""
    style = style or slots.pick(["colon", "colon", "equals", "sentence", "mixed", "markdown", "dash"])
    lines = [_fact_line(slots, fact, style) for fact in facts]
    if style in ("sentence", "mixed") and slots.chance(0.5):
        lines.insert(slots.rng.randint(0, len(lines)), slots.sentence())
    if style == "markdown":
        lines.insert(0, f"# {slots.phrase(1, 2).title()}")
    if style == "equals" and slots.chance(0.5):
        lines.insert(0, f"[{slots.word().lower()}]")
    return "\n".join(lines) + ("\n" if slots.chance(0.6) else "")


def _fact_line(slots: Slots, fact: Fact, style: str) -> str:
    name, value = fact.name, fact.value
    if style == "mixed":
        style = slots.pick(["colon", "sentence", "dash"])
    if style == "equals":
        return f"{name.replace(' ', '_')} = {value}"
    if style == "sentence":
        return slots.pick(
            [
                f"The {name} is {value}.",
                f"{name.capitalize()} is {value}.",
                f"the {name} is {value}",
                f"{name.capitalize()}: {value}.",
            ]
        )
    if style == "dash":
        return f"- {name}: {value}"
    if style == "markdown":
        return slots.pick([f"**{name}**: {value}", f"- {name}: {value}"])
    return f"{slots.pick([name, name.capitalize()])}: {value}"


def fact_answer(slots: Slots, fact: Fact) -> str:
    """A sentence that gives the value."""
    name = fact.name
    return slots.pick(
        [f"The {name} is {fact.value}.", f"The {name} is {fact.value}.", f"{name.capitalize()}: {fact.value}"]
    )
