"""What comes out under a mask satisfies the grammar, whatever the model would rather write."""

from __future__ import annotations

import json
import re

import jsonschema
import numpy as np
import pytest
import torch
from agenthost.engine.errors import InvalidRequest
from agenthost.engine.request import Grammar
from agenthost.engine.sampling.grammar import apply_bitmask

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b\n", "ü"]}, "maxItems": 3},
        "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]},
    },
    "required": ["name", "age"],
    "additionalProperties": False,
}
TOOLS = {
    "read_file": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
    "add": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def call_tags():
    return [
        {
            "type": "tag",
            "begin": f'<tool_call>\n{{"name": "{name}", "arguments": ',
            "content": {"type": "json_schema", "json_schema": parameters},
            "end": "}\n</tool_call>",
        }
        for name, parameters in TOOLS.items()
    ]


def check_call(source):
    call = json.loads(source)
    assert set(call) == {"name", "arguments"}
    jsonschema.validate(call["arguments"], TOOLS[call["name"]])


@pytest.mark.parametrize(
    ("pattern", "text"), [('"[a-z]"', '"a"'), (r"a\nb", "a\nb"), (r"\\[a-z]", "\\a"), ("é[!-~]", 'é"'), ("[^é]", '"')]
)
def test_a_pattern_never_makes_invalid_json(grammars, pattern, text):
    """What has to be escaped is written as JSON writes it, though the pattern does not bind it then."""
    schema = {"type": "string", "pattern": pattern}
    for grammar in (grammars.schema(**schema), grammars.tag({"type": "json_schema", "json_schema": schema})):
        assert grammars.accepts(grammar, json.dumps(text))
        assert not grammars.accepts(grammar, f'"{text}"')


def test_a_pattern_binds_what_needs_no_escape(grammars):
    for pattern, right, wrong in (
        ("[a-z]{2}", "ab", "abc"),
        ("^[A-Z][a-zé ]{1,10}$", "Orlé", "x"),
        (r"é\d", "é1", "é"),
    ):
        grammar = grammars.schema(type="string", pattern=pattern)
        assert grammars.accepts(grammar, json.dumps(right, ensure_ascii=False))
        assert not grammars.accepts(grammar, json.dumps(wrong, ensure_ascii=False))


def test_random_json_satisfies_its_schema(grammars, rng):
    grammar = grammars.schema(**PERSON)
    finished = 0
    for _ in range(15):
        writer = grammars.writer(grammar)
        text = writer.scribble(rng, 300)
        writer.close()
        if text is not None:
            jsonschema.validate(json.loads(text), PERSON)
            finished += 1
    assert finished >= 5


@pytest.mark.parametrize(
    ("kind", "source", "good", "bad"),
    [
        ("regex", r"\d{4}-(0[1-9]|1[0-2])", ["2024-11"], ["2024-13", "2024-1", "x"]),
        ("ebnf", 'root ::= "yes" | "no" (" " root)?', ["yes", "no yes", "no no no"], ["maybe", "yes no"]),
        ("json_schema", '{"const": "\\u00fc\\n"}', ['"ü\\n"'], ['"u"', "1"]),
    ],
)
def test_exactly_the_grammars_language_is_allowed(grammars, kind, source, good, bad):
    grammar = Grammar(kind, source)
    assert [text for text in good if not grammars.accepts(grammar, text)] == []
    assert [text for text in bad if grammars.accepts(grammar, text)] == []


def test_a_bare_object_or_array_is_free_form(grammars):
    assert grammars.accepts(grammars.schema(type="object"), '{"any": [1, {"thing": null}]}')
    assert grammars.accepts(grammars.schema(type="array"), '[1, "two", {}]')
    assert not grammars.accepts(grammars.schema(type="object"), "[1]")
    inner = {"type": "object", "properties": {"options": {"type": "object"}}}
    assert grammars.accepts(grammars.schema(**inner), '{"options": {"free": 1}}')
    assert not grammars.accepts(grammars.schema(**inner), '{"invented": 1}')


def test_a_string_of_bounded_length_can_hold_any_character(grammars):
    code = grammars.schema(type="object", properties={"code": {"type": "string", "minLength": 1, "maxLength": 4000}})
    assert grammars.accepts(code, json.dumps({"code": 'print("a\\b")\n'}))
    assert not grammars.accepts(code, '{"code": "a\tb"}'), "a raw control character is no JSON"


def test_white_space_between_the_parts_has_an_end(grammars):
    grammar = grammars.schema(type="array", items={"type": "integer"})
    assert grammars.accepts(grammar, "[" + "\n" * 24 + "1]")
    assert not grammars.accepts(grammar, "[" + "\n" * 25 + "1]")


def test_the_end_is_allowed_when_the_grammar_is_complete_and_only_then(grammars):
    stop = grammars.tokenizer.token_id("x")
    writer = grammars.writer(Grammar("regex", "a|ab[xy]"), [*grammars.stops, stop])
    assert not {*grammars.stops, stop} & writer.allowed()
    writer.push(grammars.tokenizer.token_id("a"))
    assert {*grammars.stops, stop} <= writer.allowed()
    writer.push(grammars.tokenizer.token_id("b"))
    assert not {*grammars.stops, stop} & writer.allowed(), "a stop id is no text: it would end the output too early"
    assert not writer.state.is_terminated
    writer.close()


def test_nothing_follows_the_stop_id(grammars):
    writer = grammars.writer(Grammar("regex", "a"))
    writer.push(grammars.tokenizer.token_id("a"))
    assert writer.allowed() == set(grammars.stops)
    writer.push(grammars.stops[0])
    assert writer.state.is_terminated
    with pytest.raises(InvalidRequest, match="complete"):
        writer.allowed()
    writer.close()


def test_a_grammar_without_any_stop_id_ends_by_itself(grammars):
    writer = grammars.writer(Grammar("regex", "a"), [])
    writer.push(grammars.tokenizer.token_id("a"))
    assert writer.state.is_terminated
    writer.close()


def test_special_tokens_and_padding_are_no_text(grammars):
    start = grammars.tokenizer.token_id("<|im_start|>")
    writer = grammars.writer(grammars.schema(type="string"))
    writer.push(grammars.tokenizer.token_id('"'))
    allowed = writer.allowed()
    assert start not in allowed
    assert max(allowed) < grammars.tokenizer.vocab_size
    assert grammars.tokenizer.token_id("<tool_call>") in allowed, "an added token that is ordinary text"
    writer.close()
    named = grammars.writer(Grammar("ebnf", 'root ::= "<|im_start|>"'))
    assert start in named.allowed()
    named.close()


def test_a_token_that_was_not_allowed_ends_its_request_only(grammars):
    grammar = Grammar("regex", "a+")
    bad, good = grammars.writer(grammar), grammars.writer(grammar)
    for token in (grammars.tokenizer.token_id("b"), -1, 10**6):
        bad.push(token)
    with pytest.raises(InvalidRequest, match="does not allow token"):
        bad.allowed()
    assert good.accepts("aa")
    bad.close()
    good.close()


def test_several_tokens_may_be_told_at_once(grammars):
    writer = grammars.writer(Grammar("regex", "abc"))
    writer.state.accept(*grammars.tokenizer.encode("ab"))
    assert grammars.tokenizer.token_id("c") in writer.allowed()
    writer.close()


def test_a_dead_end_is_an_error(grammars):
    writer = grammars.writer(Grammar("ebnf", 'root ::= "a" endless\nendless ::= endless "b"'))
    writer.push(grammars.tokenizer.token_id("a"))
    with pytest.raises(InvalidRequest, match="no token is allowed"):
        writer.allowed()
    writer.close()


def test_free_text_flows_and_calls_are_valid(grammars, rng):
    grammar = grammars.tag({"type": "triggered_tags", "triggers": ["<tool_call>"], "tags": call_tags()})
    lures = ["<tool_call>", '<tool_call>\n{"name": "add', "The fox says: ", "ü "]
    calls = free = 0
    for _ in range(20):
        writer = grammars.writer(grammar)
        text = writer.scribble(rng, 250, lures)
        writer.close()
        if text is not None:
            for call in CALL.findall(text):
                check_call(call)
                calls += 1
            assert "<tool_call>" not in CALL.sub("", text)
            free += bool(CALL.sub("", text).strip())
    assert calls >= 3
    assert free >= 3


def test_required_means_at_least_one_call(grammars, rng):
    grammar = grammars.tag(
        {"type": "tags_with_separator", "separator": "\n", "tags": call_tags(), "at_least_one": True}
    )  # fmt: skip
    finished = 0
    for _ in range(10):
        writer = grammars.writer(grammar)
        text = writer.scribble(rng, 400)
        writer.close()
        if text is not None:
            assert CALL.sub("", text).strip("\n") == ""
            assert CALL.search(text)
            for call in CALL.findall(text):
                check_call(call)
            finished += 1
    assert finished >= 3


def test_the_trigger_may_be_one_added_token_or_spelled(grammars):
    grammar = grammars.tag({"type": "triggered_tags", "triggers": ["<tool_call>"], "tags": call_tags()})
    call = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'
    assert grammars.accepts(grammar, "Let me see. " + call + " Done.")
    writer = grammars.writer(grammar)
    for character in "<tool_call>":
        writer.push(grammars.tokenizer.token_id(character))
    assert writer.accepts(call.removeprefix("<tool_call>"))
    writer.close()
    assert not grammars.accepts(grammar, call.replace("add", "delete"))
    assert not grammars.accepts(grammar, call.replace('"b": 2', '"b": "2"'))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocabulary", [64, 75, 33])
def test_the_bitmask_leaves_what_is_allowed_and_nothing_else(dtype, vocabulary, rng):
    allowed = np.array([[rng.random() < 0.5 for _ in range(96)] for _ in range(3)])
    words = np.packbits(allowed, axis=-1, bitorder="little").view(np.int32)
    before = torch.arange(3 * vocabulary).reshape(3, vocabulary).to(dtype)
    expected = before.masked_fill(~torch.from_numpy(allowed[:, :vocabulary]), -torch.inf)
    after = before.clone()
    apply_bitmask(after, torch.from_numpy(words))
    assert torch.equal(after, expected)


def test_a_bitmask_narrower_than_the_logits_is_refused():
    with pytest.raises(ValueError, match="does not cover"):
        apply_bitmask(torch.zeros(1, 65), torch.zeros(1, 2, dtype=torch.int32))
