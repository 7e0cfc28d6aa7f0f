"""Small jobs with files and folders: where one is, several folders, a setting, numbers changed, sums for one person."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from ..episode import Answer, Call, Script, Task, Turn, single, turn
from ..scene import Scene
from ..slots import EXTENSIONS, Slots
from ..world import World
from .edit_tasks import small_path
from .python_tasks import failed, shown_code, shown_result

_WORDS = {2: "two", 3: "three", 4: "four"}
_STEMS = ["notes", "plan", "letter", "photo", "invoice", "ticket", "recipe", "report", "song", "thesis", "essay", "draft", "budget", "cv", "contract", "story", "readme"]  # fmt: skip
_OWN = [
    "tmp",
    "bak",
    "jpg",
    "png",
    "pdf",
    "mp3",
    "doc",
    "zip",
    "old",
    "jpeg",
    "docx",
    "mov",
]  # no other task has such files
_FOLDERS = ["work", "home", "school", "pics", "photos", "music", "backup", "archive", "drafts", "travel", "papers", "bills", "old", "new", "holiday", "garden", "books", "letters", "private", "taxes"]  # fmt: skip


def _name(slots: Slots, extension: str | None = None) -> str:
    """A file name; mostly of words that are no usual stems, so that it is copied."""
    stem = slots.pick(
        [
            lambda: slots.pick(_STEMS),
            lambda: slots.plain_word().lower(),
            lambda: slots.plain_word().lower(),
            lambda: f"{slots.plain_word().lower()}{slots.pick(['_', '-', ''])}{slots.pick(_STEMS)}",
            lambda: f"{slots.pick(_STEMS)}{slots.pick(['_', '-', ''])}{slots.integer(1, 99)}",
            lambda: slots.word().lower(),
        ]
    )()
    return f"{re.sub(r'[^a-z0-9_-]+', '-', stem.lower()).strip('-') or 'x'}.{extension or slots.pick(EXTENSIONS)}"


def _folder(scene: Scene, known: tuple[str, ...] = ()) -> str:
    slots = scene.slots
    while True:
        name = slots.pick([lambda: slots.pick(_FOLDERS), slots.plain_word, slots.word])().lower()
        name = re.sub(r"[^a-z0-9_-]+", "-", name).strip("-") or "x"
        if name not in known and not scene.world.workspace.has(name):
            return name


def _free(scene: Scene, extension: str | None = None) -> str:
    while scene.world.workspace.has(name := _name(scene.slots, extension)):
        pass
    return name


def _list(slots: Slots, parts: list[str]) -> str:
    return slots.pick([", ".join(parts), " and ".join([", ".join(parts[:-1]), parts[-1]]), " ".join(parts)])


def _saved(path: str, text: str) -> Callable[[World], bool]:
    return lambda world: (world.workspace.text(path) or "").strip() == text.strip()


def where_file(scene: Scene) -> Task:
    """In which folder a file is."""
    slots, absent = scene.slots, scene.slots.chance(0.15)
    name, known = _free(scene), []
    for _ in range(slots.rng.randint(1, 3)):
        folder = _folder(scene)
        if slots.chance(0.3):
            folder += "/" + _folder(scene, (folder,))
        known.append(folder)
        scene.world.workspace.put(f"{folder}/{_name(slots)}", slots.sentence())
    folder = slots.pick(known)
    if any(scene.world.workspace.has(f"{other}/{name}") for other in known):
        return where_file(scene)
    if not absent:
        scene.world.workspace.put(f"{folder}/{name}", slots.sentence())
    scene.other_files(0, 2)
    search = scene.offers("search_files")
    code = f"import glob\nprint('\\n'.join(glob.glob({'**/' + name!r}, recursive=True)) or 'none')"

    def script() -> Script:
        if search:
            yield turn("search_files", {"path": ".", "pattern": name})
        else:
            yield turn("python", {"code": code})
        if absent:
            return Answer(slots.pick([f"There is no file {name}.", f"I found no file {name}."]), ("no",))
        return Answer(slots.pick([f"{name} is in {folder}.", f"It is here: {folder}/{name}", f"{name} is in the folder {folder}."]), (folder,))  # fmt: skip

    return single("where", scene.say.request("jobs.where", {"p": name}), script, ("search_files" if search else "python",))  # fmt: skip


def rename_folder(scene: Scene) -> Task:
    slots, workspace = scene.slots, scene.world.workspace
    old = _folder(scene)
    new = _folder(scene, (old,))
    inside, text = _name(slots), slots.sentence()
    workspace.put(f"{old}/{inside}", text)
    scene.other_files(0, 2)
    move = scene.offers("move_file")

    def script() -> Script:
        if move:
            yield turn("move_file", {"source": old, "destination": new})
        else:
            yield turn("python", {"code": f"import os\nos.rename({old!r}, {new!r})"})
        said = slots.pick([f"I renamed {old} to {new}.", f"Done. The folder is now {new}."])
        return Answer(said, (new,), lambda world: world.workspace.text(f"{new}/{inside}") == text and not world.workspace.has(old))  # fmt: skip

    request = scene.say.request("jobs.rename_folder", {"d": old, "q": new})
    return single("move", request, script, ("move_file" if move else "python",))


def make_folders(scene: Scene) -> Task:
    slots, names = scene.slots, list[str]()
    for _ in range(slots.pick([2, 2, 2, 3, 3, 4])):
        names.append(_folder(scene, tuple(names)))
    create = scene.offers("create_directory")

    def script() -> Script:
        if create:
            yield Turn(tuple(Call("create_directory", {"path": name}) for name in names))
        else:
            lines = "\n".join(f"os.makedirs({name!r}, exist_ok=True)" for name in names)
            yield turn("python", {"code": f"import os\n{lines}"})
        return Answer(f"I created the folders {', '.join(names)}.", tuple(names), lambda world: all((world.workspace.root / n).is_dir() for n in names))  # fmt: skip

    request = scene.say.request("jobs.make_folders", {"x": _list(slots, names), "n": slots.pick([_WORDS[len(names)], str(len(names))])})  # fmt: skip
    return single("mkdir", request, script, ("create_directory" if create else "python",))


_SETTINGS = ["dark_mode", "volume", "language", "theme", "font_size", "autosave", "debug", "color", "speed", "port", "timeout", "name", "level", "mode", "sound", "quality", "width", "cache", "retries", "zoom"]  # fmt: skip
_STATES = [("on", "off"), ("true", "false"), ("yes", "no"), ("enabled", "disabled")]


def set_setting(scene: Scene) -> Task:
    """A line "key = value" of a settings file changed, whatever its value was."""
    slots = scene.slots
    path = small_path(scene, ["settings", "config", "app", "game", "options", "prefs", "server"], ("ini", "cfg", "conf", "txt", "yaml", "env"))  # fmt: skip
    style = ": " if path.endswith("yaml") else slots.pick([" = ", " = ", "=", ": "])
    keys = list(dict.fromkeys(slots.pick(_SETTINGS) if slots.chance(0.7) else re.sub(r"\W+", "_", slots.word().lower()) for _ in range(slots.rng.randint(2, 6))))  # fmt: skip
    states = slots.pick(_STATES)

    def value() -> str:
        return slots.pick([lambda: slots.pick(states), lambda: slots.pick(states), lambda: str(slots.integer(1, 500)), slots.plain_word])().lower()  # fmt: skip

    values = [value() for _ in keys]
    at = slots.rng.randrange(len(keys))
    new = states[1 - states.index(values[at])] if values[at] in states else (str(slots.integer(1, 500)) if values[at].isdigit() else slots.plain_word().lower())  # fmt: skip
    lines = [f"{key}{style}{one}" for key, one in zip(keys, values, strict=True)]
    text = "\n".join([*([f"[{slots.plain_word().lower()}]"] if slots.chance(0.4) else []), *lines]) + "\n"
    old_line, new_line = lines[at], f"{keys[at]}{style}{new}"
    if new == values[at] or text.count(old_line) != 1:
        return set_setting(scene)
    after = text.replace(old_line, new_line)
    scene.world.workspace.put(path, text)
    scene.other_files(0, 2)
    edit = scene.offers("edit_file")

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        if edit:
            yield turn("edit_file", {"path": path, "edits": [{"oldText": old_line, "newText": new_line}]})
        else:
            yield turn("python", {"code": f"text = open({path!r}).read()\nopen({path!r}, 'w').write(text.replace({old_line!r}, {new_line!r}))"})  # fmt: skip
        said = slots.pick([f"I set {keys[at]} to {new} in {path}.", f"Done. {keys[at]} is now {new}."])
        return Answer(said, (new,), _saved(path, after))

    spoken = keys[at].replace("_", " ") if slots.chance(0.15) else keys[at]
    return single("edit", scene.say.request("jobs.set", {"k": spoken, "y": new, "p": path}), script, ("read_text_file", "edit_file" if edit else "python"))  # fmt: skip


def _kind(scene: Scene, *, nested: bool) -> tuple[str, list[str]]:
    """Files of one extension, perhaps in folders, beside others. The paths of the kind."""
    slots, workspace = scene.slots, scene.world.workspace
    extension = slots.pick(["txt", "txt", "md", "csv", "log", "json", "py", "html"] if nested or scene.alone else _OWN)
    made = []
    for _ in range(slots.rng.randint(1, 4)):
        made.append(_free(scene, extension))
        workspace.put(made[-1], slots.sentence())
    if nested:
        for _ in range(slots.rng.randint(1, 2)):
            folder = _folder(scene)
            for _ in range(slots.rng.randint(1, 3)):
                made.append(f"{folder}/{_name(slots, extension)}")
                workspace.put(made[-1], slots.sentence())
    for _ in range(slots.rng.randint(0, 3)):
        workspace.put(_free(scene, slots.pick(["rtf", "cfg", "ini", "yaml"])), slots.word())
    return extension, made


def count_kind(scene: Scene) -> Task:
    extension, _ = _kind(scene, nested=True)
    code = f"import glob\nlen(glob.glob('**/*.{extension}', recursive=True))"

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(scene.slots, code)})
        return Answer(f"There are {result} {extension} files.", (result,))

    return single("count_files", scene.say.request("jobs.count_kind", {"e": extension}), script, ("python",))


def move_kind(scene: Scene) -> Task:
    extension, made = _kind(scene, nested=False)
    folder = _folder(scene)
    if scene.slots.chance(0.5):
        (scene.world.workspace.root / folder).mkdir()
    code = f"import glob, os, shutil\nos.makedirs({folder!r}, exist_ok=True)\nfor path in glob.glob('*.{extension}'):\n    shutil.move(path, {folder!r})"  # fmt: skip
    made = sorted(path for path in scene.world.workspace.names() if path.endswith(f".{extension}"))

    def script() -> Script:
        yield turn("python", {"code": code})
        return Answer(f"I moved the {extension} files to {folder}.", (folder,), lambda world: all(world.workspace.has(f"{folder}/{path}") and not world.workspace.has(path) for path in made))  # fmt: skip

    return single("move", scene.say.request("jobs.move_kind", {"e": extension, "d": folder}), script, ("python",))


def delete_kind(scene: Scene) -> Task:
    extension, _ = _kind(scene, nested=False)
    code = f"import glob, os\nfor path in glob.glob('*.{extension}'):\n    os.remove(path)"

    def script() -> Script:
        yield turn("python", {"code": code})
        return Answer(f"I deleted the {extension} files.", (extension,), lambda world: not any(name.endswith(f".{extension}") for name in world.workspace.names()))  # fmt: skip

    return single("delete", scene.say.request("jobs.delete_kind", {"e": extension}), script, ("python",))


def move_out(scene: Scene) -> Task:
    """From a folder into the workspace itself."""
    slots, folder, name = scene.slots, _folder(scene), _free(scene)
    text = slots.sentence()
    scene.world.workspace.put(f"{folder}/{name}", text)
    scene.other_files(0, 2)
    move = scene.offers("move_file")

    def script() -> Script:
        if move:
            yield turn("move_file", {"source": f"{folder}/{name}", "destination": name})
        else:
            yield turn("python", {"code": f"import os\nos.rename({f'{folder}/{name}'!r}, {name!r})"})
        said = slots.pick([f"I moved {name} out of {folder}.", f"Done. {name} is here now."])
        return Answer(said, (name,), lambda world: world.workspace.text(name) == text and not world.workspace.has(f"{folder}/{name}"))  # fmt: skip

    return single("move", scene.say.request("jobs.move_out", {"p": name, "d": folder}), script, ("move_file" if move else "python",))  # fmt: skip


def copy_into(scene: Scene) -> Task:
    """A copy in a folder; the file stays."""
    slots, folder, name = scene.slots, _folder(scene), _free(scene)
    text, there = slots.paragraph(slots.rng.randint(1, 3)), slots.chance(0.6)
    scene.world.workspace.put(name, text)
    if there:
        (scene.world.workspace.root / folder).mkdir(exist_ok=True)
    code = f"import os, shutil\nos.makedirs({folder!r}, exist_ok=True)\nshutil.copy({name!r}, {f'{folder}/{name}'!r})"

    def script() -> Script:
        yield turn("python", {"code": code})
        said = slots.pick([f"I copied {name} to {folder}/{name}.", f"Done. {folder} has a copy of {name}."])
        return Answer(said, (folder,), lambda world: world.workspace.text(f"{folder}/{name}") == text and world.workspace.has(name))  # fmt: skip

    return single("copy", scene.say.request("jobs.copy_into", {"p": name, "d": folder}), script, ("python",))


def make_script(scene: Scene) -> Task:
    """A Python file that prints something."""
    slots = scene.slots
    path = _free(scene, "py")
    words = slots.pick([lambda: slots.phrase(1, 4).lower(), lambda: f"hello {slots.word()}", lambda: f"good {slots.pick(['morning', 'evening', 'night'])} {slots.first_name()}"])()  # fmt: skip
    n, k = slots.rng.randint(2, 100), slots.rng.randint(2, 50)
    spoken, content = slots.pick(
        [
            *[(slots.pick([words, words, f"'{words}'", f'"{words}"']), f"print({words!r})")] * 4,
            (f"the numbers from 1 to {n}", f"for n in range(1, {n} + 1):\n    print(n)"),
            (f"all numbers from 1 to {n}", f"for n in range(1, {n} + 1):\n    print(n)"),
            (f"{words} {k} times", f"for _ in range({k}):\n    print({words!r})"),
            (f"{n} plus {k}", f"print({n} + {k})"),
            (f"{n} times {k}", f"print({n} * {k})"),
            ("the current date", "import datetime\nprint(datetime.date.today())"),
            (f"the squares from 1 to {n}", f"for n in range(1, {n} + 1):\n    print(n ** 2)"),
        ]
    )

    def script() -> Script:
        yield turn("write_file", {"path": path, "content": content + "\n"})
        return Answer(slots.pick([f"I wrote {path}.", f"{path} is saved.", f"Done. The script is {path}."]), (path,), _saved(path, content))  # fmt: skip

    return single("write", scene.say.request("jobs.script_text", {"p": path, "x": spoken}), script, ("write_file",))


def write_exactly(scene: Scene) -> Task:
    """A note whose path and text are copied as they are."""
    slots, path = scene.slots, _free(scene, scene.slots.pick(["txt", "txt", "txt", "md"]))
    day = slots.pick(["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday", "tomorrow"])
    text = slots.pick(
        [
            lambda: f"{slots.plain_word().lower()} on {day} at {slots.integer(1, 12)}",
            lambda: f"{slots.plain_word().lower()} {slots.casual_clock().lower()}",
            lambda: f"call {slots.first_name().lower()} {slots.phone()}",
            lambda: f"{slots.first_name()} owes me {slots.integer(2, 200)} euros",
            lambda: f"{slots.word()} {slots.ident()}",
            lambda: f"buy {slots.integer(2, 20)} {slots.plain_word().lower()}s and {slots.word()}",
            lambda: slots.label(),
            lambda: slots.phrase(2, 6).lower(),
            lambda: slots.sentence().rstrip("."),
            lambda: f"{slots.plain_word().lower()} code {slots.integer(100, 99999)}",
        ]
    )()

    def script() -> Script:
        yield turn("write_file", {"path": path, "content": text + "\n"})
        return Answer(slots.pick([f"I wrote it to {path}.", f"{path} is saved.", f"Done. I saved it in {path}."]), (path,), _saved(path, text))  # fmt: skip

    return single("write", scene.say.request("jobs.write_exactly", {"p": path, "x": text}), script, ("write_file",))


def distinct(scene: Scene) -> Task:
    slots = scene.slots
    unit = slots.pick(["names", "names", "words", "lines", "entries", "people", "items"])
    path = small_path(scene, ["signup", "visitors", "votes", "names", "orders", "list", "answers", "log"])
    make = slots.first_name if unit in ("names", "people") else slots.plain_word
    items = [make() for _ in range(slots.rng.randint(2, 6))]
    items += [slots.pick(items) for _ in range(slots.rng.randint(1, 5))]
    slots.rng.shuffle(items)
    scene.world.workspace.put(path, "\n".join(items) + "\n")

    def script() -> Script:
        (result,) = yield turn("python", {"code": shown_code(slots, f"len(set(open({path!r}).read().splitlines()))")})
        return Answer(slots.pick([f"{path} has {result} different {unit}.", f"There are {result} different {unit} in {path}."]), (result,))  # fmt: skip

    return single("count", scene.say.request("jobs.distinct", {"p": path, "u": unit}), script, ("python",))


def map_numbers(scene: Scene) -> Task:
    """Every number of a file changed, here or into another file."""
    slots = scene.slots
    path = small_path(scene, ["numbers", "values", "data", "prices", "scores", "list"], ("txt",), folder=False)
    target = small_path(scene, ["doubled", "result", "out", "new", "changed", "numbers2"], ("txt",), folder=False)
    if path == target:
        return map_numbers(scene)
    k = slots.rng.randint(2, 20)
    do, state, code, apply = slots.pick(
        [
            ("double", "doubled", "int(line) * 2", lambda x: x * 2), ("triple", "tripled", "int(line) * 3", lambda x: x * 3),
            (f"add {k} to", f"plus {k}", f"int(line) + {k}", lambda x: x + k),
            (f"subtract {k} from", f"minus {k}", f"int(line) - {k}", lambda x: x - k), ("square", "squared", "int(line) ** 2", lambda x: x * x), ("double", "times two", "int(line) * 2", lambda x: x * 2),
        ]
    )  # fmt: skip
    numbers = [slots.rng.randint(1, slots.pick([30, 300])) for _ in range(slots.rng.randint(2, 8))]
    scene.world.workspace.put(path, "".join(f"{n}\n" for n in numbers))
    here = slots.chance(0.35)
    out, wanted = path if here else target, "".join(f"{apply(n)}\n" for n in numbers)
    template = scene.say.template("jobs.map_here" if here else "jobs.map_to")
    template = template.replace("{t}", do).replace("{a}", state)

    def script() -> Script:
        lines = f"numbers = [{code} for line in open({path!r})]"
        yield turn(
            "python", {"code": f"{lines}\nopen({out!r}, 'w').write('\\n'.join(str(x) for x in numbers) + '\\n')"}
        )
        return Answer(slots.pick([f"Done. The numbers are in {out}.", f"I saved them to {out}."]), (out,), _saved(out, wanted))  # fmt: skip

    return single("transform", scene.say.finish(template, {"p": path, "q": out}), script, ("python",))


def json_two(scene: Scene) -> Task:
    """Two values of a JSON file compared or added."""
    slots = scene.slots
    path = small_path(scene, ["sales", "data", "visits", "costs", "stats", "totals", "stock"], ("json",))
    months = ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"]  # fmt: skip
    days = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
    pool = slots.pick([months, days, [slots.plain_word().lower() for _ in range(8)], [slots.first_name().lower() for _ in range(8)]])  # fmt: skip
    keys = list(dict.fromkeys(slots.rng.sample(pool, slots.rng.randint(2, 6))))
    if len(keys) < 2:
        return json_two(scene)
    values = {key: slots.rng.randint(1, slots.pick([50, 500, 5000])) for key in keys}
    more = slots.chance(0.65)
    a, b = slots.rng.sample(keys, 2)
    if values[a] < values[b] and more:
        a, b = b, a
    scene.world.workspace.put(path, json.dumps(values, indent=slots.pick([None, 2, 2])))
    code = f"import json\ndata = json.load(open({path!r}))\ndata[{a!r}] {'-' if more else '+'} data[{b!r}]"

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        said = [f"{a} is {result} more than {b}.", f"The difference is {result}."] if more else [f"Together that is {result}.", f"{a} and {b} are {result} together."]  # fmt: skip
        return Answer(slots.pick(said), (result,))

    request = scene.say.request("jobs.more_than" if more else "jobs.together", {"a": a, "b": b, "p": path})
    return single("json", request, script, ("read_text_file", "python"))


def sum_for(scene: Scene) -> Task:
    """The sum of a column for one name that occurs in several rows of a table."""
    slots = scene.slots
    path = small_path(scene, ["timesheet", "hours", "sales", "points", "log", "runs", "donations", "orders", "games"], ("csv",))  # fmt: skip
    who = slots.pick(["name", "name", "who", "person", "employee", "player", "item"])
    column = slots.pick(["hours", "hours", "points", "km", "minutes", "amount", "pages", "goals", "units", "miles"])
    other = slots.pick(["day", "date", "week", "game", "task"])
    people = list(dict.fromkeys((slots.first_name() if slots.chance(0.85) else slots.plain_word()).lower() if slots.chance(0.6) else slots.first_name() for _ in range(4)))  # fmt: skip
    if len(people) < 2:
        return sum_for(scene)
    wanted = slots.pick(people)
    names = [wanted, wanted, *(slots.pick(people) for _ in range(slots.rng.randint(1, 6)))]
    slots.rng.shuffle(names)
    whole = slots.chance(0.5)
    columns = slots.pick([[other, who, column], [who, column], [who, column, other]])
    rows = []
    for number, name in enumerate(names, 1):
        value = str(slots.rng.randint(1, 60)) if whole else f"{slots.rng.randint(1, 40) / 4:g}"
        extra = {"day": slots.pick(["mon", "tue", "wed", "thu", "fri"]), "date": slots.date()}.get(other, str(number))
        rows.append(",".join({who: name, column: value, other: extra}[one] for one in columns))
    scene.world.workspace.put(path, "\n".join([",".join(columns), *rows]) + "\n")
    scene.other_files(0, 2)
    cast = "int" if whole else "float"
    load = f"import csv\nwith open({path!r}) as f:\n    rows = list(csv.DictReader(f))\n"
    code = f"{load}sum({cast}(r[{column!r}]) for r in rows if r[{who!r}] == {wanted!r})"

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        (result,) = yield turn("python", {"code": shown_code(slots, code)})
        result = shown_result(result)
        return Answer(slots.pick([f"{wanted} has {result} {column}.", f"The total of {column} for {wanted} is {result}."]), (result,))  # fmt: skip

    request = scene.say.request("jobs.sum_for", {"c": column, "v": wanted, "p": path})
    return single("table", request, script, ("read_text_file", "python"))


def in_lines(scene: Scene) -> Task:
    """A word counted or looked for, a line cut, lines turned around, two files compared."""
    slots = scene.slots
    kind = slots.pick(["word_times", "is_in", "is_in", "cut", "flip", "only_in"])
    path = small_path(scene, ["list", "notes", "names", "words", "guests", "shopping", "todo", "diary"])
    items = list(dict.fromkeys(slots.pick([slots.plain_word, slots.first_name, slots.word])() for _ in range(slots.rng.randint(3, 8))))  # fmt: skip
    if len(items) < 2:
        return in_lines(scene)
    word = slots.pick(items)
    values = {"p": path, "x": word}
    if kind == "word_times":
        items += [word] * slots.rng.randint(0, 4)
        slots.rng.shuffle(items)
    text = "\n".join(items) + "\n"
    scene.world.workspace.put(path, text)
    if kind == "word_times":
        code = f"open({path!r}).read().lower().count({word.lower()!r})"

        def script() -> Script:
            (result,) = yield turn("python", {"code": shown_code(slots, code)})
            return Answer(f"{word} appears {result} times in {path}.", (result,))
    elif kind == "is_in":
        absent = slots.chance(0.45)
        word = slots.plain_word() if absent else word
        if absent and word.lower() in text.lower():
            return in_lines(scene)
        values["x"] = word.lower() if slots.chance(0.4) else word

        def script() -> Script:
            yield turn("read_text_file", {"path": path})
            if absent:
                return Answer(slots.pick([f"No, {word} is not in {path}.", f"No, {path} does not have {word}."]), ("no",))  # fmt: skip
            return Answer(slots.pick([f"Yes, {word} is in {path}.", f"Yes, {path} has {word}."]), ("yes",))
    elif kind == "cut":
        values["o"], cut, left = slots.pick([("first", "[1:]", items[1:]), ("last", "[:-1]", items[:-1])])

        def script() -> Script:
            code = f"lines = open({path!r}).read().splitlines()\nopen({path!r}, 'w').write('\\n'.join(lines{cut}) + '\\n')"  # fmt: skip
            yield turn("python", {"code": code})
            return Answer(f"I removed the {values['o']} line of {path}.", (path,), _saved(path, "\n".join(left)))
    elif kind == "flip":

        def script() -> Script:
            code = f"lines = open({path!r}).read().splitlines()\nopen({path!r}, 'w').write('\\n'.join(lines[::-1]) + '\\n')"  # fmt: skip
            yield turn("python", {"code": code})
            return Answer(f"I reversed the lines of {path}.", (path,), _saved(path, "\n".join(items[::-1])))
    else:
        second = _free(scene, "txt")
        kept = [item for item in items if slots.chance(0.6)] + [slots.plain_word()]
        scene.world.workspace.put(second, "\n".join(kept) + "\n")
        values["q"] = second
        code = f"other = open({second!r}).read().splitlines()\nfor line in open({path!r}).read().splitlines():\n    if line not in other:\n        print(line)"  # fmt: skip

        def script() -> Script:
            (result,) = yield turn("python", {"code": code})
            if result == "(no output)":
                return Answer(f"Every line of {path} is in {second}, so there are none.", ("none",))
            found = result.split("\n")
            return Answer(slots.pick([f"{', '.join(found)}.", f"Only in {path}: {', '.join(found)}."]), tuple(found))

    tools = ("read_text_file",) if kind == "is_in" else ("python",)
    return single("lines", scene.say.request(f"jobs.{kind}", values), script, tools)


def small_data(scene: Scene) -> Task:
    """A value of a JSON file set, or a row added to a CSV file."""
    slots = scene.slots
    if slots.chance(0.5):
        path = small_path(scene, ["config", "data", "settings", "user", "profile", "stock"], ("json",))
        data: dict[str, str | int] = {
            re.sub(r"\W+", "_", slots.plain_word().lower()): slots.pick([lambda: slots.integer(1, 500), slots.plain_word])()
            for _ in range(slots.rng.randint(1, 5))
        }  # fmt: skip
        key = slots.pick(list(data)) if slots.chance(0.75) else re.sub(r"\W+", "_", slots.plain_word().lower())
        new: str | int = slots.integer(1, 900) if isinstance(data.get(key, 1), int) else slots.plain_word()
        scene.world.workspace.put(path, json.dumps(data, indent=2))
        after = {**data, key: new}
        code = f"import json\ndata = json.load(open({path!r}))\ndata[{key!r}] = {new!r}\njson.dump(data, open({path!r}, 'w'), indent=2)"  # fmt: skip
        values, name = {"p": path, "k": key, "y": str(new)}, "json_set"
        said, check = f"I set {key} to {new} in {path}.", lambda world: _json(world, path) == after
    else:
        path = small_path(scene, ["people", "stock", "expenses", "scores", "items", "friends"], ("csv",))
        rows = [f"{slots.first_name()},{slots.integer(1, 99)}" for _ in range(slots.rng.randint(1, 5))]
        columns, row = slots.pick(["name,age", "name,score", "item,price", "name,qty"]), f"{slots.first_name()},{slots.integer(1, 99)}"  # fmt: skip
        text = "\n".join([columns, *rows]) + "\n"
        scene.world.workspace.put(path, text)
        code = f"open({path!r}, 'a').write({row + chr(10)!r})"
        values, name = {"p": path, "x": row if slots.chance(0.6) else row.replace(",", ", ")}, "add_row"
        said, check = slots.pick([f"I added {row} to {path}.", f"{path} has the new row."]), _saved(path, text + row)

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        (result,) = yield turn("python", {"code": code})
        return Answer("That failed." if failed(result) else said, (path,), check)

    return single("data_edit", scene.say.request(f"jobs.{name}", values), script, ("read_text_file", "python"))


def _json(world: World, path: str) -> object:
    try:
        return json.loads(world.workspace.text(path) or "")
    except ValueError:
        return None


def biggest_file(scene: Scene) -> Task:
    slots = scene.slots
    for count in slots.rng.sample([1, 3, 6, 10], slots.rng.randint(2, 4)):
        scene.world.workspace.put(_free(scene), slots.paragraph(count))
    code = "import os\nprint(max((p for p in os.listdir('.') if os.path.isfile(p)), key=os.path.getsize))"

    def script() -> Script:
        (result,) = yield turn("python", {"code": code})
        return Answer(f"The biggest file is {result}.", (result,))

    return single("size", scene.say.request("jobs.biggest_file", {}), script, ("python",))


def whole_folder(scene: Scene) -> Task:
    """A folder deleted or copied with all that is in it."""
    slots, workspace = scene.slots, scene.world.workspace
    folder = _folder(scene)
    target, text, name = _folder(scene, (folder,)), slots.sentence(), _name(slots)
    workspace.put(f"{folder}/{name}", text)
    for _ in range(slots.rng.randint(0, 2)):
        workspace.put(f"{folder}/{_name(slots, 'rtf')}", slots.word())
    copy = slots.chance(0.5)
    code = (
        f"import shutil\nshutil.copytree({folder!r}, {target!r})"
        if copy
        else f"import shutil\nshutil.rmtree({folder!r})"
    )

    def script() -> Script:
        yield turn("python", {"code": code})
        if copy:
            return Answer(
                f"I copied the folder {folder} to {target}.",
                (target,),
                lambda world: world.workspace.text(f"{target}/{name}") == text and world.workspace.has(folder),
            )
        return Answer(
            slots.pick([f"I deleted the folder {folder}.", f"{folder} is deleted."]),
            (folder,),
            lambda world: not world.workspace.has(folder),
        )

    request = scene.say.request("jobs.copy_folder" if copy else "jobs.delete_folder", {"d": folder, "q": target})
    return single("copy" if copy else "delete", request, script, ("python",))


def some_files(scene: Scene) -> Task:
    """Two or three named files moved into a folder, or deleted."""
    slots, workspace, names = scene.slots, scene.world.workspace, list[str]()
    for _ in range(slots.pick([2, 2, 3])):
        names.append(_free(scene))
        workspace.put(names[-1], slots.sentence())
    scene.other_files(0, 2)
    folder, move = _folder(scene), slots.chance(0.6)
    if move and slots.chance(0.6):
        (workspace.root / folder).mkdir()
    listed = _list(slots, names)

    def script() -> Script:
        if move:
            lines = "\n".join(f"os.rename({name!r}, {f'{folder}/{name}'!r})" for name in names)
            yield turn("python", {"code": f"import os\nos.makedirs({folder!r}, exist_ok=True)\n{lines}"})
            return Answer(
                f"I moved {', '.join(names)} to {folder}.",
                (folder,),
                lambda world: all(world.workspace.has(f"{folder}/{n}") and not world.workspace.has(n) for n in names),
            )
        yield turn("python", {"code": "import os\n" + "\n".join(f"os.remove({name!r})" for name in names)})
        return Answer(
            f"I deleted {', '.join(names)}.", tuple(names), lambda world: not any(world.workspace.has(n) for n in names)
        )

    request = scene.say.request("jobs.move_two" if move else "jobs.delete_two", {"x": listed, "d": folder})
    return single("move" if move else "delete", request, script, ("python",))


def rename_kind(scene: Scene) -> Task:
    slots = scene.slots
    old, new = slots.rng.sample(["txt", "md", "text", "log"] if scene.alone else _OWN, 2)
    names = list(dict.fromkeys(f"{slots.plain_word().lower()}.{old}" for _ in range(slots.rng.randint(1, 4))))
    for name in names:
        scene.world.workspace.put(name, slots.sentence())
    code = f"import glob, os\nfor path in glob.glob('*.{old}'):\n    os.rename(path, path[:-{len(old)}] + {new!r})"

    def script() -> Script:
        yield turn("python", {"code": code})
        return Answer(
            f"I renamed the {old} files to .{new}.",
            (new,),
            lambda world: all(world.workspace.has(n[: -len(old)] + new) and not world.workspace.has(n) for n in names),
        )

    return single("move", scene.say.request("jobs.rename_kind", {"e": old, "f": new}), script, ("python",))


def whole_text(scene: Scene) -> Task:
    """A file emptied, its numbers sorted, a sign replaced; the lines of several files counted."""
    slots = scene.slots
    kind = slots.pick(["clear", "sort_numbers", "sort_numbers", "signs", "signs", "all_lines"])
    if kind == "all_lines":
        extension, _ = _kind(scene, nested=False)
        code = f"import glob\nsum(len(open(path).read().splitlines()) for path in glob.glob('*.{extension}'))"

        def count() -> Script:
            (result,) = yield turn("python", {"code": shown_code(slots, code)})
            return Answer(f"Together they have {result} lines.", (result,))

        return single("count", scene.say.request("jobs.all_lines", {"e": extension}), count, ("python",))
    path = small_path(scene, ["numbers", "scores", "list", "data", "notes", "values", "letter"])
    values, said = {"p": path}, f"I changed {path}."
    text = "\n".join(slots.phrase(1, 3) for _ in range(slots.rng.randint(2, 6)))
    if kind == "clear":
        code, after, said = f"open({path!r}, 'w').close()", "", f"{path} is empty now."
    elif kind == "sort_numbers":
        numbers = [slots.rng.randint(1, slots.pick([30, 2000])) for _ in range(slots.rng.randint(3, 9))]
        text, after = "\n".join(map(str, numbers)), "\n".join(map(str, sorted(numbers)))
        code = f"numbers = sorted(int(line) for line in open({path!r}))\nopen({path!r}, 'w').write('\\n'.join(str(x) for x in numbers) + '\\n')"
        said = f"I sorted the numbers in {path}."
    else:
        named = {
            "comma": ",",
            "semicolon": ";",
            "space": " ",
            "dash": "-",
            "underscore": "_",
            "dot": ".",
            "tab": "\t",
            "slash": "/",
            "colon": ":",
        }
        x, y = slots.rng.sample(list(named), 2)
        text = "\n".join(
            named[x].join(slots.plain_word() for _ in range(slots.rng.randint(2, 4)))
            for _ in range(slots.rng.randint(1, 5))
        )
        values, after = {"p": path, "x": x, "y": y}, text.replace(named[x], named[y])
        code = f"text = open({path!r}).read()\nopen({path!r}, 'w').write(text.replace({named[x]!r}, {named[y]!r}))"
    scene.world.workspace.put(path, text + "\n")

    def script() -> Script:
        yield turn("python", {"code": code})
        return Answer(said, (path,), _saved(path, after))

    return single("transform", scene.say.request(f"jobs.{kind}", values), script, ("python",))
