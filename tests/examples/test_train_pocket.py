"""The generator of the embedded model's training data makes valid conversations; the evaluation knows a right one."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jsonschema
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

from train_pocket import suites
from train_pocket.agent import drive
from train_pocket.chat import SPECIAL, TEMPLATE, assistant_text, render
from train_pocket.interpreter import Interpreter, Subprocess
from train_pocket.mixture import LONG, MIXTURE, SHORT, Conversation, Generator
from train_pocket.packing import Encoder
from train_pocket.phrasing import bank
from train_pocket.tasks.python_tasks import operations
from train_pocket.tokenizer import PATH
from train_pocket.toolbox import Toolbox
from train_pocket.workspace import Workspace
from train_pocket.world import inside

SEED = random.randrange(10**6)


@pytest.fixture
def conversations(tmp_path: Path) -> Iterator[list[Conversation]]:
    print(f"seed {SEED}")
    with inside(tmp_path):
        generator = Generator(random.Random(SEED), Workspace(tmp_path))
        yield [generator.conversation(SHORT) for _ in range(60)]


def test_every_call_names_an_offered_tool_and_fits_its_schema(conversations: list[Conversation]) -> None:
    calls = 0
    for conversation in conversations:
        functions = {f["name"]: f for f in (json.loads(line)["function"] for line in conversation.tool_lines)}
        for message in conversation.messages:
            for call in message.get("tool_calls", []):
                function = functions[call["function"]["name"]]
                jsonschema.validate(call["function"]["arguments"], function["parameters"])
                calls += 1
    assert calls > 60


def test_answers_contain_what_they_are_judged_by(conversations: list[Conversation]) -> None:
    for conversation in conversations:
        for answer in conversation.answers:
            for element in answer.expect:
                assert any(option.strip().lower() in answer.text.lower() for option in element.split("|")), answer


def test_trained_text_is_what_transformers_renders(conversations: list[Conversation]) -> None:
    tokenizer = pytest.importorskip("transformers").PreTrainedTokenizerFast(tokenizer_file=str(PATH))
    tokenizer.chat_template = TEMPLATE.read_text()
    for conversation in conversations:
        tools = [json.loads(line) for line in conversation.tool_lines]
        messages = [{k: v for k, v in message.items() if k != "trained"} for message in conversation.messages]
        expected = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=False)
        assert "".join(segment.text for segment in render(conversation.messages, conversation.tool_lines)) == expected


def test_tokenizer_round_trips_and_segments_meet_where_it_cuts(conversations: list[Conversation]) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(PATH))
    encoder = Encoder(tokenizer)
    for conversation in conversations:
        segments = render(conversation.messages, conversation.tool_lines)
        text = "".join(segment.text for segment in segments)
        ids, weights = encoder.encode([segments])[0]
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids
        assert len(weights) == len(ids)
        assert tokenizer.decode(ids, skip_special_tokens=False) == text


def test_tool_tags_survive_decoding_and_chat_marks_do_not() -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(PATH))
    text = '<|im_start|>assistant\n<tool_call>\n{"name": "x", "arguments": {}}\n</tool_call><|im_end|>'
    shown = tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=True)
    assert "<tool_call>" in shown
    assert not any(mark in shown for mark in SPECIAL)


def test_long_conversations_fit_the_trained_context(tmp_path: Path) -> None:
    from tokenizers import Tokenizer

    with inside(tmp_path):
        generator = Generator(random.Random(3), Workspace(tmp_path))
        made = [generator.conversation(LONG) for _ in range(12)]
    encoded = Encoder(Tokenizer.from_file(str(PATH))).encode([render(c.messages, c.tool_lines) for c in made])
    lengths = [len(ids) for ids, _ in encoded]
    assert max(lengths) > 3000
    assert sum(length <= 8192 for length in lengths) >= 8


def test_every_intention_has_thirty_structures_some_of_them_held_out() -> None:
    plenty = [
        wordings.structures() >= 30 for wordings in [*bank().values(), *(op.wordings for op in operations().values())]
    ]
    assert sum(plenty) > 0.85 * len(plenty)
    held = [
        op
        for op in operations().values()
        if op.wordings.noun_phrases.unseen or op.wordings.imperatives.unseen or op.wordings.sentences.unseen
    ]
    assert len(held) > 0.6 * len(operations())


@pytest.mark.slow
def test_every_kind_of_task_is_judged_right_when_solved_by_its_own_script(tmp_path: Path) -> None:
    """The model is replaced by the scripts' own turns, since only then the right verdict is known."""
    items = list(suites.items(tmp_path, 1, ["seen", "phrasings", "natural", "crowded"]))
    turns = {
        id(item.run.world.toolbox): [assistant_text(m) for m in item.solution if m["role"] == "assistant"]
        for item in items
    }

    def replay(prompts: Sequence[str], toolboxes: Sequence[Toolbox]) -> list[str]:
        return [turns[id(toolbox)].pop(0) for toolbox in toolboxes]

    drive([item.run for item in items], replay)
    wrong = {f"{item.suite}/{item.category}": item.judge(item.run) for item in items if item.judge(item.run)}
    for item in items:
        if isinstance(item.run.world.python, Subprocess):
            item.run.world.python.close()
    assert wrong == {}
    assert {item.category for item in items} >= set(MIXTURE)


def test_an_error_in_a_cell_reads_as_the_product_tells_it() -> None:
    interpreter = Interpreter()
    assert interpreter.run("a = 1") == "(no output)"
    assert interpreter.run("def f():\n    return a / 0\nprint('x')\nf()") == (
        "x\nTraceback (most recent call last):\n  Cell 2, line 4, in <module>\n    f()\n"
        "  Cell 2, line 2, in f\n    return a / 0\nZeroDivisionError: division by zero"
    )


def test_a_cell_in_a_process_of_its_own_keeps_names_and_is_stopped_in_time(tmp_path: Path) -> None:
    python = Subprocess(tmp_path, seconds=2.0)
    try:
        assert python.run("x = 20") == "(no output)"
        assert python.run("open('a.txt', 'w').write('hi')\nx + 1") == "21"
        assert (tmp_path / "a.txt").read_text() == "hi"
        assert "did not finish" in python.run("while True: pass")
    finally:
        python.close()
