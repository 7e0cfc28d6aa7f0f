"""Tasks about the files of the workspace."""

from __future__ import annotations

import json

from ..episode import Answer, Call, Round, Script, Task, Turn, says, single, turn
from ..scene import Scene
from ..slots import Slots
from .facts import Fact, draw_facts, fact_answer, facts_text
from .python_tasks import failed


def names_in(listing: str) -> list[str]:
    return [line.split("] ", 1)[1] for line in listing.split("\n") if line.startswith("[")]


def listing(scene: Scene) -> Task:
    slots, say = scene.slots, scene.say
    root = slots.chance(0.6)
    directory = "." if root else slots.directory()
    if root and slots.chance(0.3):
        for _ in range(slots.rng.randint(1, 2)):
            scene.world.workspace.put(f"{slots.directory()}/{slots.file_name()}", slots.sentence())
    scene.other_files(0 if slots.chance(0.06) else 1, 7, "" if root else directory)
    (scene.world.workspace.root / directory).mkdir(parents=True, exist_ok=True)
    request = say.request("files.list_root" if root else "files.list", {"d": directory})

    def script() -> Script:
        (result,) = yield turn("list_directory", {"path": directory})
        if result == "(empty directory)":
            where = "The workspace" if root else directory
            return Answer(f"{where} is empty.", ("empty|no files",))
        found = names_in(result)
        where = "here" if root else f"in {directory}"
        text = slots.pick(
            [
                f"The files {where} are: {', '.join(found)}.",
                f"There are these entries {where}: {', '.join(found)}.",
                f"I found {', '.join(found)}.",
            ]
        )
        return Answer(text, tuple(found))

    return single("list", request, script, ("list_directory",))


def counting(scene: Scene) -> Task:
    root = scene.slots.chance(0.5)
    directory = "." if root else scene.slots.directory()
    scene.other_files(1, 12, "" if root else directory)
    spoken = (
        scene.slots.pick(["this folder", "the workspace", "the current directory", "my folder"]) if root else directory
    )

    def script() -> Script:
        code = (
            f"import os\nlen(os.listdir({directory!r}))"
            if scene.slots.chance(0.4)
            else f"import os\nprint(len(os.listdir({directory!r})))"
        )
        (result,) = yield turn("python", {"code": code})
        return Answer(f"There are {result} files in {spoken}.", (result,))

    return single("count_files", scene.say.request("files.count", {"d": spoken}), script, ("python",))


def _content(slots: Slots) -> str:
    """What a short file may say."""
    roll = slots.rng.random()
    if roll < 0.25:
        return slots.sentence()
    if roll < 0.4:
        return slots.paragraph(slots.rng.randint(2, 4))
    if roll < 0.55:
        return "\n".join(slots.phrase(1, 3) for _ in range(slots.rng.randint(2, 6)))
    if roll < 0.75:
        return facts_text(slots, draw_facts(slots, slots.rng.randint(1, 4)))
    if roll < 0.85:
        return f"# {slots.phrase(1, 3).title()}\n\n{slots.sentence()}\n"
    if roll < 0.95:
        return json.dumps({slots.word(): slots.word() for _ in range(slots.rng.randint(1, 3))})
    return ""


def reading(scene: Scene) -> Task:
    slots = scene.slots
    path, text = scene.fresh_path(), _content(slots)
    scene.world.workspace.put(path, text)
    scene.other_files(0, 2)

    def script() -> Script:
        (result,) = yield turn("read_text_file", {"path": path})
        if result == "(empty file)":
            return Answer(f"{path} is empty.", ("empty",))
        separator = "\n" if "\n" in result else " "
        lead = slots.pick([f"{path} says:", f"{path} contains:", "The file says:", "It says:"])
        return Answer(f"{lead}{separator}{result}", tuple(line.strip() for line in result.split("\n") if line.strip()))

    return single("read", scene.say.request("files.read", {"p": path}), script, ("read_text_file",))


def _store_facts(scene: Scene, path: str, facts: list[Fact]) -> None:
    slots = scene.slots
    if path.endswith(".json"):
        text = json.dumps({fact.name.replace(" ", "_"): fact.value for fact in facts}, indent=slots.pick([None, 2]))
    elif path.endswith(".csv"):
        text = "\n".join(["key,value", *(f"{fact.name},{fact.value}" for fact in facts)]) + "\n"
    else:
        text = facts_text(slots, facts)
    if scene.long and path.endswith((".txt", ".md", ".log")) and slots.chance(0.7):
        before = [slots.sentence() for _ in range(slots.rng.randint(5, 60))]
        after = [slots.sentence() for _ in range(slots.rng.randint(0, 40))]
        text = "\n".join([*before, text.strip(), *after]) + "\n"
    scene.world.workspace.put(path, text)


def field(scene: Scene) -> Task:
    """One value of a file; sometimes it is not there."""
    slots = scene.slots
    path = scene.fresh_path(slots.pick(["txt", "txt", "txt", "md", "ini", "cfg", "json", "yaml", "log", "csv"]))
    facts = draw_facts(slots, slots.rng.randint(2, 6))
    absent = slots.chance(0.17)
    wanted = facts.pop() if absent else slots.pick(facts)
    facts = [fact for fact in facts if not (absent and (wanted.name in fact.name or fact.name in wanted.name))]
    if not facts:
        return field(scene)
    _store_facts(scene, path, facts)
    scene.other_files(0, 3)
    request = scene.say.request("files.field", {"k": wanted.ask(scene), "p": path})

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        if absent:
            return Answer(
                slots.pick(
                    [f"{path} does not mention the {wanted.name}.", f"I could not find the {wanted.name} in {path}."]
                ),
                ("not",),
            )
        return Answer(fact_answer(slots, wanted), (wanted.value,))

    rounds = [Round(request, script)]
    if not absent and len(facts) > 1 and slots.chance(0.3):
        other = slots.pick([fact for fact in facts if fact is not wanted])
        asks = [
            f"and {other.ask(scene)}?",
            f"what about {other.ask(scene)}?",
            f"and what is {other.ask(scene)}?",
            f"now tell me {other.ask(scene)}",
        ]
        rounds.append(
            Round(scene.say.roughen(slots.pick(asks)), says(fact_answer(slots, other), (other.value,), calls=None))
        )
    return Task("field", rounds, ("read_text_file",))


def somewhere(scene: Scene) -> Task:
    """A value in a file whose name is not told."""
    slots = scene.slots
    facts = draw_facts(slots, slots.rng.randint(2, 5))
    wanted = slots.pick(facts)
    grep = scene.offers("grep")
    path = scene.fresh_path(slots.pick(["txt", "md", "txt", "ini"]), 0.3 if grep else 0.0)
    _store_facts(scene, path, facts)
    others = [scene.fresh_path("txt", 0.0) for _ in range(slots.rng.randint(0, 3))]
    for other in others:
        scene.world.workspace.put(other, slots.paragraph(slots.rng.randint(1, 2)) + "\n")
    request = scene.say.request("files.somewhere", {"k": wanted.ask(scene)})

    def script() -> Script:
        if grep:
            key = wanted.name.split(" ")[-1]
            pattern = f"(?i){key}"
            (result,) = yield turn("grep", {"pattern": pattern, "path": "."})
            if not any(wanted.value in line for line in result.split("\n")):
                yield turn("read_text_file", {"path": path})
            return Answer(f"The {wanted.name} is {wanted.value}. It is in {path}.", (wanted.value,))
        (result,) = yield turn("list_directory", {"path": "."})
        found = [name for name in names_in(result) if name == path or name in others]
        order = found if len(found) <= 4 else [path]
        yield Turn(tuple(Call("read_text_file", {"path": name}) for name in order))
        return Answer(f"The {wanted.name} is {wanted.value}. I found it in {path}.", (wanted.value,))

    return single(
        "somewhere", request, script, ("grep", "read_text_file") if grep else ("list_directory", "read_text_file")
    )


_NOTES = {"shopping": "list", "groceries": "list", "todo": "tasks", "packing": "list", "plan": "tasks", "ideas": "tasks",
          "guests": "people", "wishlist": "list", "notes": "tasks", "members": "people", "books": "list"}  # fmt: skip


def note_items(slots: Slots, kind: str) -> list[str]:
    """What is on a list of this kind."""
    make = {
        "list": lambda: slots.pick([slots.plain_word, slots.plain_word, slots.word])(),
        "tasks": lambda: (
            f"{slots.pick(['call', 'buy', 'clean', 'fix', 'write', 'check', 'visit', 'order', 'pay'])} {slots.phrase(1, 2)}"
        ),
        "people": slots.person,
    }[_NOTES[kind]]
    return [make() for _ in range(slots.rng.randint(1, 6))]


def note(scene: Scene) -> Task:
    """A list that the user wrote, asked for in everyday words."""
    slots = scene.slots
    kind = slots.pick(list(_NOTES))
    path = f"{slots.pick([kind, kind, kind + '_list', 'my_' + kind, kind + '-' + str(slots.integer(1, 30))])}.{slots.pick(['txt', 'txt', 'md'])}"
    if slots.chance(0.25):
        path = f"{slots.directory()}/{path}"
    if scene.world.workspace.has(path) or scene.world.workspace.has(path.split("/")[0]):
        return reading(scene)
    items = note_items(slots, kind)
    bullet = slots.pick(["{}", "- {}", "* {}", "[ ] {}", "1. {}"])
    scene.world.workspace.put(path, "\n".join(bullet.replace("{}", item) for item in items) + slots.pick(["", "\n"]))
    scene.other_files(0, 3)

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        joined = ", ".join(items)
        return Answer(
            slots.pick([f"{joined}.", f"According to {path}: {joined}.", f"{path} lists: {joined}."]), tuple(items)
        )

    return single("note", scene.say.request(f"notes.{kind}", {"p": path}), script, ("read_text_file",))


def writing(scene: Scene) -> Task:
    slots = scene.slots
    path = scene.fresh_path(slots.pick(["txt", "txt", "md", "log", "json", "py", "csv", "html"]))
    lines = slots.chance(0.25)
    if lines:
        items = slots.words(slots.rng.randint(2, 5))
        content = "\n".join(items) + "\n"
        request = scene.say.request("files.write_lines", {"p": path, "x": ", ".join(items)})
    else:
        text = slots.pick(
            [slots.sentence, slots.phrase, slots.word, slots.ident, lambda: slots.paragraph(2), slots.sentence]
        )()
        content = text
        request = scene.say.request("files.write", {"p": path, "x": text})

    def script() -> Script:
        yield turn("write_file", {"path": path, "content": content})
        text = slots.pick([f"I wrote it to {path}.", f"Done. I saved it in {path}.", f"{path} is saved."])
        return Answer(text, (path,), lambda world: (world.workspace.text(path) or "").strip() == content.strip())

    return single("write", request, script, ("write_file",))


def appending(scene: Scene) -> Task:
    slots = scene.slots
    path = scene.fresh_path(slots.pick(["txt", "txt", "md", "log"]))
    lines = [slots.pick([slots.word, slots.phrase, slots.sentence])() for _ in range(slots.rng.randint(1, 6))]
    before = "\n".join(lines) + slots.pick(["", "\n"])
    scene.world.workspace.put(path, before)
    extra = slots.pick([slots.word, slots.phrase, slots.sentence, slots.ident])()
    with_python = slots.chance(0.15)
    wanted = "\n".join([*lines, extra])

    def script() -> Script:
        if with_python:
            yield turn(
                "python",
                {
                    "code": f"text = open({path!r}).read().rstrip()\nopen({path!r}, 'w').write(text + '\\n' + {extra!r} + '\\n')"
                },
            )
        else:
            yield turn("read_text_file", {"path": path})
            yield turn("write_file", {"path": path, "content": wanted + "\n"})
        text = slots.pick([f"I added it to {path}.", f"Done. {path} has the new line.", f"{extra} is now in {path}."])
        return Answer(text, (path,), lambda world: (world.workspace.text(path) or "").strip() == wanted)

    tools = ("python",) if with_python else ("read_text_file", "write_file")
    return single("append", scene.say.request("files.append", {"x": extra, "p": path}), script, tools)


def replacing(scene: Scene) -> Task:
    """An edit of some words, after a look at the file: with edit_file where it is offered, else by Python."""
    slots = scene.slots
    path = scene.fresh_path(slots.pick(["txt", "md", "cfg", "ini", "yaml"]))
    facts = draw_facts(slots, slots.rng.randint(1, 4))
    target = slots.pick(facts)
    new = slots.pick([slots.word, slots.ident, lambda: str(slots.integer()), slots.first_name])()
    by_key = slots.chance(0.5)
    text = facts_text(slots, facts, slots.pick(["colon", "equals", "sentence", "dash"]))
    if text.count(target.value) != 1 or new in text:
        return replacing(scene)
    scene.world.workspace.put(path, text)
    values = {"p": path, "x": target.value, "y": new, "k": target.ask(scene)}
    request = scene.say.request("files.set_value" if by_key else "files.replace", values)
    after = text.replace(target.value, new).strip()
    edit = scene.offers("edit_file")

    def script() -> Script:
        yield turn("read_text_file", {"path": path})
        if edit:
            yield turn("edit_file", {"path": path, "edits": [{"oldText": target.value, "newText": new}]})
        else:
            code = f"text = open({path!r}).read()\nopen({path!r}, 'w').write(text.replace({target.value!r}, {new!r}))"
            yield turn("python", {"code": code})
        said = slots.pick([f"I changed {target.value} to {new} in {path}.", f"Done. {path} now has {new}."])
        return Answer(said, (path,), lambda world: (world.workspace.text(path) or "").strip() == after)

    return single("edit", request, script, ("read_text_file", "edit_file" if edit else "python"))


def moving(scene: Scene) -> Task:
    """Renaming, or moving into a folder; without move_file Python does it."""
    slots = scene.slots
    path = scene.fresh_path()
    text = slots.sentence()
    scene.world.workspace.put(path, text)
    into = slots.chance(0.4)
    if into:
        folder = slots.directory()
        while scene.world.workspace.has(folder):
            folder = slots.word().lower() + str(slots.integer(1, 99))
        if slots.chance(0.4):
            (scene.world.workspace.root / folder).mkdir()
        target = f"{folder}/{path.rsplit('/', 1)[-1]}"
        request = scene.say.request("files.move_into", {"p": path, "d": folder})
    else:
        target = scene.fresh_path(path.rsplit(".", 1)[-1] if slots.chance(0.6) else None, 0.15)
        folder = target.rsplit("/", 1)[0] if "/" in target else ""
        request = scene.say.request("files.rename", {"p": path, "q": target})
    with_python = not scene.offers("move_file")

    def script() -> Script:
        if with_python:
            make = f"os.makedirs({folder!r}, exist_ok=True)\n" if folder else ""
            yield turn("python", {"code": f"import os\n{make}os.rename({path!r}, {target!r})"})
        else:
            yield turn("move_file", {"source": path, "destination": target})
        said = slots.pick(
            [f"I moved {path} to {target}.", f"Done. The file is now {target}."]
            if into
            else [f"I renamed {path} to {target}.", f"Done. {path} is now {target}."]
        )
        return Answer(
            said, (target,), lambda world: world.workspace.text(target) == text and not world.workspace.has(path)
        )

    return single("move", request, script, ("python",) if with_python else ("move_file",))


def making_directory(scene: Scene) -> Task:
    folder = scene.slots.directory()
    while scene.world.workspace.has(folder):
        folder = scene.slots.word().lower() + str(scene.slots.integer(1, 99))
    with_python = not scene.offers("create_directory")

    def script() -> Script:
        if with_python:
            yield turn("python", {"code": f"import os\nos.makedirs({folder!r}, exist_ok=True)"})
        else:
            yield turn("create_directory", {"path": folder})
        return Answer(
            scene.slots.pick([f"I created the directory {folder}.", f"Done. {folder} is there."]),
            (folder,),
            lambda world: (world.workspace.root / folder).is_dir(),
        )

    return single(
        "mkdir",
        scene.say.request("files.mkdir", {"d": folder}),
        script,
        ("python",) if with_python else ("create_directory",),
    )


def deleting(scene: Scene) -> Task:
    path = scene.fresh_path()
    scene.world.workspace.put(path, scene.slots.sentence())
    scene.other_files(0, 2)

    def script() -> Script:
        yield turn("python", {"code": f"import os\nos.remove({path!r})"})
        return Answer(
            scene.slots.pick([f"I deleted {path}.", f"{path} is deleted."]),
            (path,),
            lambda world: not world.workspace.has(path),
        )

    return single("delete", scene.say.request("files.delete", {"p": path}), script, ("python",))


def copying(scene: Scene) -> Task:
    slots = scene.slots
    path, text = scene.fresh_path(), _content(slots) or "x"
    scene.world.workspace.put(path, text)
    target = scene.fresh_path(path.rsplit(".", 1)[-1], 0.15)
    with_python = slots.chance(0.4)

    def script() -> Script:
        if with_python:
            folder = f"import os\nos.makedirs({target.rsplit('/', 1)[0]!r}, exist_ok=True)\n" if "/" in target else ""
            yield turn("python", {"code": f"{folder}import shutil\nshutil.copy({path!r}, {target!r})"})
        else:
            (content,) = yield turn("read_text_file", {"path": path})
            yield turn("write_file", {"path": target, "content": content})
        said = slots.pick([f"I copied {path} to {target}.", f"Done. {target} is a copy of {path}."])
        return Answer(said, (target,), lambda world: (world.workspace.text(target) or "").strip() == text.strip())

    return single(
        "copy",
        scene.say.request("files.copy", {"p": path, "q": target}),
        script,
        ("python",) if with_python else ("read_text_file", "write_file"),
    )


def globbing(scene: Scene) -> Task:
    slots = scene.slots
    by_name = slots.chance(0.4)
    extension = slots.pick(["csv", "md", "log", "json", "py", "yaml", "html", "ini"])
    part = slots.word().lower()
    count = 0 if slots.chance(0.1) else slots.rng.randint(1, 4)
    for _ in range(count):
        path = scene.fresh_path(extension, 0.4)
        if by_name:
            path = slots.pick(
                [
                    f"{part}.txt",
                    f"{slots.word()}_{part}.md",
                    f"{part}_{slots.integer(1, 99)}.{extension}",
                    f"{slots.directory()}/{part}-{slots.word()}.txt",
                ]
            )
            if scene.world.workspace.has(path.split("/")[0]):
                continue
        scene.world.workspace.put(path, slots.sentence())
    scene.other_files(1, 4)
    pattern = f"*{part}*" if by_name else f"*.{extension}"
    spoken = extension if slots.chance(0.8) else extension.upper()
    request = scene.say.request("files.glob_name" if by_name else "files.glob", {"e": spoken, "x": part})
    with_python = not scene.offers("search_files")

    def script() -> Script:
        if with_python:
            (result,) = yield turn(
                "python",
                {
                    "code": f"import glob\nprint('\\n'.join(sorted(glob.glob({'**/' + pattern!r}, recursive=True))) or 'none')"
                },
            )
        else:
            (result,) = yield turn("search_files", {"path": ".", "pattern": pattern})
        if result in ("No matches found", "none"):
            return Answer(
                slots.pick([f"There are no files matching {pattern}.", f"I found no files matching {pattern}."]),
                ("no",),
            )
        found = result.split("\n")
        return Answer(
            slots.pick([f"I found: {', '.join(found)}.", f"The matching files are: {', '.join(found)}."]), tuple(found)
        )

    return single("glob", request, script, ("python",) if with_python else ("search_files",))


def mentioning(scene: Scene) -> Task:
    """Which file mentions a word. The answer names the file."""
    slots = scene.slots
    word = slots.pick([slots.word, slots.noun, slots.invented, slots.first_name])()
    absent = slots.chance(0.25)
    path = scene.fresh_path(slots.pick(["txt", "md", "log"]), 0.25)
    line = slots.pick(
        [
            f"Remember the {word} tomorrow.",
            f"{slots.first_name()} has a {word}.",
            f"{word}: {slots.integer()}",
            f"The {word} is {slots.adjective()}.",
            f"meeting about {word} on {slots.date()}",
        ]
    )
    scene.world.workspace.put(
        path,
        "\n".join([slots.sentence(), line, slots.sentence()][slots.rng.randint(0, 1) :]) + "\n"
        if not absent
        else slots.sentence(),
    )
    scene.other_files(1, 4)
    with_python = not scene.offers("grep")
    code = (
        "import glob, os\nfor path in sorted(glob.glob('**', recursive=True)):\n"
        f"    if os.path.isfile(path) and {word.lower()!r} in open(path).read().lower():\n        print(path)"
    )

    def script() -> Script:
        if with_python:
            (result,) = yield turn("python", {"code": code})
            found = [] if result == "(no output)" else result.split("\n")
        else:
            (result,) = yield turn("grep", {"pattern": f"(?i){word.lower()}", "path": "."})
            found = [] if result == "No matches found" else sorted({hit.split(":", 1)[0] for hit in result.split("\n")})
        if not found:
            return Answer(slots.pick([f"No file mentions {word}.", f"I found no file that mentions {word}."]), ("no",))
        if len(found) == 1:
            return Answer(
                slots.pick([f"{found[0]} mentions {word}.", f"{word} is mentioned in {found[0]}."]), (found[0],)
            )
        return Answer(f"{word} is mentioned in {', '.join(found)}.", tuple(found))

    return single(
        "grep",
        scene.say.request("files.grep", {"x": slots.pick([word, word, f"'{word}'"])}),
        script,
        ("python",) if with_python else ("grep",),
    )


def lines_with(scene: Scene) -> Task:
    slots = scene.slots
    path, word = scene.fresh_path("txt"), slots.word()
    lines = [slots.sentence() for _ in range(slots.rng.randint(3, 14))]
    lines.insert(
        slots.rng.randint(0, len(lines)),
        slots.pick(
            [
                f"The {word} costs {slots.price()}.",
                f"{slots.person()} called about the {word}.",
                f"{word}: {slots.phrase()}",
            ]
        ),
    )
    scene.world.workspace.put(path, "\n".join(lines) + "\n")

    with_python = not scene.offers("grep")

    def script() -> Script:
        if with_python:
            (result,) = yield turn(
                "python",
                {"code": f"for line in open({path!r}):\n    if {word!r} in line:\n        print(line.strip())"},
            )
            found = result.split("\n")
        else:
            (result,) = yield turn("grep", {"pattern": word, "path": path})
            found = [hit.split(": ", 1)[1] for hit in result.split("\n")]
        return Answer("\n".join(found), tuple(found))

    return single(
        "grep",
        scene.say.request("files.grep_one", {"x": word, "p": path}),
        script,
        ("python",) if with_python else ("grep",),
    )


def existing(scene: Scene) -> Task:
    slots = scene.slots
    there, path = slots.chance(0.5), scene.fresh_path(nested=0.2)
    folder = path.rsplit("/", 1)[0] if "/" in path else "."
    scene.other_files(1, 5, "" if folder == "." else folder)
    if there:
        scene.world.workspace.put(path, slots.sentence())

    def script() -> Script:
        (result,) = yield turn("list_directory", {"path": folder})
        present = path.rsplit("/", 1)[-1] in names_in(result)
        if present:
            return Answer(slots.pick([f"Yes, {path} exists.", f"Yes, there is a file {path}."]), ("yes",))
        return Answer(slots.pick([f"No, {path} does not exist.", f"No, there is no file {path}."]), ("no",))

    return single("exists", scene.say.request("files.exists", {"p": path}), script, ("list_directory",))


def size(scene: Scene) -> Task:
    slots, path = scene.slots, scene.fresh_path()
    scene.world.workspace.put(path, slots.paragraph(slots.rng.randint(1, 12)))
    with_python = not scene.offers("get_file_info")

    def script() -> Script:
        if with_python:
            (result,) = yield turn("python", {"code": f"import os\nos.path.getsize({path!r})"})
        else:
            (info,) = yield turn("get_file_info", {"path": path})
            result = info.split("\n")[0].split(": ")[1]
        return Answer(f"{path} has {result} bytes.", (result,))

    return single(
        "size", scene.say.request("files.size", {"p": path}), script, ("python",) if with_python else ("get_file_info",)
    )


def some_lines(scene: Scene) -> Task:
    slots = scene.slots
    path = scene.fresh_path(slots.pick(["txt", "log", "md", "csv"]))
    count, side = slots.pick([1, 2, 2, 3, 3, 4, 5]), slots.pick(["head", "tail"])
    lines = [slots.pick([slots.sentence, slots.phrase, slots.word])() for _ in range(slots.rng.randint(count, 25))]
    scene.world.workspace.put(path, "\n".join(lines) + "\n")
    name = "files.first_line" if count == 1 and side == "head" else f"files.{side}"
    spoken = slots.pick([str(count), ["one", "two", "three", "four", "five"][count - 1]])
    request = scene.say.request(name, {"n": spoken, "p": path})

    def script() -> Script:
        (result,) = yield turn("read_text_file", {"path": path, side: count})
        return Answer(result, tuple(line.strip() for line in result.split("\n") if line.strip()))

    return single("lines", request, script, ("read_text_file:full",))


def both(scene: Scene) -> Task:
    slots = scene.slots
    first, second = scene.fresh_path("txt"), scene.fresh_path("md")
    a, b = slots.phrase(1, 4), slots.phrase(1, 4)
    scene.world.workspace.put(first, a)
    scene.world.workspace.put(second, b)
    many = scene.offers("read_multiple_files") and slots.chance(0.7)

    def script() -> Script:
        if many:
            yield turn("read_multiple_files", {"paths": [first, second]})
        else:
            yield Turn((Call("read_text_file", {"path": first}), Call("read_text_file", {"path": second})))
        return Answer(f"{first} says: {a}\n{second} says: {b}", (a, b))

    return single(
        "read_two",
        scene.say.request("files.both", {"p": first, "q": second}),
        script,
        ("read_multiple_files",) if many else ("read_text_file",),
    )


def tree(scene: Scene) -> Task:
    slots = scene.slots
    wording = slots.pick(["files.tree", "jobs.show_tree"])
    paths = [f"{slots.directory()}/{slots.file_name()}" for _ in range(slots.rng.randint(1, 3))]
    for path in paths:
        if not scene.world.workspace.has(path):
            scene.world.workspace.put(path, slots.word())
    scene.other_files(0, 2)
    if not scene.offers("directory_tree"):
        code = "import os\nfor folder, _, files in sorted(os.walk('.')):\n    print(folder, sorted(files))"

        def walk() -> Script:
            (result,) = yield turn("python", {"code": code})
            return Answer(f"This is the tree:\n{result}", tuple(path.split("/")[0] for path in paths))

        return single("tree", scene.say.request(wording, {}), walk, ("python",))

    def script() -> Script:
        (result,) = yield turn("directory_tree", {"path": "."})
        names = [node["name"] for node in json.loads(result)]
        inner = [
            f"{node['name']}: {', '.join(child['name'] for child in node['children'])}"
            for node in json.loads(result)
            if node["type"] == "directory"
        ]
        return Answer(
            "The folders are:\n" + "\n".join(inner) + f"\nAll entries here: {', '.join(names)}.", tuple(names)
        )

    return single("tree", scene.say.request(wording, {}), script, ("directory_tree",))


def list_and_read(scene: Scene) -> Task:
    slots = scene.slots
    extension = slots.pick(["md", "log", "json", "ini", "yaml", "csv"])
    if any(name.endswith(f".{extension}") for name in scene.world.workspace.names()):
        return listing(scene)
    path = scene.fresh_path(extension, 0.0)
    text = slots.phrase(2, 5)
    scene.world.workspace.put(path, text)
    for _ in range(slots.rng.randint(0, 3)):
        scene.world.workspace.put(scene.fresh_path("txt", 0.0), slots.sentence())

    def script() -> Script:
        (result,) = yield turn("list_directory", {"path": "."})
        if [name for name in names_in(result) if name.endswith(f".{extension}")] != [path]:
            return Answer(f"I am not sure which file you mean: {', '.join(names_in(result))}.")
        (content,) = yield turn("read_text_file", {"path": path})
        return Answer(f"{path} says: {content}", (content,))

    return single(
        "list_read",
        scene.say.request("files.list_and_read", {"e": extension}),
        script,
        ("list_directory", "read_text_file"),
    )


def _misspelled(slots: Slots, path: str) -> str:
    stem, extension = path.rsplit(".", 1)
    roll = slots.rng.random()
    if roll < 0.3 and len(stem.split("/")[-1]) > 4:
        at = len(stem) - slots.rng.randint(2, 3)
        return f"{stem[:at]}{stem[at + 1 :]}.{extension}"
    if roll < 0.5:
        return f"{stem}s.{extension}"
    if roll < 0.75:
        return f"{stem}.{slots.pick([e for e in ('txt', 'md', 'csv', 'log', 'text') if e != extension])}"
    return (
        slots.pick(
            [stem + slots.pick("abcde"), stem.capitalize() if not stem[0].isupper() else stem.lower(), stem + "_old"]
        )
        + f".{extension}"
    )


def missing_file(scene: Scene) -> Task:
    """A file that is not there: look at the list, then take the one that was meant or say that there is none."""
    slots = scene.slots
    path = scene.fresh_path(nested=0.2)
    wrong = _misspelled(slots, path)
    facts = draw_facts(slots, slots.rng.randint(1, 4))
    wanted = slots.pick(facts)
    folder = path.rsplit("/", 1)[0] if "/" in path else "."
    similar = slots.chance(0.65)
    if similar:
        _store_facts(scene, path, facts)
    scene.other_files(1, 4, "" if folder == "." else folder)
    if scene.world.workspace.has(wrong) or wrong == path:
        return missing_file(scene)
    asks = slots.chance(0.6)
    request = scene.say.request("files.field" if asks else "files.read", {"p": wrong, "k": wanted.ask(scene)})

    def script() -> Script:
        yield turn("read_text_file", {"path": wrong})
        say = slots.pick(["", "", f"{wrong} does not exist. Let me list the files."])
        (result,) = yield turn("list_directory", {"path": folder}, say)
        names = names_in(result)
        if not similar:
            return Answer(
                slots.pick(
                    [
                        f"There is no file {wrong}. The files are: {', '.join(names)}.",
                        f"{wrong} does not exist. I see {', '.join(names)}.",
                    ]
                ),
                ("no|not",),
            )
        (content,) = yield turn("read_text_file", {"path": path})
        if asks:
            return Answer(
                slots.pick(
                    [
                        f"{wrong} does not exist, but {path} says the {wanted.name} is {wanted.value}.",
                        f"I found it in {path}: the {wanted.name} is {wanted.value}.",
                    ]
                ),
                (wanted.value,),
            )
        return Answer(f"{wrong} does not exist, but {path} says:\n{content}", (facts[0].value,))

    return single("missing_file", request, script, ("read_text_file", "list_directory"))


def directory_not_file(scene: Scene) -> Task:
    slots = scene.slots
    folder = slots.word().lower()
    if scene.world.workspace.has(folder):
        return reading(scene)
    scene.other_files(1, 3, folder)

    def script() -> Script:
        yield turn("read_text_file", {"path": folder})
        (result,) = yield turn("list_directory", {"path": folder})
        return Answer(f"{folder} is a directory. It contains: {', '.join(names_in(result))}.", tuple(names_in(result)))

    request = scene.say.request("files.read", {"p": folder})
    return single("missing_file", request, script, ("read_text_file", "list_directory"))


def move_refused(scene: Scene) -> Task:
    """A move that fails, told as it is."""
    slots = scene.slots
    path, target = scene.fresh_path(nested=0.0), scene.fresh_path(nested=0.0)
    taken = slots.chance(0.5)
    if path == target or not scene.offers("move_file"):
        return moving(scene)
    if taken:
        scene.world.workspace.put(path, slots.word())
        scene.world.workspace.put(target, slots.word())

    def script() -> Script:
        (result,) = yield turn("move_file", {"source": path, "destination": target})
        if taken:
            return Answer(f"I could not rename it: {target} already exists.", ("already exists",))
        if not failed(result):
            return Answer(f"I renamed {path} to {target}.", (target,))
        return Answer(f"I could not rename it: there is no file {path}.", ("no file|not exist",))

    return single("move", scene.say.request("files.rename", {"p": path, "q": target}), script, ("move_file",))
