"""What a task generator works with: random values, wordings, and the world being set up."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from .phrasing import Phrasing, Split
from .slots import Slots
from .world import World


@dataclass
class Scene:
    """One conversation in the making."""

    slots: Slots
    say: Phrasing
    world: World
    long: bool = False  # files are long, so that far context is read
    alone: bool = False  # there is one task, so that it may touch every file
    hosted: frozenset[str] = frozenset()  # hosted tools that are around whether needed or not

    @classmethod
    def new(cls, rng: random.Random, world: World, split: Split = "train", pieces: Sequence[str] = ()) -> Scene:
        slots = Slots(rng, pieces)
        return cls(slots, Phrasing(slots, split), world)

    @property
    def unseen(self) -> bool:
        return self.say.split == "unseen"

    def offers(self, tool: str) -> bool:
        """Whether a hosted tool is around. Scripts use the special tool where it is, and Python where it is not."""
        return tool in self.hosted

    def fresh_path(self, extension: str | None = None, nested: float = 0.3) -> str:
        """A path where nothing is yet."""
        while True:
            path = self.slots.path(extension, nested)
            folder = path.split("/")[0]
            if not self.world.workspace.has(path) and not (self.world.workspace.root / folder).is_file():
                return path

    def other_files(self, low: int, high: int, directory: str = "") -> None:
        """Files that the task is not about."""
        for _ in range(self.slots.rng.randint(low, high)):
            path = (f"{directory}/" if directory else "") + self.fresh_path(nested=0.0 if directory else 0.1)
            if not self.world.workspace.has(path):
                self.world.workspace.put(path, self.slots.paragraph(self.slots.rng.randint(1, 3)) + "\n")
