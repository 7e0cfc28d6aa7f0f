"""Hermes tool calls: the parsed result depends on the text alone, and whatever is not a call stays text."""

import json
import random

import pytest
from agenthost.server.chat import formats
from agenthost.server.chat.formats import CallArguments, CallStart, FunctionTool, TextDelta, ToolChoice

from .calls import call

CHUNKS = (1, 2, 3, 5, 11, 23, None)


def parse(text, chunk=None):
    """(content, [(name, arguments), ...]) of ``text`` fed in pieces of ``chunk`` characters."""
    parser = formats.named("hermes").parser()
    size = chunk or max(1, len(text))
    deltas = [delta for i in range(0, len(text), size) for delta in parser.feed(text[i : i + size])]
    deltas += parser.finish()
    content, calls = "", []
    for delta in deltas:
        match delta:
            case TextDelta():
                content += delta.text
            case CallStart():
                assert delta.index == len(calls)
                calls.append([delta.name, ""])
            case CallArguments():
                assert delta.index == len(calls) - 1
                calls[delta.index][1] += delta.text
    return content, [tuple(call) for call in calls]


CASES = {
    "no call": ("Hello there.\n", ("Hello there.\n", [])),
    "empty": ("", ("", [])),
    "one call": (call("f", '{"a": 1}'), ("", [("f", '{"a": 1}')])),
    "text before": ("Let me look.\n" + call("f", "{}"), ("Let me look.", [("f", "{}")])),
    "two calls": (call("f", '{"a": 1}') + "\n" + call("g", '{"b": 2}'), ("", [("f", '{"a": 1}'), ("g", '{"b": 2}')])),
    "text around": ("a " + call("f", "{}") + " b ", ("a b", [("f", "{}")])),
    "white space after": (call("f", "{}") + "\n\n", ("", [("f", "{}")])),
    "nested, escaped, not ASCII": (
        call("f", r'{"s": "a\"}{]\\", "t": "é🙂", "o": {"l": [1, {"x": null}]}}'),
        ("", [("f", r'{"s": "a\"}{]\\", "t": "é🙂", "o": {"l": [1, {"x": null}]}}')]),
    ),
    "closing tag inside a string": (
        call("write", '{"text": "</tool_call>{"}'), ("", [("write", '{"text": "</tool_call>{"}')])
    ),
    "no arguments key": ('<tool_call>{"name": "f"}</tool_call>', ("", [("f", "{}")])),
    "null arguments": (call("f", "null"), ("", [("f", "{}")])),
    "arguments as a JSON string": (call("f", r'"{\"a\": \"é\"}"'), ("", [("f", '{"a": "é"}')])),
    "arguments first": (
        '<tool_call>\n{"arguments": {"a": [1, 2]}, "name": "f"}\n</tool_call>', ("", [("f", '{"a": [1, 2]}')])
    ),
    "other keys": (
        '<tool_call>{"id": 12, "x": [{}], "name": "f", "arguments": {}, "y": "z"}</tool_call>', ("", [("f", "{}")])
    ),
    "parameters": ('<tool_call>{"name": "f", "parameters": {"a": 1}}</tool_call>', ("", [("f", '{"a": 1}')])),
    "one brace too many": (call("f", '{"a": 1}}'), ("", [("f", '{"a": 1}')])),
    "one brace too few": ('<tool_call>{"name": "f", "arguments": {}\n</tool_call>x', ("x", [("f", "{}")])),
    "no closing tag": ('<tool_call>{"name": "f", "arguments": {}}', ("", [("f", "{}")])),
    "no closing tag, then a call": (
        '<tool_call>{"name": "f", "arguments": {}}\n' + call("g", "{}"), ("", [("f", "{}"), ("g", "{}")])
    ),
    "cut in the arguments": ('<tool_call>\n{"name": "f", "arguments": {"a": "xy', ("", [("f", '{"a": "xy')])),
    "cut in the name": ('Hm \n<tool_call>\n{"name": "ge', ('Hm \n<tool_call>\n{"name": "ge', [])),
    "cut in the tag": ("So <tool_ca", ("So <tool_ca", [])),
    "cut in the closing tag": (call("f", "{}")[:-4], ("", [("f", "{}")])),
    "not JSON": ("x\n<tool_call>\nget it\n</tool_call> y", ("x\n<tool_call>\nget it\n</tool_call> y", [])),
    "a list": ("<tool_call>[1]</tool_call>", ("<tool_call>[1]</tool_call>", [])),
    "no name": ('<tool_call>{"arguments": {}}</tool_call>', ('<tool_call>{"arguments": {}}</tool_call>', [])),
    "name is not text": ('<tool_call>{"name": 7, "arguments": {}}', ('<tool_call>{"name": 7, "arguments": {}}', [])),
    "arguments are a list": (call("f", "[1]"), (call("f", "[1]"), [])),
    "arguments are a bare word": (call("f", "yes"), (call("f", "yes"), [])),
    "the tag twice": ("<tool_call>\n" + call("f", "{}"), ("", [("f", "{}")])),
    "an angle bracket": ("1 < 2 <tool> <<tool_call", ("1 < 2 <tool> <<tool_call", [])),
}  # fmt: skip


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("case", CASES)
def test_parses_at_every_cut(case, chunk):
    text, expected = CASES[case]
    assert parse(text, chunk) == expected


def test_random_cuts_and_damage_change_nothing_but_the_text():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    texts = [text for text, _ in CASES.values()]
    for _ in range(300):
        text = "".join(rng.choices(texts, k=rng.randint(1, 3)))
        for _ in range(rng.randint(0, 3)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(['"', "{", "}", "\\", "<", "", ",", "\n"]) + text[at + rng.randint(0, 2) :]
        whole = parse(text)
        assert all(parse(text, chunk) == whole for chunk in CHUNKS), text


def test_a_long_argument_is_passed_on_while_it_is_written():
    parser = formats.named("hermes").parser()
    parser.feed('<tool_call>\n{"name": "write", "arguments": {"text": "')
    deltas = [delta for _ in range(50) for delta in parser.feed("word ")]
    assert deltas == [CallArguments(0, "word ")] * 50


def test_names_of_both_peers_mean_this_format():
    assert {formats.named(name).name for name in ("hermes", "qwen25", "qwen3")} == {"hermes"}
    with pytest.raises(formats.UnknownFormat, match="hermes"):
        formats.named("nonsense")


def test_the_template_tells_the_format():
    shown = formats.detect("""{{- '<tool_call>\\n{"name": "' }}{{ name }}{{- '", "arguments": ' }}""")
    assert shown is not None
    assert shown.name == "hermes"
    assert formats.detect("{{ messages }}") is None


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
TOOLS = [FunctionTool("f", SCHEMA), FunctionTool("f2", {"type": "object", "properties": {}})]
F, F2 = call("f", '{"a": 1}'), call("f2", "{}")

ACCEPTED = {
    ToolChoice("auto"): ["hi", "hi " + F, F, F + "\n" + F2, F + " done"],
    ToolChoice("auto", parallel=False): ["hi", "hi " + F],
    ToolChoice("required"): [F, F2, F + "\n" + F2],
    ToolChoice("required", parallel=False): [F, F2],
    ToolChoice("named", "f2"): [F2],
    ToolChoice("none"): ["hi", "<tool"],
}
REFUSED = {
    ToolChoice("auto"): [call("f", "{}"), call("f", '{"a": "x"}'), call("zz", "{}"), "<tool_call>hi"],
    ToolChoice("auto", parallel=False): [F + "\n" + F2],
    ToolChoice("required"): ["hi", "hi " + F, ""],
    ToolChoice("required", parallel=False): [F + "\n" + F2],
    ToolChoice("named", "f2"): [F, F2 + "\n" + F2, "hi"],
    ToolChoice("none"): [F],
}
CHOICES = list(ACCEPTED)


@pytest.fixture(scope="module")
def accepts():
    """Whether xgrammar, compiling the tag as the engine does, lets a model write exactly this text."""
    xgrammar = pytest.importorskip("xgrammar")
    end = 256
    vocabulary = [bytes([i]) for i in range(256)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, xgrammar.VocabType.RAW, stop_token_ids=[end])
    compiler = xgrammar.GrammarCompiler(info)

    def check(tag, text):
        matcher = xgrammar.GrammarMatcher(compiler.compile_structural_tag(json.dumps(tag)))
        return matcher.accept_string(text) and matcher.accept_token(end)

    return check


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_the_grammar_admits_what_the_choice_allows_and_nothing_else(accepts, choice):
    tag = formats.named("hermes").grammar(TOOLS, choice)
    assert [text for text in ACCEPTED[choice] if not accepts(tag, text)] == []
    assert [text for text in REFUSED[choice] if accepts(tag, text)] == []


def test_the_grammar_joins_calls_with_a_wanted_response_format(accepts):
    answer = {"type": "json_schema", "json_schema": SCHEMA}
    tag = formats.named("hermes").grammar(TOOLS, ToolChoice("auto"), answer)
    assert accepts(tag, '{"a": 3}')
    assert accepts(tag, F)
    assert not accepts(tag, "hi")
