"""Random values: names, numbers, dates, identifiers, words.

Half of all names and words are invented or built from tokenizer pieces. A model that only ever copies familiar words
learns to recall instead of copy (Dublin becomes Dubai); rare strings force it to look.
"""

from __future__ import annotations

import json
import random
import string
import tomllib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

VOCABULARY = Path(__file__).parent / "vocabulary"
MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
WEEKDAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
EXTENSIONS = ["txt", "txt", "txt", "md", "csv", "json", "log", "cfg", "ini", "yaml", "py", "html"]

_ONSETS = [
    "b",
    "bl",
    "br",
    "c",
    "ch",
    "cl",
    "cr",
    "d",
    "dr",
    "f",
    "fl",
    "fr",
    "g",
    "gl",
    "gr",
    "h",
    "j",
    "k",
    "kl",
    "l",
    "m",
    "n",
    "p",
    "pl",
    "pr",
    "qu",
    "r",
    "s",
    "sh",
    "sk",
    "sl",
    "sn",
    "sp",
    "st",
    "str",
    "t",
    "th",
    "tr",
    "v",
    "w",
    "x",
    "y",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u", "a", "e", "i", "o", "ai", "ea", "ee", "oo", "ou", "ia", "io", "y"]
_CODAS = [
    "",
    "",
    "",
    *["b", "d", "f", "g", "k", "l", "m", "n", "ng", "nt", "p", "r", "rk", "s", "sh", "st", "t", "th", "x", "z"],
]


@cache
def common_words() -> list[str]:
    return (VOCABULARY / "words.txt").read_text().split()


@cache
def names(kind: str) -> list[str]:
    return _names()[kind]


@cache
def _names() -> dict[str, list[str]]:
    return tomllib.loads((VOCABULARY / "names.toml").read_text())


class Slots:
    """Draws values from one random stream. ``pieces`` are tokenizer entries, from which unheard-of words are built."""

    def __init__(self, rng: random.Random, pieces: Sequence[str] = ()) -> None:
        self.rng = rng
        self._pieces = list(pieces) or ["ab", "ent", "ing", "or", "qu", "est", "ra", "lo", "min"]

    def fill(self, slot: str) -> str:
        """The value of a slot named as in the families' format. Raises KeyError for an unknown slot."""
        return SLOTS[slot](self)

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def integer(self, low: int = 1, high: int | None = None) -> int:
        most = 10 ** self.pick([1, 2, 2, 3, 3, 4, 5, 6]) if high is None else high
        return self.rng.randint(low, max(low, most))

    def decimal(self, low: float = 0.1, high: float | None = None, places: int | None = None) -> float:
        if high is None:
            high = 10.0 ** self.pick([1, 2, 3, 4])
        return round(self.rng.uniform(low, high), places or self.pick([1, 2, 2, 3]))

    def invented(self, syllables: int | None = None) -> str:
        count = syllables or self.pick([1, 2, 2, 2, 3])
        return "".join(self.pick(_ONSETS) + self.pick(_VOWELS) + self.pick(_CODAS) for _ in range(count))

    def pieced(self) -> str:
        return "".join(self.pick(self._pieces) for _ in range(self.pick([1, 2, 2, 3])))

    def rare(self) -> str:
        """A word nobody has seen."""
        return self.invented() if self.chance(0.5) else self.pieced()

    def noun(self) -> str:
        return self.pick(names("noun"))

    def adjective(self) -> str:
        return self.pick(names("adjective"))

    def word(self) -> str:
        roll = self.rng.random()
        if roll < 0.2:
            return self.invented()
        if roll < 0.4:
            return self.pieced()
        return self.pick(common_words()) if roll < 0.7 else self.noun()

    def plain_word(self) -> str:
        return self.noun() if self.chance(0.5) else self.pick(common_words())

    def words(self, count: int) -> list[str]:
        return [self.word() for _ in range(count)]

    def phrase(self, low: int = 2, high: int = 4) -> str:
        return " ".join(
            self.adjective() if self.chance(0.2) else self.word() for _ in range(self.rng.randint(low, high))
        )

    def sentence(self) -> str:
        roll = self.rng.random()
        if roll < 0.25:
            return f"The {self.adjective()} {self.word()} {self.pick(names('verb'))} the {self.word()}."
        if roll < 0.45:
            return f"{self.person()} {self.pick(names('verb'))} a {self.adjective()} {self.word()} in {self.city()}."
        if roll < 0.6:
            return f"Remember to bring {self.integer(2, 90)} {self.word()}s."
        if roll < 0.7:
            return f"{self.word().capitalize()} and {self.word()} {self.pick(['are', 'were', 'will be'])} {self.adjective()}."
        if roll < 0.85:
            return " ".join([self.word().capitalize(), *self.words(self.rng.randint(3, 9))]) + "."
        return f"On {self.long_date()} the {self.word()} was {self.adjective()}."

    def paragraph(self, sentences: int) -> str:
        return " ".join(self.sentence() for _ in range(sentences))

    def _name(self, kind: str, familiar: float = 0.6) -> str:
        if self.chance(familiar):
            return self.pick(names(kind))
        return self.pick([self.invented, self.pieced, self.plain_word])().capitalize()

    def first_name(self) -> str:
        return self._name("first_name")

    def last_name(self) -> str:
        return self._name("last_name")

    def person(self) -> str:
        return f"{self.first_name()} {self.last_name()}"

    def city(self) -> str:
        return self._name("city")

    def country(self) -> str:
        return self._name("country", 0.8)

    def company(self) -> str:
        return f"{self._name('noun', 0.2).capitalize()} {self.pick(names('company_suffix'))}"

    def title(self) -> str:
        if self.chance(0.4):
            return self.pick(names("title"))
        return " ".join(word.capitalize() for word in self.phrase(1, 3).split())

    def perhaps_number(self, value: str) -> str | int | float:
        """Half of the time a number instead of its spelling, where that loses nothing."""
        if self.chance(0.5):
            try:
                number = json.loads(value)
            except ValueError:
                return value
            if isinstance(number, int | float) and str(number) == value:
                return number
        return value

    def label(self) -> str:
        """What things of one kind may be called: a number in a name, two words, a code."""
        styles = [
            lambda: f"{self.word()} {self.integer(1, 99)}",
            lambda: f"{self.plain_word().capitalize()} {self.word().capitalize()}",
            lambda: f"{self.plain_word()} {self.plain_word()}",
            lambda: f"{self.adjective()} {self.word()}",
            lambda: f"{self.word()}{self.pick(['-', '_', '.', ''])}{self.integer(1, 999)}",
            lambda: self.pick(string.ascii_uppercase) + str(self.integer(1, 99)),
            lambda: f"{self.integer(1, 99)}{self.pick(string.ascii_uppercase)}",
            lambda: f"{self.word()}.{self.pick(EXTENSIONS)}",
            lambda: "".join(self.pick(string.ascii_uppercase) for _ in range(self.rng.randint(2, 4))),
            self.rare,
            self.ident,
        ]
        return self.pick(styles)()

    def price(self, low: float = 1, high: float | None = None) -> str:
        return f"{self.rng.uniform(low, high or 10 ** self.pick([1, 2, 2, 3, 4])):.2f}"

    def ident(self) -> str:
        roll = self.rng.random()
        if roll < 0.35:
            letters = "".join(self.pick(string.ascii_uppercase) for _ in range(self.rng.randint(1, 4)))
            return letters + self.pick(["-", "-", "", "_"]) + str(self.integer(1, 10 ** self.rng.randint(2, 6)))
        if roll < 0.55:
            return "".join(self.pick("0123456789abcdef") for _ in range(self.pick([6, 8, 8, 10, 12])))
        if roll < 0.7:
            return str(self.integer(100, 10 ** self.rng.randint(4, 9)))
        if roll < 0.85:
            return self.invented() + self.pick("-_") + str(self.integer(1, 9999))
        return "".join(self.pick(string.ascii_letters + string.digits) for _ in range(self.rng.randint(5, 12)))

    def date_parts(self) -> tuple[int, int, int]:
        return self.rng.randint(1950, 2045), self.rng.randint(1, 12), self.rng.randint(1, 28)

    def date(self) -> str:
        return "{:04d}-{:02d}-{:02d}".format(*self.date_parts())

    def long_date(self) -> str:
        year, month, day = self.date_parts()
        return f"{MONTHS[month - 1]} {day}, {year}" if self.chance(0.5) else f"{day} {MONTHS[month - 1]} {year}"

    def clock(self) -> str:
        return f"{self.rng.randint(0, 23):02d}:{self.pick([0, 15, 30, 45, self.rng.randint(0, 59)]):02d}"

    def casual_clock(self) -> str:
        hour = self.rng.randint(1, 12)
        return self.pick(
            [
                f"{hour}:{self.pick(['00', '15', '30', '45'])} {self.pick(['AM', 'PM'])}",
                f"{hour} {self.pick(['am', 'pm'])}",
            ]
        )

    def domain(self) -> str:
        return f"{self.word()}.{self.pick(['com', 'org', 'net', 'io', 'example', 'dev', 'co'])}"

    def email(self) -> str:
        first = self.first_name().lower() if self.chance(0.6) else self.rare()
        last = self.pick([self.last_name().lower(), self.invented(), str(self.integer(1, 99))])
        return f"{first}{self.pick(['', '.', '_'])}{last}@{self.domain()}".replace(" ", "")

    def phone(self) -> str:
        area, exchange, line = self.integer(200, 999), self.integer(100, 999), self.integer(1000, 9999)
        styles = [
            f"+{self.integer(1, 99)} {area} {exchange} {line}",
            f"({area}) {exchange}-{line}",
            f"{area}-{exchange}-{line}",
            f"555-{line}",
        ]
        return self.pick(styles)

    def url(self) -> str:
        path = self.pick(
            ["", "", f"/{self.word()}", f"/{self.word()}/{self.word()}", f"/{self.word()}-{self.integer(1, 99)}"]
        )
        return f"https://{self.pick(['', '', 'www.'])}{self.domain()}{path}"

    def street_address(self) -> str:
        return f"{self.integer(1, 299)} {self._name('noun', 0.4).capitalize()} {self.pick(names('street'))}"

    def file_stem(self) -> str:
        usual = [
            "notes",
            "todo",
            "readme",
            "report",
            "data",
            "config",
            "summary",
            "contacts",
            "list",
            "numbers",
            "budget",
            "log",
            "results",
            "info",
            "draft",
            "expenses",
            "sales",
            "inventory",
            "scores",
            "users",
            "settings",
            "plan",
            "recipes",
            "shopping",
            "journal",
        ]
        roll = self.rng.random()
        if roll < 0.3:
            return self.pick(usual)
        if roll < 0.7:
            return self.word()
        return (
            self.word() + self.pick("_-") + self.word()
            if roll < 0.87
            else self.pick(usual) + self.pick(["", "_", "-"]) + str(self.integer(1, 2030))
        )

    def file_name(self, extension: str | None = None) -> str:
        return f"{self.file_stem()}.{extension or self.pick(EXTENSIONS)}"

    def directory(self) -> str:
        usual = [
            "docs",
            "data",
            "notes",
            "src",
            "archive",
            "reports",
            "logs",
            "images",
            "backup",
            "projects",
            "old",
            "work",
            "home",
            "config",
        ]
        return self.pick(usual) if self.chance(0.45) else self.word().lower()

    def path(self, extension: str | None = None, nested: float = 0.3) -> str:
        name = self.file_name(extension)
        if not self.chance(nested):
            return name
        return "/".join([self.directory() for _ in range(self.pick([1, 1, 1, 2]))] + [name])

    def flight(self) -> str:
        return self.pick(["BA", "LH", "AF", "UA", "KL", "DL", "SK", "EK", "QF", "IB"]) + str(self.integer(10, 9999))

    def plate(self) -> str:
        letters = "".join(self.pick(string.ascii_uppercase) for _ in range(3))
        return self.pick([f"{letters}-{self.integer(100, 9999)}", f"{letters[:2]} {self.integer(10, 99)} {letters}"])


def _from(kind: str) -> Callable[[Slots], str]:
    return lambda slots: slots.pick(names(kind))


SLOTS: dict[str, Callable[[Slots], str]] = {
    "int": lambda s: str(s.integer(1, s.pick([99, 999, 9999]))),
    "small": lambda s: str(s.integer(1, 20)),
    "percent": lambda s: str(s.integer(0, 100)),
    "number": lambda s: str(s.decimal()),
    "price": Slots.price,
    "word": Slots.word,
    "phrase": Slots.phrase,
    "sentence": Slots.sentence,
    "person": Slots.person,
    "first_name": Slots.first_name,
    "city": Slots.city,
    "country": Slots.country,
    "company": Slots.company,
    "street_address": Slots.street_address,
    "email": Slots.email,
    "phone": Slots.phone,
    "url": Slots.url,
    "ident": Slots.ident,
    "code4": lambda s: str(s.integer(1000, 9999)),
    "date": Slots.date,
    "weekday": lambda s: s.pick(WEEKDAYS),
    "month": lambda s: s.pick(MONTHS),
    "year": lambda s: str(s.integer(1900, 2040)),
    "clock": Slots.clock,
    "duration_minutes": lambda s: str(s.pick([5, 10, 15, 20, 25, 30, 40, 45, 50, 60, 75, 90, 120, s.integer(1, 240)])),
    "temperature": lambda s: str(s.integer(-20, 45)) if s.chance(0.6) else f"{s.decimal(-10, 40, 1)}",
    "weight_kg": lambda s: str(s.integer(1, 150)) if s.chance(0.6) else f"{s.decimal(0.2, 150, 1)}",
    "distance_km": lambda s: str(s.integer(1, 900)) if s.chance(0.6) else f"{s.decimal(0.5, 900, 1)}",
    "color": _from("color"),
    "animal": _from("animal"),
    "food": _from("food"),
    "product": lambda s: s.pick(names("product")) if s.chance(0.7) else s.phrase(1, 2),
    "language": _from("language"),
    "currency": _from("currency"),
    "room": _from("room"),
    "device": _from("device"),
    "sport": _from("sport"),
    "genre": _from("genre"),
    "title": Slots.title,
    "team": lambda s: (
        f"{s.city()} {s.pick(names('animal')).title()}s"
        if s.chance(0.6)
        else s.word().capitalize() + " " + s.pick(["United", "City", "FC"])
    ),
    "filename": Slots.file_name,
    "topic": lambda s: s.pick(names("topic")) if s.chance(0.7) else s.phrase(1, 3),
    "flight": Slots.flight,
    "plate": Slots.plate,
    "version": lambda s: f"{s.integer(0, 20)}.{s.integer(0, 30)}.{s.integer(0, 99)}",
    "unit": _from("unit"),
}
