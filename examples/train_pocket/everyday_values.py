"""More kinds of values for Python operations: bills, clocks as people say them, Roman numerals, bases."""

from __future__ import annotations

from collections.abc import Callable

from .slots import Slots, names
from .values import KINDS, Value, codes, draw, join_list, python_string, texts

__all__ = ["codes", "draw", "texts"]

Kind = Callable[[Slots, list[str], dict[str, Value]], Value]

_GOODS = ["shirt", "jacket", "book", "lamp", "ticket", "bike", "chair", "phone", "bag", "pen", "mug", "pizza", "coffee",
          "notebook", "cable", "blanket", "camera", "plant", "toy", "battery pack", "towel", "candle", "sandwich", "beer"]  # fmt: skip
_FOODS = ["flour", "rice", "pasta", "sugar", "butter", "beef", "cheese", "potatoes", "lentils", "tomatoes", "chocolate", "oats"]  # fmt: skip
_GRADED = ["grade", "score", "time", "temperature", "run", "rating", "bill", "mark"]
_TIME_CHANGES: list[tuple[str, str, float]] = [("hours", "minutes", 60), ("days", "hours", 24), ("minutes", "seconds", 60), ("weeks", "days", 7), ("years", "months", 12),
                 ("hours", "seconds", 3600), ("days", "minutes", 1440), ("weeks", "hours", 168), ("dozen", "pieces", 12)]  # fmt: skip
_UNITS: list[tuple[str, str, float]] = [("miles", "km", 1.609344), ("km", "miles", 0.621371), ("kg", "pounds", 2.204623), ("pounds", "kg", 0.453592), ("lbs", "kg", 0.453592),
          ("inches", "cm", 2.54), ("cm", "inches", 0.393701), ("feet", "meters", 0.3048), ("meters", "feet", 3.28084), ("liters", "gallons", 0.264172),
          ("gallons", "liters", 3.785412), ("ounces", "grams", 28.3495), ("grams", "ounces", 0.035274), ("cups", "ml", 236.588),
          ("mph", "km/h", 1.609344), ("km/h", "mph", 0.621371), ("yards", "meters", 0.9144), ("acres", "square meters", 4046.86),
          ("m", "cm", 100), ("km", "m", 1000), ("kg", "g", 1000), ("liters", "ml", 1000), ("tons", "kg", 1000)]  # fmt: skip
_ROMAN = [(1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")]  # fmt: skip


def _spoken_price(slots: Slots, number: str) -> Value:
    code = str(float(number)) if "." in number else number
    return Value(slots.pick([number, number, number, f"${number}", f"{number} dollars", f"{number} euros", f"€{number}", f"{number} eur", f"£{number}"]), code)  # fmt: skip


def _bill(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    """An amount up to some hundreds, as it stands on a bill."""
    top = slots.pick([40, 100, 100, 300, 900])
    number = f"{slots.rng.uniform(4, top):.2f}" if slots.chance(0.6) else str(slots.rng.randint(4, top))
    return _spoken_price(slots, f"{float(number):.0f}.{slots.pick(['50', '90', '20', '80'])}" if slots.chance(0.25) else number)  # fmt: skip


def _note(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    number = slots.pick(["20", "50", "50", "100", "100", "200"])
    if "." not in number and slots.chance(0.7):
        return Value(number, number)
    return _spoken_price(slots, number)


def _prices(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    numbers = [
        round(slots.rng.uniform(0.5, 20), 2) if slots.chance(0.7) else slots.rng.randint(1, 20)
        for _ in range(slots.rng.randint(2, 6))
    ]
    shown = [f"{number:.2f}" if isinstance(number, float) else str(number) for number in numbers]
    return Value(join_list(slots, shown), str(numbers))


def _clock12(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    """A time of day: 19:45, 7:45pm, 7pm."""
    hour, minute = slots.rng.randint(0, 23), slots.pick([0, 0, 15, 30, 45, 5, 10, 20, 40, 50, slots.rng.randint(0, 59)])
    code = f"{hour:02d}:{minute:02d}"
    half = "am" if hour < 12 else "pm"
    twelve = hour % 12 or 12
    short = f"{twelve}:{minute:02d}" if minute else str(twelve)
    roll = slots.rng.random()
    if roll < 0.5:
        return Value(code, code)
    if roll < 0.6:
        return Value(f"{hour}:{minute:02d}", code)
    return Value(short + slots.pick([half, f" {half}", f" {half.upper()}"]), code)


def _roman(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    number = slots.rng.randint(1, slots.pick([30, 100, 2100, 3000]))
    text = ""
    for value, sign in _ROMAN:
        while number >= value:
            text, number = text + sign, number - value
    return Value(text, python_string(text))


def _based(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    name, base, sign = slots.pick([("binary", 2, "b"), ("binary", 2, "b"), ("hex", 16, "x"), ("octal", 8, "o")])
    digits = format(slots.rng.randint(5, 4000), sign)
    text = slots.pick([f"{name} {digits}", f"the {name} number {digits}", f"{digits} in {name}", f"{digits} ({name})"])
    return Value(text, f"{digits!r}, {base}")


def _plain_list(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    """Names or lower-case words, so that sorting them is sorting by the alphabet."""
    make = slots.pick([slots.first_name, lambda: slots.plain_word().lower(), lambda: slots.word().lower()])
    words = list(dict.fromkeys(make().replace(" ", "") for _ in range(slots.rng.randint(3, 7))))
    return Value(join_list(slots, words), str(words))


def _repeating_list(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    words = [slots.plain_word().lower() for _ in range(slots.rng.randint(3, 5))]
    words += [slots.pick(words) for _ in range(slots.rng.randint(1, 3))]
    return Value(join_list(slots, words), str(words))


def _quoted_sentence(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    text = slots.sentence().rstrip(".")
    if slots.chance(0.5):
        text = text.lower()
    text = text.replace("'", "").replace('"', "")
    return Value(slots.pick([f'"{text}"', f'"{text}"', f"'{text}'"]), python_string(text))


_SEPARATORS = [("a dash", "dashes", "-"), ("a space", "spaces", " "), ("a dot", "dots", "."), ("a comma", "commas", ","), ("a star", "stars", "*"),
               ("a slash", "slashes", "/"), ("a plus", "plus signs", "+"), ("an underscore", "underscores", "_"), ("a hyphen", "hyphens", "-")]  # fmt: skip


def _separator(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
    """What goes between the parts of a text, and "with a dash in between"."""
    one, many, sign = slots.pick(_SEPARATORS)
    frames = ["with {} between", "with {} in between", "separated by {}", "using {} in between"]  # fmt: skip
    return Value(one, repr(sign), slots.pick(frames).replace("{}", slots.pick([one, many])))


def _changed(options: list[tuple[str, str, float]]) -> Kind:
    def kind(slots: Slots, _: list[str], __: dict[str, Value]) -> Value:
        source, target, factor = slots.pick(options)
        return Value(f"{source} in {target}", str(factor), f"{source} to {target}")

    return kind


def _options(options: list[tuple[str, str]]) -> Kind:
    return lambda slots, _, __: Value(*slots.pick(options))


def _one_of(options: list[str]) -> Kind:
    return _options([(option, option) for option in options])


KINDS.update(
    {
        "bill": _bill,
        "note": _note,
        "prices": _prices,
        "clock12": _clock12,
        "roman": _roman,
        "based": _based,
        "plain_list": _plain_list,
        "repeating_list": _repeating_list,
        "quoted_sentence": _quoted_sentence,
        "goods": lambda slots, _, __: Value(text := slots.pick(_GOODS) if slots.chance(0.6) else slots.pick(names("noun")), text),
        "food": _one_of(_FOODS),
        "graded": _one_of(_GRADED),
        "time_change": _changed(_TIME_CHANGES),
        "everyday_unit": _changed(_UNITS),
        "parity": _options([("even", "0"), ("odd", "1")]),
        "separator": _separator,
        "power": _options([("squares", "2"), ("squares", "2"), ("square numbers", "2"), ("cubes", "3")]),
        "base": _options([("binary", "'b'"), ("hex", "'x'"), ("hexadecimal", "'x'"), ("octal", "'o'")]),
    }
)  # fmt: skip
