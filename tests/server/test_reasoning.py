"""Thoughts are told from words at every cut, and no grammar and no stop string reaches into them."""

import json
from typing import Any

import pytest
from agenthost.server.chat import formats, reasoning
from agenthost.server.chat.formats import ToolChoice

from .families import PLAIN, TOOLS, gathered, parsed, template, turn

CHUNKS = (1, 2, 3, 5, 11, 23, None)
THINK = reasoning.named("qwen3")
CALL = turn("chatml", "", [("forecast", PLAIN)])

CASES: dict[str, tuple[Any, str, tuple[str, str, int]]] = {
    "thoughts and words": ("before", "<think>\nhm <b>\n</think>\n\nIt rains.", ("It rains.", "hm <b>", 0)),
    "opened by the prompt": ("inside", "hm\n</think>\n\nIt rains.", ("It rains.", "hm", 0)),
    "opened twice": ("inside", "<think>\nhm</think>It rains.", ("It rains.", "hm", 0)),
    "none": ("before", "It rains. <think>", ("It rains. <think>", "", 0)),
    "closed by the prompt": ("after", "It <think>", ("It <think>", "", 0)),
    "empty": ("before", "<think>\n\n</think>\n\nIt rains.", ("It rains.", "", 0)),
    "cut off": ("inside", "hm, I wonder </th", ("", "hm, I wonder </th", 0)),
    "nothing": ("before", "", ("", "", 0)),
    "then a call": ("inside", f"hm</think>\n{CALL}", ("", "hm", 1)),
    "a call in thought": ("inside", f"maybe {CALL} or</think>no", ("no", f"maybe {CALL} or", 0)),
}  # fmt: skip


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("case", CASES)
def test_thoughts_come_before_words(case, chunk):
    place, text, (content, thoughts, calls) = CASES[case]
    parser = reasoning.parser(THINK, place, formats.named("hermes").parser(TOOLS))
    assert parser is not None
    found = parsed(parser, text, chunk)
    assert (found[0], found[1], len(found[2])) == (content, thoughts, calls)


def test_the_end_of_the_prompt_tells_where_the_model_stands():
    assert THINK.place("<|im_start|>assistant\n") == "before"
    assert THINK.place("<|im_start|>assistant\n<think>\n") == "inside"
    assert THINK.place("<|im_start|>assistant\n<think>\n\n</think>\n\n") == "after"


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("qwen3", "<think>hm</think>so"),
        ("deepseek-r1", "<think>\nhm\n</think>\n\nso"),
        ("glm45", "\n<think>hm</think>\nso"),
        ("granite", "Here is my thought process: hm Here is my response: so"),
        ("granite", "Here's my thought process:\nhm\nHere's my response:\nso"),
        ("mistral", "[THINK]hm[/THINK]so"),
        ("gemma4", "<|channel>thought\nhm<channel|>so"),
        ("[a],[/a]", "[a]hm[/a]so"),
    ],
)
def test_every_familys_marks(name, written):
    parser = reasoning.parser(reasoning.named(name), "before", None)
    assert parser is not None
    for chunk in CHUNKS:
        again = reasoning.parser(reasoning.named(name), "before", None)
        assert again is not None
        assert parsed(again, written, chunk) == ("so", "hm", [])


def test_unknown_names_are_refused_with_those_that_exist():
    with pytest.raises(formats.UnknownFormat, match=r"qwen3.*OPEN,CLOSE"):
        reasoning.named("nonsense")


@pytest.mark.parametrize(
    ("family", "name"),
    [("chatml_thinking", "qwen3"), ("glm45", "glm45"), ("deepseek_v31", "deepseek_r1"), ("chatml", None)],
)
def test_the_template_tells_whether_the_model_thinks(family, name):
    found = reasoning.detect(template(family))
    assert (found and found.name) == name


def test_glm_thoughts_and_calls_are_read_back():
    written = turn("glm45", "Well.", [("forecast", PLAIN)], reasoning="hm")
    parser = reasoning.parser(reasoning.named("glm45"), "before", formats.named("glm45").parser(TOOLS))
    assert parser is not None
    content, thoughts, calls = parsed(parser, written)
    assert (content.strip(), thoughts, json.loads(calls[0][1])) == ("Well.", "hm", PLAIN)


@pytest.fixture(scope="module")
def accepts():
    xgrammar = pytest.importorskip("xgrammar")
    end = 256
    vocabulary = [bytes([i]) for i in range(256)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, xgrammar.VocabType.RAW, stop_token_ids=[end])
    compiler = xgrammar.GrammarCompiler(info)

    def check(body, text):
        matcher = xgrammar.GrammarMatcher(
            compiler.compile_structural_tag(json.dumps({"type": "structural_tag", "format": body}))
        )
        return matcher.accept_string(text) and matcher.accept_token(end)

    return check


ANSWER = {"type": "json_schema", "json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}


@pytest.mark.parametrize(
    ("place", "text", "accepted"),
    [
        ("inside", 'free {"a": "x"} </think>\n\n{"a": 1}', True),
        ("inside", '{"a": 1}', False),
        ("inside", 'hm</think>{"a": "x"}', False),
        ("before", '<think>\nfree\n</think>\n\n{"a": 1}', True),
        ("before", '{"a": 1}', True),
        ("before", "<think>free</think> words", False),
        ("after", '{"a": 1}', True),
        ("after", '<think></think>{"a": 1}', False),
    ],
)
def test_an_answers_grammar_begins_behind_the_thoughts(accepts, place, text, accepted):
    assert accepts(THINK.around(ANSWER, place), text) == accepted


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_calls_grammar_begins_behind_the_thoughts(accepts, mode):
    hermes = formats.named("hermes")
    body = THINK.around(hermes.body(TOOLS, ToolChoice(mode), None, ("<think>", "</think>")), "before")
    assert accepts(body, f"<think>\nmaybe <tool_call> or not\n</think>\n\n{CALL}")
    assert accepts(body, CALL)
    assert not accepts(body, "<think>\nhm\n</think>\n\n<tool_call>\n{}\n</tool_call>")
    assert accepts(body, "<think>hm</think>\n\nwords") == (mode == "auto")


def test_thoughts_never_hold_calls_back():
    parser = reasoning.parser(THINK, "inside", None)
    assert parser is not None
    pieces = [parser.feed(f"word{i} ") for i in range(20)]
    assert all(pieces)
    assert gathered([delta for piece in pieces for delta in piece])[1].startswith("word0 word1")
