"""Changing small text files as people ask for it, and finding out about them: typos, lists, counts, logs.

The file is read where its text decides what to do; then Python changes it, or edit_file where that is around.
"""

from __future__ import annotations

from collections.abc import Callable

from ..episode import Answer, Script, Task, single, turn
from ..scene import Scene
from ..slots import Slots
from ..values import ordinal
from .python_tasks import shown_code, shown_result

_LISTS = ["shopping", "todo", "packing", "guests", "names", "list", "books", "plants", "songs", "team", "groceries", "places"]  # fmt: skip
_TEXTS = ["letter", "readme", "story", "notes", "invite", "draft", "essay", "about", "recipe", "mail", "report", "diary", "poem"]  # fmt: skip


def small_path(
    scene: Scene, stems: list[str], extensions: tuple[str, ...] = ("txt", "txt", "txt", "md"), *, folder: bool = True
) -> str:
    """A free path with an everyday name."""
    slots = scene.slots
    stem = slots.pick(stems)
    if slots.chance(0.5):
        plain = slots.plain_word().lower()
        stem = slots.pick([f"my_{stem}", f"{stem}{slots.integer(1, 30)}", slots.word().lower(), f"{stem}_old", plain, plain, f"{plain}_{stem}"])  # fmt: skip
    before = f"{slots.directory()}/" if folder and slots.chance(0.07) else ""
    path = f"{before}{stem}.{slots.pick(extensions)}"
    if scene.world.workspace.has(path) or scene.world.workspace.has(path.split("/")[0]):
        return scene.fresh_path("txt", 0.1 if folder else 0.0)
    return path


def _is(path: str, text: str) -> Callable[..., bool]:
    return lambda world: (world.workspace.text(path) or "").strip() == text.strip()


def _items(slots: Slots, low: int = 2, high: int = 8) -> list[str]:
    make = slots.pick([slots.plain_word, slots.first_name, slots.plain_word, lambda: slots.phrase(1, 2), slots.word])
    return list(dict.fromkeys(make() for _ in range(slots.rng.randint(low, high))))


def _misspelled(slots: Slots, word: str) -> str:
    at = slots.rng.randint(0, len(word) - 2)
    return slots.pick([word[:at] + word[at + 1] + word[at] + word[at + 2 :], word[:at] + word[at] + word[at:], word[:at] + word[at + 1 :]])  # fmt: skip


def _change(path: str, old: str, new: str) -> str:
    return f"text = open({path!r}).read()\nopen({path!r}, 'w').write(text.replace({old!r}, {new!r}))"


def casual_replace(scene: Scene) -> Task:
    """A typo, a word everywhere, a name; sometimes the text is not there and the file stays as it is."""
    slots, say = scene.slots, scene.say
    kind = slots.rng.choices(["typo", "all", "name"], [4, 4, 3])[0]
    path = small_path(scene, _TEXTS)
    new = slots.first_name() if kind == "name" else slots.pick([slots.plain_word, slots.word, slots.noun])().lower()
    if len(new) < 3:
        return casual_replace(scene)
    old = {"typo": lambda: _misspelled(slots, slots.pick([new, new, "the", "and"])), "all": lambda: slots.plain_word().lower(), "name": slots.first_name}[kind]()  # fmt: skip
    if kind == "typo" and slots.chance(0.25):
        new, old = slots.pick([("the", "teh"), ("and", "adn"), ("receive", "recieve"), ("with", "wiht"), ("friend", "freind"), ("because", "becuase")])  # fmt: skip
    sentences = [slots.sentence() for _ in range(slots.rng.randint(1, 4))]
    if kind == "name":
        frame = slots.pick(["Dear {x},", "Best, {x}", "Hi {x}!", "{x} will bring the cake.", "Call {x} on Sunday.", "Regards\n{x}"])  # fmt: skip
    else:
        frame = slots.pick(
            ["{a} {x} {b}.", "{a} {x}", "{x} {a}", "the {x} {a} {b}", "{a} and {x} {b}.", "{a} {b} {x}."]
        )

    def line() -> str:
        return frame.replace("{x}", old).replace("{a}", slots.phrase(1, 2).lower()).replace("{b}", slots.phrase(1, 2).lower())  # fmt: skip

    absent = slots.chance(0.25)
    lines = [*sentences]
    if kind == "all" and slots.chance(0.6):
        lines = []
    for _ in range(slots.rng.randint(2, 4) if kind == "all" else 1):
        lines.insert(slots.rng.randint(0, len(lines)), line())
    if slots.chance(0.2):
        lines.insert(0, f"# {slots.phrase(1, 2).title()}\n")
    text = "\n".join(lines)
    if absent:
        text = text.replace(old, slots.first_name() if kind == "name" else slots.plain_word().lower())
    text += slots.pick(["\n", "\n", ""])
    once = text.count(old) == 1
    if old == new or (old.lower() in new.lower() and kind != "typo") or absent == (old.lower() in text.lower()) or (kind != "all" and not absent and not once):  # fmt: skip
        return casual_replace(scene)
    if text.lower().count(old.lower()) != text.count(old):
        return casual_replace(scene)
    scene.world.workspace.put(path, text)
    scene.other_files(0, 2)
    lower = kind == "name" and slots.chance(0.6)
    quote = slots.pick(["{}", "{}", "{}", "'{}'", '"{}"'])
    values = {"p": path, "x": quote.replace("{}", old.lower() if lower else old), "y": quote.replace("{}", new.lower() if lower else new)}  # fmt: skip
    edit = scene.offers("edit_file") and kind != "all"

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        if absent:
            return Answer(
                slots.pick([f"{old} is not in {path}, so I changed nothing.", f"{path} does not contain {old}. I changed nothing."]),
                ("not",),
                _is(path, text),
            )  # fmt: skip
        if edit:
            yield turn("edit_file", {"path": path, "edits": [{"oldText": old, "newText": new}]})
        else:
            yield turn("python", {"code": _change(path, old, new)})
        return Answer(
            slots.pick([f"I changed {old} to {new} in {path}.", f"Done. {path} now says {new} instead of {old}."]),
            (path,),
            _is(path, text.replace(old, new)),
        )

    return single("edit", say.request(f"edits.{kind}", values), script, ("read_text_file", "edit_file" if edit else "python"))  # fmt: skip


def casual_remove(scene: Scene) -> Task:
    """A line taken out of a list."""
    slots = scene.slots
    path, items = small_path(scene, _LISTS), _items(slots, 3, 8)
    absent = slots.chance(0.2)
    gone = slots.plain_word() if absent else slots.pick(items)
    if sum(gone.lower() in item.lower() for item in items) != (0 if absent else 1):
        return casual_remove(scene)
    bullet = slots.pick(["", "", "", "- ", "* "])
    text = "".join(f"{bullet}{item}\n" for item in items)
    scene.world.workspace.put(path, text)
    scene.other_files(0, 2)
    after = "".join(f"{bullet}{item}\n" for item in items if item != gone)

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        if absent:
            return Answer(f"{gone} is not in {path}, so I changed nothing.", ("not",), _is(path, text))
        yield turn(
            "python",
            {"code": f"lines = open({path!r}).read().splitlines()\nopen({path!r}, 'w').write('\\n'.join(line for line in lines if {gone!r} not in line) + '\\n')"},
        )  # fmt: skip
        return Answer(slots.pick([f"I removed {gone} from {path}.", f"{gone} is no longer in {path}."]), (path,), _is(path, after))  # fmt: skip

    spoken = gone.lower() if slots.chance(0.4) else gone
    return single("edit", scene.say.request("edits.remove", {"p": path, "x": spoken}), script, ("read_text_file", "python"))  # fmt: skip


def casual_add(scene: Scene) -> Task:
    """A line at the end or at the top of a list."""
    slots = scene.slots
    top = slots.chance(0.35)
    path, items = small_path(scene, _LISTS), _items(slots, 1, 6)
    new = slots.pick([slots.plain_word, slots.first_name, lambda: slots.phrase(1, 3)])()
    if new in items:
        return casual_add(scene)
    scene.world.workspace.put(path, "\n".join(items) + slots.pick(["\n", "\n", ""]))
    scene.other_files(0, 2)
    after = "\n".join([new, *items] if top else [*items, new]) + "\n"

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        yield turn("write_file", {"path": path, "content": after})
        return Answer(slots.pick([f"I added {new} to {path}.", f"{new} is now in {path}."]), (path,), _is(path, after))

    quote = slots.pick(["{}", "{}", "{}", "'{}'"]).replace("{}", new)
    return single(
        "append",
        scene.say.request("edits.top" if top else "edits.add", {"p": path, "x": quote}),
        script,
        ("read_text_file", "write_file"),
    )


def casual_make(scene: Scene) -> Task:
    """A new file with a few words or a list in it."""
    slots = scene.slots
    path = small_path(scene, [*_LISTS, *_TEXTS])
    if slots.chance(0.35):
        items = _items(slots, 2, 6)
        joined = slots.pick([", ".join(items), ", ".join(items[:-1]) + " and " + items[-1], " ".join(items)]) if len(items) > 1 else items[0]  # fmt: skip
        if any(" " in item for item in items):
            joined = ", ".join(items)
        request, content = scene.say.request("edits.list", {"p": path, "x": joined}), "\n".join(items) + "\n"
    else:
        verbs = ["buy", "call", "water", "ask", "pay", "bring", "fix", "clean", "feed", "remember"]
        text = slots.pick([f"{slots.pick(verbs)} {slots.plain_word()}", f"{slots.pick(verbs)} {slots.first_name().lower()}", slots.sentence().rstrip("."), slots.phrase(2, 5).lower()])  # fmt: skip
        request, content = scene.say.request("edits.make", {"p": path, "x": slots.pick([text, text, f"'{text}'"])}), text + "\n"  # fmt: skip

    def script() -> Script:
        yield turn("write_file", {"path": path, "content": content})
        return Answer(slots.pick([f"I made {path}.", f"{path} is saved.", f"I wrote it to {path}."]), (path,), _is(path, content))  # fmt: skip

    return single("write", request, script, ("write_file",))


def sequence_file(scene: Scene) -> Task:
    """Numbers by a rule, one on each line of a file."""
    slots = scene.slots
    path = small_path(scene, ["squares", "numbers", "cubes", "list", "even", "out", "result", "multiples", "table", "count"], ("txt",), folder=False)  # fmt: skip
    low, high, k = slots.pick([1, 1, 1, slots.rng.randint(2, 9)]), slots.rng.randint(5, 30), slots.rng.randint(2, 15)
    if high <= low:
        high = low + 5
    a = slots.pick([f"of {low} to {high}", f"from {low} to {high}", f"of the numbers from {low} to {high}"])
    each = f"for n in range({low}, {high} + 1)"
    spoken, code = slots.pick(
        [
            (f"{slots.pick(['squares', 'square numbers', 'squares'])} {a}", f"n ** 2 {each}"),
            (f"squares {a}", f"n ** 2 {each}"),
            (f"cubes {a}", f"n ** 3 {each}"),
            (f"numbers from {low} to {high}", f"n {each}"),
            (f"numbers {low} to {high}", f"n {each}"),
            (f"even numbers from {low} to {high}", f"n {each} if n % 2 == 0"),
            (f"odd numbers from {low} to {high}", f"n {each} if n % 2 == 1"),
            (f"first {high} multiples of {k}", f"{k} * n for n in range(1, {high} + 1)"),
            (f"multiples of {k} from {low} to {high * 10}", f"n for n in range({low}, {high * 10} + 1) if n % {k} == 0"),
            (f"powers of 2 from 2^{low} to 2^{high}", f"2 ** n {each}"),
            (f"prime numbers from {low} to {high * 3}", f"n for n in range(max({low}, 2), {high * 3} + 1) if all(n % i for i in range(2, int(n ** 0.5) + 1))"),
            (f"numbers from {high} down to {low}", f"n for n in range({high}, {low} - 1, -1)"),
        ]
    )  # fmt: skip
    wanted = "".join(f"{number}\n" for number in eval(f"[{code}]"))

    def script() -> Script:
        yield turn("python", {"code": f"open({path!r}, 'w').write('\\n'.join(str(x) for x in [{code}]) + '\\n')"})
        return Answer(slots.pick([f"I wrote them to {path}.", f"Done. {path} has the {spoken}."]), (path,), _is(path, wanted))  # fmt: skip

    return single("sequence", scene.say.request("edits.sequence", {"s": spoken, "p": path}), script, ("python",))


def _lines(slots: Slots) -> list[str]:
    return [slots.pick([slots.sentence, lambda: slots.phrase(1, 4), slots.word])() for _ in range(slots.rng.randint(3, 14))]  # fmt: skip


def count_to_file(scene: Scene) -> Task:
    """Lines or words counted, or numbers added up; said, or written into another file."""
    slots = scene.slots
    path = small_path(scene, [*_TEXTS, *_LISTS, "visits", "log", "server", "data"], ("txt", "txt", "log", "md"))
    target = small_path(scene, ["count", "number", "result", "lines", "total", "out", "words"], ("txt",), folder=False)
    unit = slots.pick(["lines", "lines", "words", "characters", "numbers"])
    if target == path:
        return count_to_file(scene)
    if unit == "numbers":
        lines = [str(slots.rng.randint(1, 900)) for _ in range(slots.rng.randint(3, 12))]
        code = f"sum(int(line) for line in open({path!r}))"
    else:
        lines = _lines(slots)
        call = {"lines": ".splitlines()", "words": ".split()", "characters": ""}[unit]
        code = f"len(open({path!r}).read(){call})"
    scene.world.workspace.put(path, "\n".join(lines) + "\n")
    scene.other_files(0, 2)
    save = unit == "numbers" or slots.chance(0.65)
    wordings = "edits.sum_to" if unit == "numbers" else "edits.count_to" if save else "edits.words_or_lines"

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        said = f"The total is {result}." if unit == "numbers" else f"{path} has {result} {unit}."
        if not save:
            return Answer(said, (result,))
        yield turn("write_file", {"path": target, "content": result + "\n"})
        return Answer(f"{said} I saved it to {target}.", (result,), _is(target, result))

    request = scene.say.request(wordings, {"p": path, "q": target, "u": unit})
    return single("count", request, script, ("python", "write_file") if save else ("python",))


_LINE_CHANGES = {
    "sort_to": "'\\n'.join(sorted(text.splitlines())) + '\\n'", "sort_here": "'\\n'.join(sorted(text.splitlines())) + '\\n'",
    "unique_here": "'\\n'.join(dict.fromkeys(text.splitlines())) + '\\n'", "unique_to": "'\\n'.join(dict.fromkeys(text.splitlines())) + '\\n'",
    "upper_here": "text.upper()",
}  # fmt: skip


def casual_lines(scene: Scene) -> Task:
    """A file's lines sorted or made unique, or two files merged."""
    slots = scene.slots
    path, target = (
        small_path(scene, _LISTS),
        small_path(scene, ["sorted", "clean", "all", "out", "merged", "new"], folder=False),
    )
    if path == target:
        return casual_lines(scene)
    items = _items(slots, 3, 9)
    kind = slots.rng.choices([*_LINE_CHANGES, "merge"], [3, 2, 2, 1, 1, 3])[0]
    if kind.startswith("unique"):
        items += [slots.pick(items) for _ in range(slots.rng.randint(1, 3))]
    text = "\n".join(items) + "\n"
    scene.world.workspace.put(path, text)
    values = {"p": path, "q": target}
    out = path if kind.endswith("here") else target
    if kind == "merge":
        second = small_path(scene, [*_LISTS, *_TEXTS])
        if second == target:
            return casual_lines(scene)
        other = "\n".join(_items(slots, 2, 6)) + "\n"
        scene.world.workspace.put(second, other)
        values = {"p": path, "q": second, "r": target}
        wanted = text + other
        code = f"text = open({path!r}).read() + open({second!r}).read()\nopen({target!r}, 'w').write(text)"
    else:
        wanted = eval(_LINE_CHANGES[kind], {"text": text})
        code = f"text = open({path!r}).read()\nopen({out!r}, 'w').write({_LINE_CHANGES[kind]})"
    scene.other_files(0, 2)

    def script() -> Script:
        yield turn("python", {"code": code})
        return Answer(slots.pick([f"Done. The result is in {out}.", f"I saved it to {out}."]), (out,), _is(out, wanted))

    return single("transform", scene.say.request(f"edits.{kind}", values), script, ("python",))


def which_line(scene: Scene) -> Task:
    """The longest, shortest, last, first or nth line."""
    slots = scene.slots
    path = small_path(scene, [*_TEXTS, "quotes", "jokes", "log", "history"], ("txt", "txt", "md", "log"))
    lines = list(dict.fromkeys(slots.pick([slots.sentence, lambda: slots.phrase(2, 5)])() for _ in range(slots.rng.randint(3, 9))))  # fmt: skip
    kind = slots.pick(["longest", "longest", "shortest", "last_line", "first_line", "nth_line"])
    number = slots.rng.randint(1, len(lines))
    scene.world.workspace.put(path, "\n".join(lines) + "\n")
    scene.other_files(0, 2)
    read = f"open({path!r}).read().splitlines()"
    last = {"longest": f"max({read}, key=len)", "shortest": f"min({read}, key=len)", "last_line": f"{read}[-1]", "first_line": f"{read}[0]", "nth_line": f"{read}[{number - 1}]"}[kind]  # fmt: skip
    word = {"longest": "longest line", "shortest": "shortest line", "last_line": "last line", "first_line": "first line", "nth_line": f"{ordinal(number)} line"}[kind]  # fmt: skip

    def script() -> Script:
        (result,) = yield turn("python", {"code": f"print({last})"})
        return Answer(f"The {word} is: {shown_result(result)}", (result,))

    return single("lines", scene.say.request(f"edits.{kind}", {"p": path, "n": str(number), "o": ordinal(number)}), script, ("python",))  # fmt: skip


def file_about(scene: Scene) -> Task:
    """Which file is about something: their text tells, not their names."""
    slots = scene.slots
    word = slots.pick([slots.city, slots.plain_word, slots.first_name, slots.noun, slots.country])()
    absent = slots.chance(0.12)
    count = slots.rng.randint(2, 5)
    plain = slots.chance(0.5)
    paths = [f"{letter}.txt" for letter in "abcdefgh"[:count]] if plain else [small_path(scene, [*_TEXTS, *_LISTS, "trip", "page"]) for _ in range(count)]  # fmt: skip
    paths = [path for path in dict.fromkeys(paths) if not scene.world.workspace.has(path)]
    if len(paths) < 2 or any(word.lower() in path.lower() for path in paths):
        return file_about(scene)
    frames = ["We went to {w} in {m}.", "The {w} was great.", "Notes about {w}.", "{w} is on the list for {m}.", "I saw {w} yesterday.", "Day 1: {w}, rain.", "Ask about {w}.", "{w} and more {w}."]  # fmt: skip
    for path in paths:
        name = slots.pick([slots.city, slots.plain_word, slots.first_name])()
        text = slots.pick(frames).replace("{w}", name).replace("{m}", slots.fill("month"))
        scene.world.workspace.put(path, text + "\n" + (slots.sentence() + "\n" if slots.chance(0.4) else ""))
    if not absent:
        shown = word if slots.chance(0.8) else word.capitalize()
        scene.world.workspace.put(slots.pick(paths), slots.pick(frames).replace("{w}", shown).replace("{m}", slots.fill("month")) + "\n" + (slots.sentence() + "\n" if slots.chance(0.4) else ""))  # fmt: skip
    spoken = word.lower()
    code = f"import glob, os\nfor path in sorted(glob.glob('**', recursive=True)):\n    if os.path.isfile(path) and {spoken!r} in open(path).read().lower():\n        print(path)"
    grep = scene.offers("grep")

    def script() -> Script:
        if grep:
            (result,) = yield turn("grep", {"pattern": f"(?i){spoken}", "path": "."})
            found = [] if result == "No matches found" else sorted({hit.split(":", 1)[0] for hit in result.split("\n")})
        else:
            (result,) = yield turn("python", {"code": code})
            found = [] if result == "(no output)" else result.split("\n")
        if not found:
            return Answer(f"No file mentions {spoken}.", ("no",))
        return Answer(f"{spoken} is mentioned in {', '.join(found)}.", tuple(found))

    return single("grep", scene.say.request("edits.about", {"x": slots.pick([spoken, spoken, word])}), script, ("grep",) if grep else ("python",))  # fmt: skip
