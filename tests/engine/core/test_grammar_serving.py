"""Grammars on a running engine: a random model cannot help but obey them, whatever else is in the batch."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
from agenthost.engine import LLM, Grammar, SamplingParams
from agenthost.engine.errors import InvalidRequest

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[a-z]{1,8}$"},
        "days": {"type": "integer", "minimum": 0, "maximum": 99},
        "mode": {"enum": ["fast", "slow"]},
    },
    "required": ["city", "days", "mode"],
    "additionalProperties": False,
}
JSON = Grammar("json_schema", json.dumps(SCHEMA))


@pytest.fixture(scope="module", params=[pytest.param(False, marks=pytest.mark.slow), True], ids=["sync", "overlap"])
def llm(reference, request):
    with LLM(str(reference.folder), dtype="float32", kv_tokens=4000, debug=True, overlap=request.param) as llm:
        yield llm


def test_random_models_write_what_the_schema_says_beside_free_requests(llm):
    constrained = [SamplingParams(seed=seed, max_tokens=400, grammar=JSON) for seed in range(6)]
    free = [SamplingParams(seed=seed, max_tokens=20, ignore_eos=True) for seed in range(4)]
    prompts = [[seed, 5, 7] for seed in range(10)]
    generations = llm.generate(prompts, [*constrained, *free])
    for generation in generations[:6]:
        assert generation.completions[0].finish_reason == "stop"
        jsonschema.validate(json.loads(generation.text), SCHEMA)
    assert [len(generation.completions[0].token_ids) for generation in generations[6:]] == [20] * 4


def test_a_finished_grammar_ends_the_output_even_without_an_end_token(llm):
    params = SamplingParams(seed=1, max_tokens=50, ignore_eos=True, grammar=Grammar("regex", "[a-c]{4}x"))
    completion = llm.generate("hello", params)[0].completions[0]
    assert re.fullmatch("[a-c]{4}x", completion.text)
    assert completion.finish_reason == "stop"


def test_structural_tags_leave_text_free_and_force_calls(llm):
    tag = {
        "type": "tag",
        "begin": "<call>",
        "content": {"type": "json_schema", "json_schema": SCHEMA},
        "end": "</call>",
    }
    calls = {
        "type": "tags_with_separator",
        "separator": "",
        "tags": [tag],
        "at_least_one": True,
        "stop_after_first": True,
    }
    grammar = Grammar("structural_tag", json.dumps({"type": "structural_tag", "format": calls}))
    for seed in range(4):
        text = llm.generate("hello", SamplingParams(seed=seed, max_tokens=400, grammar=grammar))[0].text
        jsonschema.validate(json.loads(text.removeprefix("<call>").removesuffix("</call>")), SCHEMA)


def test_max_tokens_cuts_a_grammar_off(llm):
    completion = llm.generate("hello", SamplingParams(seed=1, max_tokens=3, grammar=JSON))[0].completions[0]
    assert (completion.finish_reason, len(completion.token_ids)) == ("length", 3)


@pytest.mark.parametrize(
    "grammar",
    [
        Grammar("json_schema", '{"type": '),
        Grammar("json_schema", '{"type": "nonsense"}'),
        Grammar("regex", "(unclosed"),
        Grammar("regex", "[" * 100_000),
        Grammar("json_schema", '{"type": "string", "maxLength": 1' + "0" * 400 + "}"),
        Grammar("ebnf", "root ::= "),
        Grammar("structural_tag", "{}"),
    ],
    ids=lambda grammar: f"{grammar.kind}-{grammar.source[:12]}",
)
def test_bad_grammars_are_refused_and_the_engine_goes_on(llm, grammar):
    with pytest.raises(InvalidRequest) as error:
        llm.generate("hello", SamplingParams(grammar=grammar))
    assert error.value.param == "grammar"
    assert len(llm.generate("hello", SamplingParams(max_tokens=2, ignore_eos=True))[0].completions[0].token_ids) == 2


def test_an_end_that_the_grammar_allows_ends_the_output_before_min_tokens(llm):
    params = SamplingParams(seed=1, max_tokens=20, min_tokens=10, grammar=Grammar("regex", "ab"))
    completion = llm.generate("hello", params)[0].completions[0]
    assert (completion.text, len(completion.token_ids)) == ("ab", 3)


def test_hundreds_of_requests_with_the_same_grammar_all_finish(llm):
    """Far more than a socket's buffer holds of their masks."""
    params = [SamplingParams(seed=seed, max_tokens=30, grammar=Grammar("regex", "[a-z]{3}")) for seed in range(400)]
    generations = llm.generate([[seed % 200, 5] for seed in range(400)], params)
    assert all(re.fullmatch("[a-z]{3}", generation.text) for generation in generations)
