"""Something is to be done with a file that is not there: the attempt fails, and the answer says so."""

from __future__ import annotations

from ..episode import Answer, Script, Task, single, turn
from ..scene import Scene
from ..world import World
from .edit_tasks import small_path
from .file_tasks import names_in
from .python_tasks import shown_code

_STEMS = ["budget", "old", "letter", "plan", "draft", "recipe", "diary", "photos", "list", "taxes", "report", "summary", "invoice", "cv"]  # fmt: skip


def missing_change(scene: Scene) -> Task:
    """Read, rename, copy, delete or count a file that does not exist."""
    slots = scene.slots
    kind = slots.rng.choices(["content", "rename", "copy", "delete", "count"], [4, 3, 2, 2, 2])[0]
    path = small_path(scene, _STEMS, ("txt", "txt", "md", "log", "csv"), folder=False)
    target = small_path(scene, ["new", "final", "copy", "backup", *_STEMS], ("txt", "md"), folder=False)
    scene.other_files(1, 4)
    if path == target or scene.world.workspace.has(path) or scene.world.workspace.has(target):
        return missing_change(scene)
    mover = kind == "rename" and scene.offers("move_file")
    unit = slots.pick(["lines", "words"])
    code = {
        "rename": f"import os\nos.rename({path!r}, {target!r})",
        "copy": f"import shutil\nshutil.copy({path!r}, {target!r})",
        "delete": f"import os\nos.remove({path!r})",
        "count": shown_code(slots, f"len(open({path!r}).read().{'splitlines' if unit == 'lines' else 'split'}())"),
    }.get(kind, "")

    def unchanged(world: World) -> bool:
        return not world.workspace.has(path) and not world.workspace.has(target)

    def script() -> Script:
        if kind == "content":
            yield turn("read_text_file", {"path": path})
            (result,) = yield turn("list_directory", {"path": "."})
            return Answer(f"There is no file {path}. The files are: {', '.join(names_in(result))}.", ("no",), unchanged)
        if mover:
            yield turn("move_file", {"source": path, "destination": target})
        else:
            yield turn("python", {"code": code})
        text = slots.pick([f"There is no file {path}.", f"I could not do that: there is no file {path}."])
        return Answer(text, ("no file",), unchanged)

    tools = ("read_text_file", "list_directory") if kind == "content" else ("move_file" if mover else "python",)
    request = scene.say.request(f"missing.{kind}", {"p": path, "q": target, "u": unit})
    return single("missing_file", request, script, tools)
