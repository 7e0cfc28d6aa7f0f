"""Tasks that need Python alone: operations, compositions, state between calls, given code, repair."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..episode import Answer, Round, Script, Task, single, turn
from ..everyday_values import codes, draw, texts
from ..phrasing import Wordings, fill
from ..scene import Scene
from ..slots import Slots

OPERATIONS = Path(__file__).parent.parent / "operations"
ANSWERS = ["The {noun} is {result}.", "The {noun} is {result}.", "The {noun} is {result}.", "The result is {result}."]


@dataclass(frozen=True)
class Operation:
    """One [table] of operations/*.toml."""

    name: str
    area: str
    kinds: dict[str, str]
    wordings: Wordings
    code: list[str]
    noun: str
    answers: list[str]
    yes: list[str]
    no: list[str]


@cache
def operations() -> dict[str, Operation]:
    found = {}
    for path in sorted(OPERATIONS.glob("*.toml")):
        for name, table in tomllib.loads(path.read_text()).items():
            noun = table.get("noun", "result")
            found[name] = Operation(
                name, path.stem, table["values"], Wordings.of(table), table["code"], noun,
                table.get("answer", ANSWERS), table.get("yes", []), table.get("no", []),
            )  # fmt: skip
    return found


@cache
def _weighted() -> tuple[list[Operation], list[float]]:
    """Operations with weights: plain arithmetic and the demo's kinds come more often."""
    often = {"expression": 8.0, "fibonacci": 2.5, "factorial": 2, "list_sum": 2, "list_mean": 2, "letter_count": 2,
             "is_prime": 2, "days_between": 2, "weekday": 2, "reverse": 2, "multiply": 2, "power": 2, "percent_of": 2}  # fmt: skip
    every = list(operations().values())
    return every, [often.get(operation.name, 1.0) for operation in every]


@dataclass
class Drawn:
    """An operation with values: what is asked, the code, and what to call the result."""

    template: str
    values: dict[str, str]
    code: str
    operation: Operation

    @property
    def noun(self) -> str:
        return fill(self.operation.noun, self.values)


def draw_operation(scene: Scene, suitable: Callable[[Operation], bool] | None = None) -> Drawn:
    every, weights = _weighted()
    while True:
        operation = scene.slots.rng.choices(every, weights)[0]
        if suitable is None or suitable(operation):
            break
    values = draw(scene.slots, operation.kinds)
    code = fill(scene.slots.pick(operation.code), codes(values))
    if "round(math" not in code and operation.name == "log_sin":
        code = fill(code, codes(values))
    return Drawn(scene.say.template(operation.wordings), texts(values), code, operation)


def shown_code(slots: Slots, code: str) -> str:
    """The code with its last line printed or left as the cell's value."""
    head, _, last = code.rpartition("\n")
    if slots.chance(0.6):
        last = f"print({last})"
    return f"{head}\n{last}" if head else last


def shown_result(result: str) -> str:
    """A result as a person would say it: no quotes, no needless .0, lists without brackets."""
    text = result.strip()
    if re.fullmatch(r"-?\d+\.0", text):
        return text[:-2]
    if len(text) >= 2 and text[0] in "'\"" and text[-1] == text[0]:
        return str(ast.literal_eval(text))
    if text.startswith("[") and text.endswith("]"):
        try:
            return ", ".join(str(item) for item in ast.literal_eval(text)) or "none"
        except (ValueError, SyntaxError):
            return text
    return text


def last_line(result: str) -> str:
    return result.strip().rsplit("\n", 1)[-1]


def failed(result: str) -> bool:
    return result.startswith(("Traceback", "Error", "  Cell ")) or "\nTraceback (most recent call last):" in result


def answer_for(scene: Scene, drawn: Drawn, result: str) -> Answer:
    """What to say about an operation's result."""
    operation = drawn.operation
    if operation.yes:
        text = fill(scene.slots.pick(operation.yes if result.strip() == "True" else operation.no), drawn.values)
        return Answer(text, ("yes|is a |is prime|are anagrams" if result.strip() == "True" else "no|not",))
    shown = shown_result(result)
    template = scene.slots.pick(operation.answers)
    text = fill(template, {**drawn.values, "noun": drawn.noun, "result": shown})
    expect = tuple(part for part in shown.split(", ")) if result.strip().startswith("[") else (shown,)
    if shown == "none":
        expect = ("none|no ",)
    return Answer(text, expect)


def compute(scene: Scene) -> Task:
    """One operation."""
    return _computed(scene, draw_operation(scene, lambda operation: not operation.area.startswith("casual")))


def casual_compute(scene: Scene) -> Task:
    """One operation, asked for in passing."""
    return _computed(scene, draw_operation(scene, lambda operation: operation.area.startswith("casual")))


def _computed(scene: Scene, drawn: Drawn) -> Task:

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(scene.slots, drawn.code)})
        if failed(result):
            return Answer(f"The code failed with {last_line(result)}.")
        return answer_for(scene, drawn, result)

    return single("python", scene.say.finish(drawn.template, drawn.values), script, ("python",))


_NUMERIC = {"expression", "add", "subtract", "multiply", "divide", "power", "percent_of", "square", "cube", "list_sum",
            "list_mean", "factorial", "fibonacci", "sum_range", "days_between", "length", "word_count", "tip", "buy",
            "circle_area", "rectangle", "digit_sum", "discount", "list_product", "gcd", "lcm", "list_max"}  # fmt: skip
_AFTER_NUMBER = [
    ("multiply the result by {k}", "({E}) * {k}"),
    ("multiply it by {k}", "({E}) * {k}"),
    ("add {k}", "{E} + {k}"),
    ("add {k} to it", "{E} + {k}"),
    ("subtract {k} from it", "{E} - {k}"),
    ("take away {k}", "{E} - {k}"),
    ("double it", "({E}) * 2"),
    ("square the result", "({E}) ** 2"),
    ("divide by {k}", "round(({E}) / {k}, 4)"),
    ("divide the result by {k}", "round(({E}) / {k}, 4)"),
    ("halve it", "round(({E}) / 2, 4)"),
    ("take the remainder mod {k}", "({E}) % {k}"),
    ("tell me how many digits it has", "len(str({E}))"),
    ("round it to the nearest integer", "round({E})"),
]
_TEXTUAL = {"reverse", "upper", "title", "sort_words", "snake_case", "acronym", "replace", "sort_letters", "repeat"}
_AFTER_TEXT = [
    ("make it uppercase", "({E}).upper()"),
    ("reverse it", "({E})[::-1]"),
    ("count its characters", "len({E})"),
    ("put it in lower case", "({E}).lower()"),
    ("replace spaces with dashes", "({E}).replace(' ', '-')"),
]
_JOINS = [" and ", ", then ", " and then ", ". then ", ", and ", " and afterwards ", ", next "]


def compose(scene: Scene) -> Task:
    """Two operations in one request."""
    textual = scene.slots.chance(0.25)
    wanted = _TEXTUAL if textual else _NUMERIC
    drawn = draw_operation(scene, lambda operation: operation.name in wanted)
    words, code = scene.slots.pick(_AFTER_TEXT if textual else _AFTER_NUMBER)
    extra = {"k": str(scene.slots.integer(2, scene.slots.pick([12, 100, 1000])))}
    head, _, last = drawn.code.rpartition("\n")
    final = fill(code.replace("{E}", last), extra)
    whole = f"{head}\n{final}" if head else final
    request = scene.say.finish(
        drawn.template.rstrip("?. ") + scene.slots.pick(_JOINS) + words, {**drawn.values, **extra}
    )

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(scene.slots, whole)})
        if failed(result):
            return Answer(f"The code failed with {last_line(result)}.")
        return Answer(f"The result is {shown_result(result)}.", (shown_result(result),))

    return single("python", request, script, ("python",))


_FOLLOW_UPS = [
    (
        [
            "now multiply that by {k}",
            "times {k}?",
            "and multiplied by {k}?",
            "multiply it by {k}",
            "what's that times {k}?",
        ],
        "{r} * {k}",
    ),
    (["add {k} to that", "plus {k}?", "and if you add {k}?", "now add {k}", "what's that plus {k}?"], "{r} + {k}"),
    (["subtract {k} from it", "minus {k}?", "now take away {k}", "what's that minus {k}?"], "{r} - {k}"),
    (["divide that by {k}", "and divided by {k}?", "now split it by {k}"], "round({r} / {k}, 4)"),
    (["square it", "now square that", "and squared?"], "{r} ** 2"),
    (["double it", "now double that", "and twice that?"], "{r} * 2"),
    (["what's {k}% of that?", "take {k} percent of it", "and {k}% of it?"], "round({r} * {k} / 100, 2)"),
]


def follow_up(scene: Scene) -> Task:
    """A computation and one or two further questions about its result."""
    drawn = draw_operation(scene, lambda operation: operation.name in _NUMERIC - {"factorial", "fibonacci", "power"})
    found: list[str] = []

    def first() -> Script:
        (result,) = yield turn("python", {"code": shown_code(scene.slots, drawn.code)})
        found.append(shown_result(result))
        return answer_for(scene, drawn, result)

    rounds = [Round(scene.say.finish(drawn.template, drawn.values), first)]
    for _ in range(scene.slots.pick([1, 1, 2])):
        wordings, code = scene.slots.pick(_FOLLOW_UPS)
        k = str(scene.slots.integer(2, 60))

        def again(code: str = code, k: str = k) -> Script:
            (result,) = yield turn("python", {"code": shown_code(scene.slots, fill(code, {"r": found[-1], "k": k}))})
            found.append(shown_result(result))
            return Answer(f"The result is {found[-1]}.", (found[-1],))

        rounds.append(Round(scene.say.finish(scene.slots.pick(wordings), {"k": k}), again))
    return Task("python", rounds, ("python",))


def variables(scene: Scene) -> Task:
    """Names that are set in one turn and used in a later one."""
    slots = scene.slots
    name = slots.pick(["x", "a", "n", "total", "count", "price", "value", "data", "items", slots.invented(1)])
    if name in {"if", "in", "is", "as", "or", "do"}:
        name += "1"
    is_list = slots.chance(0.5)
    numbers = [slots.rng.randint(1, 99) for _ in range(slots.rng.randint(3, 6))]
    literal = str(numbers) if is_list else str(slots.integer(2, 9999))
    set_it = slots.pick(
        [
            "set {n} to {v}",
            "let {n} be {v}",
            "define {n} = {v}",
            "store {v} in the variable {n}",
            "in python, {n} = {v}",
            "remember {n} = {v}",
        ]
    )

    def define() -> Script:
        yield turn("python", {"code": f"{name} = {literal}"})
        return Answer(f"{name} is now {literal}.", (name,))

    rounds = [Round(scene.say.finish(set_it, {"n": name, "v": literal}), define)]
    listed = [("what is the sum of {n}?", "sum({n})"), ("what's the largest value in {n}?", "max({n})"),
              ("how many items are in {n}?", "len({n})"), ("sort {n}", "sorted({n})"), ("average of {n}?", "round(sum({n}) / len({n}), 2)")]  # fmt: skip
    plain = [("what is {n} times {k}?", "{n} * {k}"), ("what is {n} plus {k}?", "{n} + {k}"), ("what's {n} squared?", "{n} ** 2"),
             ("is {n} greater than {k}?", "{n} > {k}"), ("divide {n} by {k}", "round({n} / {k}, 4)")]  # fmt: skip
    for wording, code in slots.rng.sample(listed if is_list else plain, slots.pick([1, 2])):
        k = str(slots.integer(2, 99))

        def use(code: str = code, k: str = k) -> Script:
            (result,) = yield turn("python", {"code": shown_code(slots, fill(code, {"n": name, "k": k}))})
            shown = shown_result(result)
            if shown in ("True", "False"):
                return Answer(
                    f"{'Yes' if shown == 'True' else 'No'}, {name} is {'' if shown == 'True' else 'not '}greater than {k}."
                )
            return Answer(f"The result is {shown}.", (shown,) if "," not in shown else tuple(shown.split(", ")))

        rounds.append(Round(scene.say.finish(wording, {"n": name, "k": k}), use))
    return Task("python_state", rounds, ("python",))


def _snippet(slots: Slots) -> str:
    """A small program of the kind people paste."""
    a, b = slots.integer(1, 99), slots.integer(1, 99)
    name, word = slots.pick(["x", "n", "total", "s"]), slots.word()
    numbers = [slots.rng.randint(1, 50) for _ in range(slots.rng.randint(2, 5))]
    return slots.pick([
        f"print({a} + {b})",
        f"print({a} * {b} - {slots.integer(1, 99)})",
        f"for i in range({slots.integer(2, 5)}):\n    print(i * {slots.integer(2, 9)})",
        f"{name} = {a}\n{name} += {b}\nprint({name})",
        f"print(len('{word}'))",
        f"print('{word}'.upper())",
        f"print('{word}' * {slots.integer(2, 4)})",
        f"print(sum({numbers}))",
        f"{name} = {numbers}\n{name}.append({a})\nprint({name})",
        f"print([n * 2 for n in {numbers}])",
        f"def f(n):\n    return n * {b}\nprint(f({a}))",
        f"{name} = {a}\nif {name} > {b}:\n    print('big')\nelse:\n    print('small')",
        f"print(max({numbers}), min({numbers}))",
        f"d = {{'{word}': {a}}}\nprint(d['{word}'])",
        f"print({a} / 0)",
        f"print(undefined_{slots.invented(1)})",
        f"print(int('{word}'))",
        f"print({numbers}[{slots.integer(6, 20)}])",
        f"print('{word}' + {a})",
        f"d = {{}}\nprint(d['{word}'])",
    ])  # fmt: skip


def given_code(scene: Scene) -> Task:
    """Code that the user pasted: run it as it is and say what came out."""
    code = _snippet(scene.slots)
    wordings = ["run this code: {c}", "run {c}", "execute this python: {c}", "what does this print?\n{c}", "run the following:\n{c}",
                "what is the output of {c}", "please execute:\n{c}", "```python\n{c}\n```\nrun it", "what happens if i run {c}?",
                "try this code\n{c}", "exec: {c}", "tell me the output of this program:\n{c}", "{c}\n^ what does that give?",
                "run this for me\n```\n{c}\n```", "what will python print for {c}"]  # fmt: skip
    request = scene.say.finish(scene.say.choose(wordings), {"c": code})

    def script() -> Script:
        (result,) = yield turn("python", {"code": code})
        if failed(result):
            error = last_line(result)
            return Answer(
                scene.slots.pick([f"The code fails with {error}.", f"It raises {error}."]), (error.split(":")[0],)
            )
        joined = result if "\n" not in result else "\n" + result
        return Answer(f"The output is: {joined}", tuple(result.split("\n")))

    return single("python_given", request, script, ("python",))


def _break(slots: Slots, code: str) -> str | None:
    """The code with a mistake of the kind that models make."""
    lines = code.split("\n")
    if lines[0].startswith(("import ", "from ")):
        return "\n".join(lines[1:])
    if slots.chance(0.5) and len(lines) > 1 and " = " in lines[0]:
        return "\n".join(lines[1:])
    target = re.search(r"\b(sum|len|max|min|sorted|round|print|abs)\(", code)
    if target:
        word = target[1]
        return (
            code.replace(word + "(", word[:-1] + word[-1] * 2 + "(", 1)
            if slots.chance(0.5)
            else code.replace(word + "(", word[:-1] + "(", 1)
        )
    return None


def repair(scene: Scene) -> Task:
    """A first attempt that fails, and the correction after its traceback."""
    drawn = draw_operation(scene, lambda operation: not operation.yes)
    code = shown_code(scene.slots, drawn.code)
    broken = _break(scene.slots, code)

    def script() -> Script:
        if broken is not None and broken != code:
            (result,) = yield turn("python", {"code": broken}, trained=False)
            if not failed(result):
                return answer_for(scene, drawn, result)
            error = last_line(result)
            say = scene.slots.pick(
                ["", f"The code failed with {error.split(':')[0]}. Let me fix it.", "Let me fix that."]
            )
            (result,) = yield turn("python", {"code": code}, say)
        else:
            (result,) = yield turn("python", {"code": code})
        return (
            answer_for(scene, drawn, result)
            if not failed(result)
            else Answer(f"The code failed with {last_line(result)}.")
        )

    return single("python_repair", scene.say.finish(drawn.template, drawn.values), script, ("python",))


def several(scene: Scene) -> Task:
    """Two separate computations asked for at once."""
    pair = [
        draw_operation(
            scene, lambda operation: operation.name in _NUMERIC and operation.wordings.noun_phrases.train != []
        )
        for _ in range(2)
    ]
    phrases = [fill(scene.slots.pick(d.operation.wordings.noun_phrases.train), d.values) for d in pair]
    frames = [
        "what is {a} and what is {b}?",
        "give me {a} and {b}",
        "tell me {a}, and also {b}",
        "i need {a} as well as {b}",
        "compute {a}. also compute {b}",
        "{a}? and {b}?",
    ]
    request = scene.say.finish(scene.say.choose(frames), {"a": phrases[0], "b": phrases[1]})

    def script() -> Script:
        results = []
        for drawn in pair:
            (result,) = yield turn("python", {"code": shown_code(scene.slots, drawn.code)})
            results.append(shown_result(result))
        return Answer(f"The {pair[0].noun} is {results[0]} and the {pair[1].noun} is {results[1]}.", tuple(results))

    return single("python", request, script, ("python",))
