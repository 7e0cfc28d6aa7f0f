"""The parts of composed tools fit together, and none of them has a meaning kept for the held-out evaluation."""

from __future__ import annotations

import importlib.util
import random
import re
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from train_pocket import composed, parts
from train_pocket.episode import play
from train_pocket.scene import Scene
from train_pocket.slots import SLOTS, Slots
from train_pocket.tasks.composed_tasks import combined
from train_pocket.workspace import Workspace
from train_pocket.world import World

EXAMPLES = Path(__file__).parents[2] / "examples"
SEED = random.randrange(10**6)


def _reserved() -> re.Pattern[str]:
    spec = importlib.util.spec_from_file_location("families_check", EXAMPLES / "train_pocket/families/check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["families_check"] = module
    spec.loader.exec_module(module)
    return module.RESERVED


def test_no_part_has_a_reserved_meaning() -> None:
    reserved = _reserved()
    for path in parts.FOLDER.glob("*.toml"):
        for line in path.read_text().splitlines():
            assert not reserved.search(line.replace("_", " ")), f"{path.name}: {line}"


def test_things_and_kinds_that_parts_name_exist() -> None:
    things = parts.things()
    kinds = {thing.kind for thing in things.values()}
    for name in ("actions", "attributes", "parameters"):
        for part, table in tomllib.loads((parts.FOLDER / f"{name}.toml").read_text()).items():
            if part != "groups":
                assert set(table.get("things", ())) <= set(things), part
                assert set(table.get("kinds", ())) <= kinds, part


def test_every_parameter_of_an_action_exists_and_says_its_value() -> None:
    details = parts.details()
    for action, fitting in parts.action_pairs():
        assert set(action.must + action.may) <= set(details), action.id
        assert fitting, action.id
    for detail in details.values():
        assert all("{v}" in form for form in (*detail.tail, *detail.own)), detail.id
        assert detail.slot or detail.enum or detail.said, detail.id
        assert not isinstance(detail.slot, str) or not detail.slot or detail.slot in {*SLOTS, "noun"}, detail.id


@pytest.mark.parametrize("split", ["train", "unseen"])
def test_composed_calls_fit_their_schemas_and_answers_hold_what_is_asked_for(tmp_path: Path, split: str) -> None:
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    for _ in range(400):
        scene = Scene.new(rng, World(Workspace(tmp_path)), "unseen" if split == "unseen" else "train")
        [round_] = combined(scene).rounds
        messages: list = []
        answer = play(scene.world, round_, messages)
        for element in answer.expect:
            assert any(option.strip().lower() in answer.text.lower() for option in element.split("|")), answer
        assert not re.search(r"\{\w+\}", round_.request), round_.request
        for call in messages[1]["tool_calls"]:
            view = scene.world.toolbox.by_shown_name(call["function"]["name"])
            assert view is not None
            jsonschema.validate(call["function"]["arguments"], view.schema)


def test_a_composed_tool_says_its_meaning_in_its_name_or_its_description() -> None:
    slots = Slots(random.Random(1))
    for _ in range(500):
        function = composed.any_tool(slots).view.function
        assert len(function.get("description", "")) > 12 or "_" in function["name"] or not function["name"].islower()
