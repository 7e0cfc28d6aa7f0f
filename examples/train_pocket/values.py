"""Values of Python operations: how a user writes them and how code writes them.

A kind is a short specification from operations/*.toml such as ``int 2 60`` or ``letter_of w``, where a word after the
kind may name an earlier value.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass

from .slots import MONTHS, Slots, names


@dataclass(frozen=True)
class Value:
    """``text`` goes into requests, ``code`` into Python. ``other`` is a second textual form (an ordinal, a phrase)."""

    text: str
    code: str
    other: str | None = None


def draw(slots: Slots, kinds: dict[str, str]) -> dict[str, Value]:
    """One value for each name, in order, so that later ones may depend on earlier ones."""
    values: dict[str, Value] = {}
    for name, kind in kinds.items():
        word, *arguments = kind.split()
        values[name] = KINDS[word](slots, arguments, values)
    return values


def texts(values: dict[str, Value]) -> dict[str, str]:
    """Values for :func:`phrasing.fill`."""
    filled = {name: value.text for name, value in values.items()}
    filled |= {f"{name}#": value.other for name, value in values.items() if value.other is not None}
    return filled


def codes(values: dict[str, Value]) -> dict[str, str]:
    return {name: value.code for name, value in values.items()}


def ordinal(number: int) -> str:
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def python_string(text: str) -> str:
    """A single-quoted literal where possible: one form is easier to learn than two."""
    return repr(text)


def _plain(value: float | str) -> Value:
    return Value(str(value), str(value))


def _int(slots: Slots, arguments: list[str], _: dict[str, Value]) -> Value:
    low, high = int(arguments[0]), int(arguments[1])
    if high > 1000 and slots.chance(0.6):
        high = max(low + 10, slots.pick([100, 1000, high]))
    number = slots.rng.randint(low, high)
    return Value(str(number), str(number), ordinal(number))


def _number(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    if slots.chance(0.25):
        return _plain(slots.decimal())
    number = slots.integer(2)
    if number >= 1000 and slots.chance(0.08):
        return Value(f"{number:,}", str(number))
    return _plain(number)


def _expression(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    """Arithmetic as people type it, with Python's spelling beside it."""
    gap = slots.pick(["", " ", " ", " "])
    places = slots.pick([1, 2, 3, 4, 5])
    small = slots.chance(0.4)

    def operand() -> str:
        if slots.chance(0.12):
            return str(slots.decimal())
        return str(slots.integer(1, 10 ** (slots.pick([1, 2]) if small else places)))

    operators = slots.pick(["+-*", "+-*", "+-*/", "*", "+*", "+-"])
    parts = [operand()]
    for _step in range(slots.pick([1, 1, 2, 2, 2, 3, 4])):
        operator = slots.pick(operators)
        parts += [operator, operand() if operator != "/" else str(slots.integer(2, 99))]
    if len(parts) >= 5 and slots.chance(0.4):
        at = slots.pick(range(0, len(parts) - 2, 2))
        parts[at], parts[at + 2] = "(" + parts[at], parts[at + 2] + ")"
    if slots.chance(0.12):
        parts += [slots.pick("+-*"), f"{slots.integer(2, 30)}**{slots.integer(2, 12)}"]
    code = " ".join(parts).replace("**", " ** ")
    text = gap.join(parts)
    shown = slots.rng.random()
    if shown < 0.12:
        text = text.replace("**", "^").replace("*", "x")
    elif shown < 0.2:
        text = text.replace("**", "^").replace("*", "×").replace("/", "÷")
    elif shown < 0.35 and "(" not in text:
        spoken = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}
        text = " ".join(spoken.get(part, part) for part in parts).replace("**", "^")
    else:
        text = text.replace("**", slots.pick(["**", "^"]))
    exact = "/" not in code and "." not in code
    return Value(text, code if exact else f"round({code}, 4)")


def _long_decimal(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(f"{slots.rng.uniform(0, 10 ** slots.pick([1, 2, 3])):.{slots.rng.randint(5, 8)}f}")


def _prime_or_not(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    number = slots.integer(2, 10 ** slots.pick([2, 3, 4, 5, 6]))
    if slots.chance(0.5):
        while any(number % divisor == 0 for divisor in range(2, int(number**0.5) + 1)):
            number += 1
    return _plain(number)


def _square_or_not(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(slots.integer(2, 999) ** 2 if slots.chance(0.5) else slots.integer(10, 99999))


def join_list(slots: Slots, items: list[str]) -> str:
    """A list as people type it."""
    roll = slots.rng.random()
    if roll < 0.5:
        return ", ".join(items)
    if roll < 0.7:
        return ", ".join(items[:-1]) + slots.pick([" and ", " and ", ", and ", " & "]) + items[-1]
    if roll < 0.8:
        return " ".join(items)
    return f"[{', '.join(items)}]" if roll < 0.9 else ",".join(items)


def _list(slots: Slots, numbers: list[int] | list[float]) -> Value:
    return Value(join_list(slots, [str(number) for number in numbers]), str(numbers))


def _numbers(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    if slots.chance(0.3):
        top = slots.pick([10, 100, 1000])
        places = slots.pick([1, 2, 2])
        return _list(slots, [slots.decimal(0, top, places) for _ in range(_count(slots))])
    return _integers(slots, [], {})


def _integers(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    top = slots.pick([10, 50, 100, 100, 1000, 100000])
    numbers = [slots.rng.randint(1, top) for _ in range(_count(slots))]
    if slots.chance(0.07):
        numbers[0] *= -1
    return _list(slots, numbers)


def _count(slots: Slots) -> int:
    return slots.pick([3, 3, 4, 4, 5, 5, 6, 7, 8, 10, 12])


def _small_integers(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _list(slots, [slots.rng.randint(2, 20) for _ in range(slots.rng.randint(3, 7))])


def _repeating_numbers(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    pool = [slots.rng.randint(1, 60) for _ in range(slots.rng.randint(3, 5))]
    numbers = [*pool, *(slots.pick(pool) for _ in range(slots.rng.randint(1, 4)))]
    slots.rng.shuffle(numbers)
    return _list(slots, numbers)


def _quoted(slots: Slots, text: str) -> Value:
    roll = slots.rng.random()
    quoted = f"'{text}'" if roll < 0.4 else f'"{text}"' if roll < 0.65 else text
    return Value(quoted, python_string(text))


def _word_text(slots: Slots) -> str:
    """One word, often an everyday one."""
    if slots.chance(0.35):
        return slots.plain_word()
    return slots.pick([slots.word, slots.word, slots.invented])().lower()


def _word(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _quoted(slots, _word_text(slots))


def _sentence_text(slots: Slots) -> str:
    roll = slots.rng.random()
    if roll < 0.35:
        return slots.sentence().rstrip(".")
    if roll < 0.8:
        return " ".join(slots.word() for _ in range(slots.rng.randint(2, 8)))
    return slots.phrase(2, 4).title()


def _sentence(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    text = _sentence_text(slots)
    return Value(
        slots.pick([f"'{text}'", f'"{text}"', f'"{text}"']) if slots.chance(0.8) else text, python_string(text)
    )


def _text(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    roll = slots.rng.random()
    if roll < 0.6:
        return _quoted(slots, _word_text(slots))
    if roll < 0.7:
        return _quoted(slots, slots.person())
    return _quoted(slots, slots.ident()) if roll < 0.78 else _sentence(slots, [], {})


def _upper_text(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _quoted(slots, slots.pick([slots.phrase().upper(), slots.word().upper(), slots.person()]))


def _inner(value: Value) -> str:
    """The text that a string value's code stands for."""
    return value.code[1:-1]


def _letter_of(slots: Slots, arguments: list[str], values: dict[str, Value]) -> Value:
    letters = [c for c in _inner(values[arguments[0]]).lower() if c.isalpha()] or ["e"]
    letter = slots.pick(letters) if slots.chance(0.85) else slots.pick("abcdefghijklmnopqrstuvwxyz")
    return Value(slots.pick([letter, letter, f"'{letter}'", f'"{letter}"']), python_string(letter))


def _letter(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    letter = slots.pick("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return Value(f"'{letter}'", python_string(letter))


def _palindrome_or_not(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    word = slots.invented(1) if slots.chance(0.6) else _word_text(slots)
    mirrored = slots.pick(
        [word + word[::-1], word + word[::-1][1:], slots.pick(["level", "radar", "kayak", "racecar", "civic"])]
    )
    return _quoted(slots, mirrored if slots.chance(0.5) else _word_text(slots))


def _anagram_of(slots: Slots, arguments: list[str], values: dict[str, Value]) -> Value:
    letters = list(_inner(values[arguments[0]]))
    slots.rng.shuffle(letters)
    return _quoted(slots, "".join(letters) if slots.chance(0.6) else _word_text(slots))


def _word_of(slots: Slots, arguments: list[str], values: dict[str, Value]) -> Value:
    return _quoted(slots, slots.pick(_inner(values[arguments[0]]).split()))


def _word_of_or_not(slots: Slots, arguments: list[str], values: dict[str, Value]) -> Value:
    return _word_of(slots, arguments, values) if slots.chance(0.6) else _word(slots, [], {})


def _word_sequence(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    text = " ".join(_word_text(slots) for _ in range(slots.rng.randint(3, 7)))
    return Value(f"'{text}'" if slots.chance(0.7) else text, python_string(text))


def _repeating_words(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    pool = [_word_text(slots) for _ in range(3)]
    text = " ".join(slots.pick(pool) for _ in range(slots.rng.randint(4, 8)))
    return Value(f"'{text}'", python_string(text))


def _word_list(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    words = [slots.first_name() if slots.chance(0.3) else _word_text(slots) for _ in range(slots.rng.randint(3, 7))]
    return Value(join_list(slots, words), str(words))


def _binary(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(bin(slots.integer(3, 4000))[2:])


def _hexadecimal(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    digits = hex(slots.integer(10, 99999))[2:]
    return _plain(digits.upper() if slots.chance(0.3) else digits)


def _base64_text(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _quoted(slots, base64.b64encode(_word_text(slots).encode()).decode())


def _date(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _written_date(slots, slots.date_parts())


def _written_date(slots: Slots, parts: tuple[int, int, int]) -> Value:
    year, month, day = parts
    name = MONTHS[month - 1]
    written = [
        f"{year:04d}-{month:02d}-{day:02d}",
        f"{year:04d}-{month:02d}-{day:02d}",
        f"{name} {day}, {year}",
        f"{name} {day} {year}",
        f"{day} {name} {year}",
        f"{name.lower()} {day} {year}",
        f"{name} {ordinal(day)}, {year}",
        f"the {ordinal(day)} of {name} {year}",
        f"{name[:3]} {day}, {year}",
        f"{day} {name[:3].lower()} {year}",
    ]
    return Value(slots.pick(written), f"date({year}, {month}, {day})")


def _later_date(slots: Slots, arguments: list[str], values: dict[str, Value]) -> Value:
    year, month, day = (int(part) for part in values[arguments[0]].code[5:-1].split(", "))
    if slots.chance(0.4) and month < 12:
        return _written_date(slots, (year, slots.rng.randint(month + 1, 12), day))
    return _written_date(slots, (year + slots.rng.randint(1, 40), slots.rng.randint(1, 12), slots.rng.randint(1, 28)))


def _clock(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(slots.clock())


def _month(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    index = slots.rng.randint(1, 12)
    return Value(slots.pick([MONTHS[index - 1], MONTHS[index - 1], MONTHS[index - 1].lower()]), str(index))


def _money(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    number = slots.price() if slots.chance(0.4) else str(slots.integer(5, 10 ** slots.pick([2, 3, 4, 5])))
    return Value(
        slots.pick([number, number, f"${number}", f"{number} dollars", f"{number} euros", f"€{number}"]), _bare(number)
    )


def _bare(number: str) -> str:
    """A number without zeros that Python would drop anyway: 12.50 is written 12.5."""
    return str(float(number)) if "." in number else number


def _price(slots: Slots, arguments: list[str], _: dict[str, Value]) -> Value:
    number = slots.price(1, int(arguments[0]) if arguments else 400)
    if slots.chance(0.3):
        number = str(round(float(number)) or 1)
    return Value(slots.pick([number, number, f"${number}"]), _bare(number))


def _price_small(slots: Slots, _: list[str], values: dict[str, Value]) -> Value:
    return _price(slots, ["50"], values)


def _amount(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(slots.integer(1, 500) if slots.chance(0.6) else slots.decimal(0.5, 100, 1))


def _temperature(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    return _plain(slots.integer(-40, 250) if slots.chance(0.7) else slots.decimal(-20, 45, 1))


_FACTORS = [
    ("km", "kilometers", "miles", 0.621371), ("miles", "miles", "km", 1.609344), ("kg", "kilograms", "pounds", 2.204623),
    ("pounds", "pounds", "kg", 0.453592), ("meters", "m", "feet", 3.28084), ("feet", "ft", "meters", 0.3048),
    ("inches", "inches", "cm", 2.54), ("cm", "centimeters", "inches", 0.393701), ("liters", "l", "gallons", 0.264172),
    ("gallons", "gallons", "liters", 3.785412), ("hours", "hours", "minutes", 60), ("days", "days", "hours", 24),
    ("minutes", "minutes", "seconds", 60), ("weeks", "weeks", "days", 7), ("ounces", "oz", "grams", 28.3495),
    ("grams", "g", "ounces", 0.035274), ("yards", "yards", "meters", 0.9144), ("tonnes", "tons", "kg", 1000),
    ("km", "kilometers", "meters", 1000), ("GB", "gigabytes", "MB", 1024),
]  # fmt: skip


def _conversion(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    name, other_name, target, factor = slots.pick(_FACTORS)
    source = slots.pick([name, name, other_name])
    return Value(f"{source} in {target}", str(factor), f"{source} to {target}")


def _choice(options: list[tuple[str, str]]) -> Callable[[Slots, list[str], dict[str, Value]], Value]:
    return lambda slots, _, __: Value(*slots.pick(options))


def _pick(texts_: list[str]) -> Callable[[Slots, list[str], dict[str, Value]], Value]:
    return lambda slots, _, __: _plain(slots.pick(texts_))


KINDS: dict[str, Callable[[Slots, list[str], dict[str, Value]], Value]] = {
    "int": _int,
    "number": _number,
    "expression": _expression,
    "long_decimal": _long_decimal,
    "prime_or_not": _prime_or_not,
    "square_or_not": _square_or_not,
    "numbers": _numbers,
    "integers": _integers,
    "small_integers": _small_integers,
    "repeating_numbers": _repeating_numbers,
    "word": _word,
    "text": _text,
    "upper_text": _upper_text,
    "sentence": _sentence,
    "letter_of": _letter_of,
    "letter": _letter,
    "palindrome_or_not": _palindrome_or_not,
    "anagram_of": _anagram_of,
    "word_of": _word_of,
    "word_of_or_not": _word_of_or_not,
    "word_sequence": _word_sequence,
    "repeating_words": _repeating_words,
    "word_list": _word_list,
    "binary": _binary,
    "hexadecimal": _hexadecimal,
    "base64_text": _base64_text,
    "date": _date,
    "later_date": _later_date,
    "clock": _clock,
    "month": _month,
    "money": _money,
    "price": _price,
    "price_small": _price_small,
    "amount": _amount,
    "temperature": _temperature,
    "conversion": _conversion,
    "percent": _pick([*map(str, range(1, 101)), "7.5", "12.5", "2.5", "33.3"]),
    "tip_percent": _pick(["5", "8", "10", "12", "15", "15", "18", "18", "20", "20", "22", "25"]),
    "rate": _pick(["1", "1.5", "2", "2.5", "3", "3.5", "4", "4.5", "5", "6", "7", "8", "10"]),
    "decimal_small": _pick([f"{tenths / 10}" for tenths in range(35, 120)]),
    "height": _pick([f"{cm / 100:.2f}" for cm in range(145, 205)]),
    "banknote": _pick(["50", "60", "80", "100", "100", "200"]),
    "thing": lambda slots, _, __: _plain(slots.pick(names("noun")) if slots.chance(0.7) else slots.word().lower()),
    "name": lambda slots, _, __: _plain(slots.first_name()),
    "function": _choice(
        [
            ("the natural logarithm of", "math.log"),
            ("the sine of", "math.sin"),
            ("the cosine of", "math.cos"),
            ("the base 10 logarithm of", "math.log10"),
            ("the tangent of", "math.tan"),
            ("the log2 of", "math.log2"),
            ("the cube root of", "math.cbrt"),
        ]
    ),
    "time_unit": _choice([("minutes", "60"), ("hours", "3600"), ("days", "86400"), ("weeks", "604800")]),
}
