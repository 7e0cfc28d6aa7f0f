"""The evaluation's items: which tasks, in which wordings, among which tools.

Each item is set up twice from one seed: once for the script, which says what is expected, and once for the model.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import families
from .agent import Run
from .chat import Message
from .episode import Answer, Task, play
from .eval_data import score
from .interpreter import Subprocess
from .judge import verdict
from .mixture import EVALUATION, MIXTURE, Generator, Shape, system_prompt
from .phrasing import Split
from .scene import Scene
from .tasks import foreign_tasks
from .toolbox import COMPACT, HOSTED, Toolbox, hosted_view
from .workspace import Workspace
from .world import World, inside

EVAL_DATA = Path(__file__).parent / "eval_data"
NATURAL = EVAL_DATA / "natural.toml"
CASUAL = {
    "casual": (EVAL_DATA / "casual_3.jsonl", COMPACT),
    "casual_all": (EVAL_DATA / "casual_3.jsonl", tuple(HOSTED)),
    "casual_spent": (EVAL_DATA / "casual.jsonl", COMPACT),
    "casual_spent_2": (EVAL_DATA / "casual_2.jsonl", COMPACT),
}
_FOREIGN = {
    "natural",
    "two_naturals",
    "missing_argument",
    "combined",
    "invented",
    "parallel_invented",
    "chained_invented",
    "tool_error",
    "no_tool_fits",
}
CROWDED = Shape(tasks=(1,), foreign=(20,), everything=1.0)
SYSTEM = "You are a helpful assistant."


@dataclass
class Item:
    """One conversation to be judged. ``solution`` holds the messages of a right one, where they are known."""

    suite: str
    category: str
    run: Run
    judge: Callable[[Run], str]
    solution: list[Message] = field(default_factory=list)


Maker = Callable[[Scene], Task]


def items(directory: Path, count: int, suites: list[str]) -> Iterator[Item]:
    """``count`` items for every category of a suite (natural: for every family)."""
    for suite in suites:
        if suite in CASUAL:
            yield from casual(directory / suite, suite)
            continue
        for category, maker, split, shape in _suite(suite):
            for index in range(count):
                seed = zlib.crc32(f"{suite}/{category}/{index}".encode())
                yield _item(directory / f"{suite}-{category}-{index}", suite, category, maker, split, shape, seed)


def _suite(suite: str) -> Iterator[tuple[str, Maker, Split, Shape]]:
    every = {name: maker for name, (maker, _) in MIXTURE.items()}
    if suite == "seen":
        for name, maker in every.items():
            yield name, maker, "train", EVALUATION
    elif suite == "phrasings":
        for name, maker in every.items():
            if name not in ("follow_up", "variables", "recall"):
                yield name, maker, "unseen", EVALUATION
    elif suite == "invented":
        chosen = ("invented", "invented", "parallel_invented", "chained_invented")
        for index, name in enumerate(chosen):
            yield f"{name}{index or ''}", every[name], "train", EVALUATION
    elif suite == "natural":
        shape = Shape(tasks=(1,), foreign=(3,))
        for index, family in enumerate(families.load(NATURAL)):
            yield family.id, _held_out_family(index), "train", shape
    elif suite == "crowded":
        for name, maker in every.items():
            if name not in _FOREIGN - {"natural", "invented"}:
                yield name, maker, "train", CROWDED
    else:
        raise ValueError(f"there is no suite {suite}")


def _held_out_family(index: int) -> Maker:
    def maker(scene: Scene) -> Task:
        return foreign_tasks.one_family(scene, families.load(NATURAL)[index])

    return maker


def _item(directory: Path, suite: str, category: str, maker: Maker, split: Split, shape: Shape, seed: int) -> Item:
    exact = suite == "crowded" or None

    def prepared(place: Path) -> tuple[Scene, Task, list[Message]]:
        generator = Generator(random.Random(seed), Workspace(place), split=split)
        scene = generator.scene(shape)
        task = maker(scene)
        generator.offer_tools(scene, [task], shape, exact=exact)
        text = system_prompt(scene.slots)
        return scene, task, [{"role": "system", "content": text}] if text else []

    scene, task, solution = prepared(directory / "expected")
    with inside(directory / "expected"):
        wanted = [play(scene.world, round_, solution) for round_ in task.rounds]
    scene, task, messages = prepared(directory / "actual")
    scene.world.python = Subprocess(directory / "actual")
    run = Run(scene.world, messages, [round_.request for round_ in task.rounds])
    return Item(suite, category, run, _judge(wanted), solution)


def _judge(wanted: list[Answer]) -> Callable[[Run], str]:
    return lambda run: verdict(run, wanted)


def casual(directory: Path, suite: str) -> Iterator[Item]:
    """The prompts that were written without knowledge of the generator."""
    source, tools = CASUAL[suite]
    for case in score.load(source):
        root = directory / case.id
        workspace = Workspace(root)
        for path, text in case.files.items():
            if path.endswith("/"):
                (root / path).mkdir(parents=True, exist_ok=True)
            else:
                workspace.put(path, text)
        toolbox = Toolbox()
        for tool in tools:
            toolbox.add(hosted_view(tool))
        world = World(workspace, toolbox, python=Subprocess(root))
        run = Run(world, [{"role": "system", "content": SYSTEM}], [case.prompt])
        yield Item(suite, suite, run, _casual_judge(case, root))


def _casual_judge(case: score.Case, root: Path) -> Callable[[Run], str]:
    def judge(run: Run) -> str:
        if run.failure:
            return run.failure
        state = {}
        for path in root.rglob("*"):
            name = path.relative_to(root).as_posix()
            if path.is_file():
                state[name] = path.read_text(errors="replace")
            elif not any(path.iterdir()):
                state[f"{name}/"] = ""
        return score.passed(case, run.answers[-1], run.used[-1], state) or ""

    return judge
