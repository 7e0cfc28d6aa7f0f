"""Errors and warnings of log files: how many there are, which, and the last one."""

from __future__ import annotations

from ..episode import Answer, Script, Task, single, turn
from ..scene import Scene
from .edit_tasks import small_path
from .python_tasks import shown_code

_LEVELS = [("ERROR", "error", "errors"), ("WARN", "warn", "warnings"), ("WARNING", "warn", "warnings"), ("INFO", "info", "info lines"), ("DEBUG", "debug", "debug lines"), ("FAIL", "fail", "fails"), ("CRITICAL", "critical", "critical lines"), ("error", "error", "errors"), ("Error", "error", "errors"), ("[ERROR]", "error", "errors"), ("ERROR:", "error", "errors"), ("FATAL", "fatal", "fatal errors")]  # fmt: skip
_EVENTS = ["start", "disk full", "retry", "slow", "timeout", "ok", "no route", "stop", "login", "logout", "user added", "cache cleared", "job done", "connection lost", "restarting", "file not found", "saved", "out of memory", "denied"]  # fmt: skip


def log_question(scene: Scene) -> Task:
    """Errors and warnings of a log: how many, which, the last one."""
    slots = scene.slots
    path = small_path(scene, ["app", "server", "system", "access", "backup", "build", "error", "web", "job"], ("log", "log", "log", "txt"))  # fmt: skip
    level, word, plural = slots.pick(_LEVELS)
    style = "[" if level.startswith("[") else ":" if level.endswith(":") else "l" if level.islower() else ""
    others = [other for other in ("INFO", "WARN", "DEBUG", "ERROR", "NOTICE") if word not in other.lower()]
    others = [f"[{o}]" if style == "[" else f"{o}:" if style == ":" else o.lower() if style == "l" else o for o in others]  # fmt: skip
    stamped = slots.pick([0, 0, 1, 2])
    lines = []
    for _ in range(slots.rng.randint(4, 14)):
        stamp = "" if not stamped else slots.clock() + " " if stamped == 1 else f"{slots.date()} {slots.clock()} "
        what = slots.pick(_EVENTS) if slots.chance(0.7) else slots.phrase(1, 3).lower()
        lines.append(f"{stamp}{level if slots.chance(0.35) else slots.pick(others)} {what}")
    matching = [line for line in lines if word in line.lower()]
    kind = slots.rng.choices(["log_count", "log_lines_count", "log_lines", "log_last", "log_first"], [5, 2, 2, 1.5, 1])[
        0
    ]
    if not matching and kind in ("log_last", "log_first"):
        kind = "log_count"
    scene.world.workspace.put(path, "\n".join(lines) + "\n")
    scene.other_files(0, 2)
    grep = kind == "log_lines" and scene.offers("grep")
    shown = {"warn": "warning", "info": "info line", "debug": "debug line"}.get(word, word)
    x = (
        slots.pick([level.strip("[]:").lower(), level.strip("[]:"), level.strip("[]:").upper()])
        if kind in ("log_lines", "log_lines_count")
        else shown
    )
    if kind in ("log_lines", "log_lines_count"):
        if slots.chance(0.4):
            x = slots.pick(lines).split(" ")[-1]
        word = x.lower()
    lines_of = f"[line.strip() for line in open({path!r}) if {word!r} in line.lower()]"

    def script() -> Script:
        if grep:
            (result,) = yield turn("grep", {"pattern": f"(?i){word}", "path": path})
            found = [] if result == "No matches found" else [hit.split(": ", 1)[1] for hit in result.split("\n")]
            return Answer("\n".join(found), tuple(found)) if found else Answer(f"No line of {path} has {word}.", ("no ",))  # fmt: skip
        if kind in ("log_count", "log_lines_count"):
            (result,) = yield turn("python", {"code": shown_code(slots, f"len({lines_of})")})
            return Answer(f"{path} has {result} {plural}." if kind == "log_count" else f"{result} lines of {path} have {word}.", (result,))  # fmt: skip
        if kind == "log_lines":
            (result,) = yield turn("python", {"code": f"for line in open({path!r}):\n    if {word!r} in line.lower():\n        print(line.strip())"})  # fmt: skip
            if result == "(no output)":
                return Answer(f"No line of {path} has {word}.", ("no ",))
            return Answer(result, tuple(result.split("\n")))
        (result,) = yield turn("python", {"code": f"print({lines_of}[{-1 if kind == 'log_last' else 0}])"})
        return Answer(f"The {'last' if kind == 'log_last' else 'first'} {shown} is: {result}", (result,))

    return single("log", scene.say.request(f"edits.{kind}", {"p": path, "w": plural, "x": x}), script, ("grep",) if grep else ("python",))  # fmt: skip
