"""Conversations: which tasks, which tools around them, which system prompt, and the messages of a right solution."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .chat import Message
from .episode import Answer, Task, play
from .interpreter import Interpreter
from .phrasing import Split
from .scene import Scene
from .slots import Slots
from .tasks import (
    chat_tasks,
    composed_tasks,
    data_tasks,
    edit_tasks,
    everyday_tasks,
    file_tasks,
    foreign_tasks,
    job_tasks,
    log_tasks,
    lookup_tasks,
    missing_tasks,
    python_tasks,
    table_tasks,
    web_tasks,
)
from .toolbox import COMPACT, HOSTED, View, hosted_view, renamed_view
from .workspace import Workspace
from .world import FILE_TOOLS, World

Maker = Callable[[Scene], Task]

FILE_NAMES = sorted(FILE_TOOLS)

MIXTURE: dict[str, tuple[Maker, float]] = {
    # Python alone
    "compute": (python_tasks.compute, 14.0),
    "casual_compute": (python_tasks.casual_compute, 17.0),
    "compose": (python_tasks.compose, 3.0),
    "follow_up": (python_tasks.follow_up, 2.0),
    "variables": (python_tasks.variables, 1.5),
    "given_code": (python_tasks.given_code, 2.0),
    "repair": (python_tasks.repair, 1.8),
    "several": (python_tasks.several, 1.2),
    # files
    "listing": (file_tasks.listing, 2.5),
    "counting": (file_tasks.counting, 0.8),
    "reading": (file_tasks.reading, 2.5),
    "field": (file_tasks.field, 5.0),
    "somewhere": (file_tasks.somewhere, 3.0),
    "note": (file_tasks.note, 2.0),
    "writing": (file_tasks.writing, 3.5),
    "appending": (file_tasks.appending, 1.8),
    "replacing": (file_tasks.replacing, 2.0),
    "moving": (file_tasks.moving, 2.0),
    "making_directory": (file_tasks.making_directory, 0.8),
    "deleting": (file_tasks.deleting, 1.0),
    "copying": (file_tasks.copying, 1.3),
    "globbing": (file_tasks.globbing, 1.5),
    "mentioning": (file_tasks.mentioning, 1.8),
    "lines_with": (file_tasks.lines_with, 0.8),
    "existing": (file_tasks.existing, 1.2),
    "size": (file_tasks.size, 0.7),
    "some_lines": (file_tasks.some_lines, 2.0),
    "both": (file_tasks.both, 0.8),
    "tree": (file_tasks.tree, 1.0),
    "list_and_read": (file_tasks.list_and_read, 1.2),
    "missing_file": (file_tasks.missing_file, 2.5),
    "directory_not_file": (file_tasks.directory_not_file, 0.4),
    "move_refused": (file_tasks.move_refused, 0.6),
    # files and Python
    "table_question": (data_tasks.table_question, 7.0),
    "numbers_file": (data_tasks.numbers_file, 3.0),
    "text_statistics": (data_tasks.text_statistics, 2.5),
    "json_file": (data_tasks.json_file, 2.0),
    "compute_and_save": (data_tasks.compute_and_save, 2.0),
    "column_and_save": (data_tasks.column_and_save, 1.2),
    "count_list": (data_tasks.count_list, 0.6),
    "casual_table": (table_tasks.casual_table, 7.0),
    "product_total": (table_tasks.product_total, 2.0),
    # small files, asked about in passing
    "casual_lookup": (lookup_tasks.casual_lookup, 6.0),
    "casual_replace": (edit_tasks.casual_replace, 4.0),
    "casual_remove": (edit_tasks.casual_remove, 1.5),
    "casual_add": (edit_tasks.casual_add, 2.0),
    "casual_make": (edit_tasks.casual_make, 2.5),
    "sequence_file": (edit_tasks.sequence_file, 1.8),
    "count_to_file": (edit_tasks.count_to_file, 2.0),
    "casual_lines": (edit_tasks.casual_lines, 2.0),
    "which_line": (edit_tasks.which_line, 1.5),
    "file_about": (edit_tasks.file_about, 2.5),
    "log_question": (log_tasks.log_question, 3.0),
    "missing_change": (missing_tasks.missing_change, 2.0),
    # small jobs with files and folders
    "where_file": (job_tasks.where_file, 2.2),
    "rename_folder": (job_tasks.rename_folder, 1.5),
    "make_folders": (job_tasks.make_folders, 1.5),
    "set_setting": (job_tasks.set_setting, 2.5),
    "count_kind": (job_tasks.count_kind, 1.3),
    "move_kind": (job_tasks.move_kind, 1.0),
    "delete_kind": (job_tasks.delete_kind, 0.7),
    "move_out": (job_tasks.move_out, 1.5),
    "copy_into": (job_tasks.copy_into, 1.8),
    "make_script": (job_tasks.make_script, 2.0),
    "write_exactly": (job_tasks.write_exactly, 3.0),
    "distinct": (job_tasks.distinct, 1.3),
    "map_numbers": (job_tasks.map_numbers, 1.8),
    "json_two": (job_tasks.json_two, 2.0),
    "sum_for": (job_tasks.sum_for, 2.5),
    "in_lines": (job_tasks.in_lines, 3.5),
    "small_data": (job_tasks.small_data, 1.8),
    "biggest_file": (job_tasks.biggest_file, 0.6),
    "whole_folder": (job_tasks.whole_folder, 1.3),
    "some_files": (job_tasks.some_files, 1.5),
    "rename_kind": (job_tasks.rename_kind, 0.6),
    "whole_text": (job_tasks.whole_text, 2.2),
    # as people talk
    "unnamed_note": (everyday_tasks.unnamed_note, 2.0),
    "unnamed_append": (everyday_tasks.unnamed_append, 1.5),
    "unnamed_table": (everyday_tasks.unnamed_table, 2.0),
    "about_it": (everyday_tasks.about_it, 1.5),
    "write_in_folder": (everyday_tasks.write_in_folder, 0.8),
    "mkdir_and_move": (everyday_tasks.mkdir_and_move, 0.8),
    "transform": (everyday_tasks.transform, 1.8),
    "figures": (everyday_tasks.figures, 1.0),
    # browser
    "page_field": (web_tasks.page_field, 3.0),
    "search_field": (web_tasks.search_field, 3.5),
    "follow": (web_tasks.follow, 1.2),
    "find_text": (web_tasks.find_text, 0.8),
    "save_field": (web_tasks.save_field, 0.8),
    "price_times": (web_tasks.price_times, 0.8),
    "page_gone": (web_tasks.page_gone, 0.8),
    # tools never seen
    "natural": (foreign_tasks.natural, 46.0),
    "two_naturals": (foreign_tasks.two_naturals, 4.0),
    "missing_argument": (foreign_tasks.missing_argument, 1.2),
    "combined": (composed_tasks.combined, 24.0),
    "invented": (foreign_tasks.invented, 8.0),
    "parallel_invented": (foreign_tasks.parallel_invented, 1.8),
    "chained_invented": (foreign_tasks.chained_invented, 2.5),
    "tool_error": (foreign_tasks.tool_error, 0.8),
    # no tool
    "small_talk": (chat_tasks.small_talk, 3.0),
    "capabilities": (chat_tasks.capabilities, 1.2),
    "no_tool_fits": (chat_tasks.no_tool_fits, 2.0),
    "in_prompt": (chat_tasks.in_prompt, 4.0),
    "recall": (chat_tasks.recall, 0.8),
}

_SYSTEMS = [
    "You are a helpful assistant.",
    "You are a helpful assistant with access to tools.",
    "You are an agent. Call tools to answer, then reply briefly.",
    "You are a small assistant running on this machine. Use the tools when needed.",
    "Answer the user's question. Use a tool when one fits.",
    "You solve tasks with tools.",
    "You can run code and work with the files of the workspace.",
    "You are an assistant. Paths are relative to the workspace.",
]
_REMARKS = [
    "Keep answers short.",
    "Use tools for all calculations.",
    "Paths are relative to the workspace.",
    "If a tool fails, try to fix the problem.",
    "Do not guess values.",
    "Always be polite.",
    "Reply in English.",
    "Think step by step.",
    "Never make up results.",
]


@dataclass
class Conversation:
    """A finished conversation: what the model is trained on."""

    messages: list[Message]
    tool_lines: list[str]
    answers: list[Answer]


@dataclass
class Shape:
    """How long conversations are. ``long`` ones have many tools, several tasks and long files."""

    tasks: Sequence[int] = (1, 1, 2, 2, 3, 4)
    foreign: Sequence[int] = (0, 0, 0, 1, 1, 2, 3, 4, 6)
    everything: float = 0.06
    long: bool = False


SHORT = Shape()
LONG = Shape(tasks=(3, 4, 5, 6, 8, 10, 12), foreign=(2, 6, 10, 15, 20, 25, 30), everything=0.6, long=True)
EVALUATION = Shape(tasks=(1,))


@dataclass
class Generator:
    """Makes conversations from one random stream, in one directory.

    ``pieces`` are tokenizer entries for unheard-of words. Views of foreign tools that only distract come from a pool
    that is renewed slowly, so that their token ids can be kept.
    """

    rng: random.Random
    workspace: Workspace
    pieces: Sequence[str] = ()
    split: Split = "train"
    _pool: list[View] = field(default_factory=list)

    def conversation(self, shape: Shape = SHORT) -> Conversation:
        """Draw tasks, set up their world, play their scripts. The current directory must be the workspace's root."""
        scene = self.scene(shape)
        tasks = self._tasks(scene, self.rng.choice(shape.tasks))
        self.offer_tools(scene, tasks, shape)
        messages: list[Message] = []
        text = system_prompt(scene.slots)
        if text:
            messages.append({"role": "system", "content": text})
        answers = [play(scene.world, round_, messages) for task in tasks for round_ in task.rounds]
        return Conversation(messages, scene.world.toolbox.lines(), answers)

    def scene(self, shape: Shape = SHORT) -> Scene:
        """An empty world in the (cleared) workspace."""
        self.workspace.clear()
        scene = Scene.new(self.rng, World(self.workspace, python=Interpreter()), self.split, self.pieces)
        scene.long = shape.long
        scene.hosted = frozenset(self._around(scene.slots, shape))
        return scene

    def _tasks(self, scene: Scene, count: int) -> list[Task]:
        makers, weights = zip(*MIXTURE.values(), strict=True)
        scene.alone = count == 1
        tasks = [maker(scene) for maker in self.rng.choices(makers, weights, k=count)]
        offered = scene.world.toolbox.views
        fitting = [task for task in tasks if not any(tool in offered for tool in task.barred)]
        return fitting or self._tasks(scene, 1)

    def offer_tools(self, scene: Scene, tasks: list[Task], shape: Shape, *, exact: bool | None = None) -> None:
        """Fill the toolbox: what the tasks need, and what else is around. ``exact`` offers hosted tools unrenamed."""
        slots, toolbox = scene.slots, scene.world.toolbox
        exact = slots.chance(0.62) if exact is None else exact
        needed = list(dict.fromkeys(tool for task in tasks for tool in task.tools))
        for tool in needed:
            name, _, full = tool.partition(":")
            _offer_hosted(toolbox.add, name, slots, exact, full=bool(full))
        for name in sorted(scene.hosted):
            _offer_hosted(toolbox.add, name, slots, exact, full=False)
        barred = {tool for task in tasks for tool in task.barred}
        hosted = len(toolbox.views)
        for _ in range(slots.pick(shape.foreign)):
            view = self._distractor(slots)
            if view.tool not in barred:
                toolbox.add(view)
        if slots.chance(0.5):
            toolbox.shuffle(slots)
        elif exact and hosted:
            order = {name: index for index, name in enumerate(HOSTED)}
            toolbox.views = dict(sorted(toolbox.views.items(), key=lambda item: order.get(item[0], 99)))

    def _around(self, slots: Slots, shape: Shape) -> Sequence[str]:
        """Hosted tools that are offered whether needed or not."""
        if slots.chance(shape.everything):
            return tuple(HOSTED)
        roll = slots.rng.random()
        if roll < 0.25:
            return ()
        if roll < 0.6:
            return COMPACT
        if roll < 0.85:
            return (*COMPACT, *slots.rng.sample(FILE_NAMES, slots.rng.randint(1, 6)))
        return slots.rng.sample(list(HOSTED), slots.rng.randint(1, 8))

    def _distractor(self, slots: Slots) -> View:
        if len(self._pool) < 1500 or slots.chance(0.02):
            if len(self._pool) >= 1500:
                self._pool.pop(self.rng.randrange(len(self._pool)))
            self._pool.append(foreign_tasks.distractor(slots))
            return self._pool[-1]
        return self._pool[int(self.rng.random() * len(self._pool))]


def _offer_hosted(add: Callable[[View], bool], name: str, slots: Slots, exact: bool, *, full: bool) -> None:
    if exact:
        add(hosted_view(name))
        return
    for _ in range(4):
        if add(renamed_view(name, slots, full=full)):
            return
    add(hosted_view(name))


def system_prompt(slots: Slots) -> str:
    """A system prompt as applications write them; sometimes none."""
    if slots.chance(0.15):
        return ""
    text = slots.pick(_SYSTEMS)
    if slots.chance(0.1):
        text = f"You are {slots.invented().capitalize()}, an assistant for {slots.person()}."
    if slots.chance(0.15):
        text += f" {slots.pick(_REMARKS)}"
    if slots.chance(0.1):
        text += f"\nToday is {slots.date()}."
    if slots.chance(0.05):
        text += "\n" + slots.paragraph(slots.rng.randint(1, 5))
    return text
