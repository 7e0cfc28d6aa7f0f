"""Requests as people make them in passing: about a file they do not name, about *it*, or for two things at once."""

from __future__ import annotations

from ..episode import Answer, Round, Script, Task, single, turn
from ..phrasing import bank, fill
from ..scene import Scene
from .data_tasks import table_question
from .file_tasks import note, note_items, reading, writing
from .python_tasks import shown_code, shown_result

_KINDS = [
    "shopping",
    "groceries",
    "todo",
    "packing",
    "plan",
    "ideas",
    "guests",
    "wishlist",
    "notes",
    "members",
    "books",
]


def _note_path(scene: Scene, kind: str) -> str:
    slots = scene.slots
    stem = slots.pick([kind, kind, f"{kind}_list", f"my_{kind}", f"{kind}-{slots.integer(1, 30)}", kind.capitalize()])
    folder = f"{slots.directory()}/" if slots.chance(0.12) else ""
    return f"{folder}{stem}.{slots.pick(['txt', 'txt', 'md'])}"


def _kept_note(scene: Scene) -> tuple[str, str, list[str]] | None:
    """A list in a file whose name tells what it is: its kind, path and items. None if something is in the way."""
    kind = scene.slots.pick(_KINDS)
    path = _note_path(scene, kind)
    workspace = scene.world.workspace
    if (
        workspace.has(path)
        or workspace.has(path.split("/")[0])
        or any(kind in name.lower() for name in workspace.names())
    ):
        return None
    items = note_items(scene.slots, kind)
    bullet = scene.slots.pick(["{}", "{}", "- {}", "* {}"])
    workspace.put(path, "\n".join(bullet.replace("{}", item) for item in items) + scene.slots.pick(["", "\n"]))
    return kind, path, items


def _find(path: str) -> Script:
    """Look where the file is."""
    yield turn("list_directory", {"path": "."})
    if "/" in path:
        yield turn("list_directory", {"path": path.rsplit("/", 1)[0]})
    return Answer("")


def unnamed_note(scene: Scene) -> Task:
    """What is on a list, with no word of its file."""
    kept = _kept_note(scene)
    if kept is None:
        return note(scene)
    kind, path, items = kept
    scene.other_files(0, 4)

    def script() -> Script:
        yield from _find(path)
        yield turn("read_text_file", {"path": path})
        joined = ", ".join(items)
        return Answer(scene.slots.pick([f"{path} lists: {joined}.", f"According to {path}: {joined}."]), tuple(items))

    return single("unnamed", scene.say.request(f"unnamed.{kind}", {}), script, ("list_directory", "read_text_file"))


def unnamed_append(scene: Scene) -> Task:
    kept = _kept_note(scene)
    if kept is None:
        return writing(scene)
    kind, path, _ = kept
    before = scene.world.workspace.text(path) or ""
    bullet = before[:2] if before[:2] in ("- ", "* ") else ""
    extra = scene.slots.pick([scene.slots.plain_word, scene.slots.word, scene.slots.phrase, scene.slots.person])()
    after = f"{before.rstrip()}\n{bullet}{extra}\n"
    scene.other_files(0, 4)
    spoken = {
        "todo": "todo",
        "wishlist": "wish",
        "books": "book",
        "groceries": "grocery",
        "members": "member",
        "guests": "guest",
    }.get(kind, kind)

    def script() -> Script:
        yield from _find(path)
        yield turn("read_text_file", {"path": path})
        yield turn("write_file", {"path": path, "content": after})
        return Answer(
            scene.slots.pick([f"I added {extra} to {path}.", f"{extra} is now in {path}."]),
            (path,),
            lambda world: (world.workspace.text(path) or "").strip() == after.strip(),
        )

    return single(
        "unnamed",
        scene.say.request("unnamed.append", {"x": extra, "n": spoken}),
        script,
        ("list_directory", "read_text_file", "write_file"),
    )


def unnamed_table(scene: Scene) -> Task:
    """A figure of a table that is not named by its path."""
    slots, workspace = scene.slots, scene.world.workspace
    spending = slots.chance(0.5)
    stem = (
        slots.pick(["expenses", "spending", "costs"])
        if spending
        else slots.pick(
            [
                "sales",
                "scores",
                "orders",
                "inventory",
                "products",
                "employees",
                "students",
                "invoices",
                slots.word().lower(),
            ]
        )
    )
    path = f"{stem}.csv"
    if any(name.endswith(".csv") or stem in name for name in workspace.names()):
        return table_question(scene)
    number = (
        slots.pick(["amount", "amount", "price", "cost"])
        if spending
        else slots.pick(["price", "score", "quantity", "salary", "amount", "total", "points"])
    )
    whole = slots.chance(0.4)
    key = slots.pick(["item", "name", "date", "product"])
    make = {"item": slots.plain_word, "name": slots.first_name, "date": slots.date, "product": slots.plain_word}[key]
    rows = [
        (make(), str(slots.rng.randint(1, 500)) if whole else slots.price(1, 300))
        for _ in range(slots.rng.randint(3, 10))
    ]
    workspace.put(path, "\n".join([f"{key},{number}", *(f"{name},{value}" for name, value in rows)]) + "\n")
    scene.other_files(0, 3)
    kind, word = (
        ("sum", "total")
        if spending
        else slots.pick([("sum", "total"), ("mean", "average"), ("max", "highest"), ("min", "lowest")])
    )
    column = f"{'int' if whole else 'float'}(r[{number!r}])"
    last = {"sum": f"round(sum({column} for r in rows), 2)", "mean": f"round(sum({column} for r in rows) / len(rows), 2)",
            "max": f"max([{column} for r in rows])", "min": f"min([{column} for r in rows])"}[kind]  # fmt: skip
    if kind == "sum" and whole:
        last = f"sum({column} for r in rows)"
    request = (
        scene.say.request("unnamed.spending", {})
        if spending
        else scene.say.request("unnamed.column", {"w": word, "c": number, "n": stem})
    )

    def script() -> Script:
        yield turn("list_directory", {"path": "."})
        yield turn("read_text_file", {"path": path})
        code = f"import csv\nwith open({path!r}) as f:\n    rows = list(csv.DictReader(f))\n{last}"
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        return Answer(
            f"The {word} {number} is {shown_result(result)}."
            if not spending
            else f"The total is {shown_result(result)}.",
            (shown_result(result),),
        )

    return single("unnamed", request, script, ("list_directory", "read_text_file", "python"))


def about_it(scene: Scene) -> Task:
    """A file is made or read, and then spoken of as *it*."""
    slots = scene.slots
    first = slots.pick([writing, reading])(scene)
    if first.category not in ("write", "read"):
        return first
    path = _path_of(first)
    target = scene.fresh_path(path.rsplit(".", 1)[-1], 0.0)
    kind = slots.pick(["delete", "rename", "words", "lines", "copy", *(["read"] if first.category == "write" else [])])
    mover = scene.offers("move_file")

    def script() -> Script:
        if kind == "read":
            (result,) = yield turn("read_text_file", {"path": path})
            return Answer(f"{path} says: {result}", (result.split("\n")[0],))
        if kind == "delete":
            yield turn("python", {"code": f"import os\nos.remove({path!r})"})
            return Answer(f"I deleted {path}.", (path,), lambda world: not world.workspace.has(path))
        if kind == "rename":
            if mover:
                yield turn("move_file", {"source": path, "destination": target})
            else:
                yield turn("python", {"code": f"import os\nos.rename({path!r}, {target!r})"})
            return Answer(
                f"I renamed {path} to {target}.",
                (target,),
                lambda world: world.workspace.has(target) and not world.workspace.has(path),
            )
        if kind == "copy":
            yield turn("python", {"code": f"import shutil\nshutil.copy({path!r}, {target!r})"})
            return Answer(f"I copied {path} to {target}.", (target,), lambda world: world.workspace.has(target))
        counted = "split" if kind == "words" else "splitlines"
        (result,) = yield turn("python", {"code": shown_code(slots, f"len(open({path!r}).read().{counted}())")})
        return Answer(f"{path} has {result} {kind}.", (result,))

    request = scene.say.finish(slots.pick(bank()[f"it.{kind}"].sentences.train), {"q": target})
    first.rounds.append(Round(request, script))
    return Task(
        "about_it",
        first.rounds,
        tuple(
            dict.fromkeys(
                [*first.tools, "python", *(["move_file"] if mover and kind == "rename" else []), "read_text_file"]
            )
        ),
    )


def _path_of(task: Task) -> str:
    """The path that a reading or writing script's first call names."""
    script = task.rounds[0].script()
    step = next(script)
    script.close()
    return str(step.calls[0].arguments["path"])


def write_in_folder(scene: Scene) -> Task:
    slots = scene.slots
    folder = slots.directory()
    if scene.world.workspace.has(folder):
        folder = f"{slots.word().lower()}{slots.integer(1, 99)}"
    name, text = (
        scene.fresh_path(slots.pick(["txt", "md"]), 0.0),
        slots.pick([slots.sentence, slots.phrase, slots.word])(),
    )
    path = f"{folder}/{name}"

    def script() -> Script:
        yield turn("write_file", {"path": path, "content": text})
        return Answer(
            f"I wrote it to {path}.", (path,), lambda world: (world.workspace.text(path) or "").strip() == text.strip()
        )

    return single(
        "write",
        scene.say.request("files.write_in_folder", {"d": folder, "p": name, "x": text}),
        script,
        ("write_file",),
    )


def mkdir_and_move(scene: Scene) -> Task:
    slots = scene.slots
    path = scene.fresh_path(nested=0.0)
    text = slots.sentence()
    scene.world.workspace.put(path, text)
    folder = f"{slots.directory()}{slots.pick(['', str(slots.integer(1, 99))])}"
    while scene.world.workspace.has(folder):
        folder += str(slots.integer(1, 99))
    target = f"{folder}/{path}"
    tools = scene.offers("move_file") and scene.offers("create_directory")

    def script() -> Script:
        if tools:
            yield turn("create_directory", {"path": folder})
            yield turn("move_file", {"source": path, "destination": target})
        else:
            yield turn(
                "python",
                {"code": f"import os\nos.makedirs({folder!r}, exist_ok=True)\nos.rename({path!r}, {target!r})"},
            )
        return Answer(
            f"I moved {path} to {target}.",
            (target,),
            lambda world: world.workspace.text(target) == text and not world.workspace.has(path),
        )

    return single(
        "move",
        scene.say.request("files.mkdir_and_move", {"d": folder, "p": path}),
        script,
        ("create_directory", "move_file") if tools else ("python",),
    )


_TRANSFORMS = {  # what to do, what it is then, code on the text
    "upper": (["uppercase", "convert to uppercase", "capitalize all of", "put in capital letters"], ["in uppercase", "in capital letters"], "text.upper()"),
    "lower": (["lowercase", "convert to lowercase", "put in small letters"], ["in lowercase", "in small letters"], "text.lower()"),
    "sort": (["sort the lines of", "alphabetize", "sort", "order the lines of"], ["with sorted lines", "sorted alphabetically", "in alphabetical order"], "'\\n'.join(sorted(text.splitlines())) + '\\n'"),
    "reverse": (["reverse the lines of", "reverse the order of the lines in", "flip the line order of"], ["with the lines in reverse order", "from the last line to the first"], "'\\n'.join(text.splitlines()[::-1]) + '\\n'"),
    "unique": (["remove duplicate lines from", "dedupe", "drop the repeated lines of"], ["without duplicate lines", "with every line only once"], "'\\n'.join(dict.fromkeys(text.splitlines())) + '\\n'"),
    "blank": (["remove the empty lines from", "drop blank lines from"], ["without empty lines", "without blank lines"], "'\\n'.join(line for line in text.splitlines() if line.strip()) + '\\n'"),
    "number": (["number the lines of", "add line numbers to"], ["with numbered lines", "with line numbers"], "'\\n'.join(f'{i}. {line}' for i, line in enumerate(text.splitlines(), 1)) + '\\n'"),
}  # fmt: skip


def transform(scene: Scene) -> Task:
    """A file's text changed by code, in place or into another file."""
    slots = scene.slots
    commands, states, code = _TRANSFORMS[slots.pick(list(_TRANSFORMS))]
    lines = [slots.pick([slots.word, slots.phrase, slots.first_name])() for _ in range(slots.rng.randint(3, 9))]
    lines.insert(slots.rng.randint(0, len(lines)), lines[0])
    if "strip" in code:
        lines.insert(1, "")
    path = scene.fresh_path(slots.pick(["txt", "txt", "md"]), 0.15)
    text = "\n".join(lines) + "\n"
    scene.world.workspace.put(path, text)
    in_place = slots.chance(0.45)
    target = path if in_place else scene.fresh_path("txt", 0.0)
    template = scene.say.template("files.transform_in_place" if in_place else "files.transform")
    template = fill(template, {"t": slots.pick(commands), "a": slots.pick(states)})
    wanted = eval(code, {"text": text})

    def script() -> Script:
        yield turn("python", {"code": f"text = open({path!r}).read()\nopen({target!r}, 'w').write({code})"})
        return Answer(
            slots.pick([f"Done. The result is in {target}.", f"I saved it to {target}."]),
            (target,),
            lambda world: (world.workspace.text(target) or "").strip() == wanted.strip(),
        )

    return single("transform", scene.say.finish(template, {"p": path, "q": target}), script, ("python",))


_NEXT_FIGURES = [(["and the average?", "what about the average?", "and the mean?"], "round(sum(x) / len(x), 2)", "average"), (["and the largest?", "and the maximum?", "what is the biggest one?"], "max(x)", "largest number"),
                 (["and the smallest?", "and the minimum?"], "min(x)", "smallest number"), (["how many numbers are there?", "how many are there?"], "len(x)", "count")]  # fmt: skip


def figures(scene: Scene) -> Task:
    """Several questions about one list of numbers, which stays in a variable."""
    slots = scene.slots
    numbers = [slots.rng.randint(1, slots.pick([20, 100, 1000])) for _ in range(slots.rng.randint(4, 9))]
    listed = ", ".join(map(str, numbers))

    def first() -> Script:
        (result,) = yield turn("python", {"code": f"x = {numbers}\nprint(sum(x))"})
        return Answer(f"The sum is {result}.", (result,))

    rounds = [
        Round(
            scene.say.finish(
                scene.say.choose(
                    [
                        "what's the sum of {l}?",
                        "add up {l}",
                        "sum {l}",
                        "here are my numbers: {l}. what's the total?",
                        "total of {l}?",
                    ]
                ),
                {"l": listed},
            ),
            first,
        )
    ]
    for wordings, code, noun in slots.rng.sample(_NEXT_FIGURES, slots.pick([1, 2])):

        def then(code: str = code, noun: str = noun) -> Script:
            (result,) = yield turn("python", {"code": shown_code(slots, code)})
            return Answer(f"The {noun} is {shown_result(result)}.", (shown_result(result),))

        rounds.append(Round(scene.say.roughen(slots.pick(wordings)), then))
    return Task("python_state", rounds, ("python",))
