"""Anthropic's messages through the real client and a real server; the scripted engine fixes what the model says."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import anthropic
import httpx
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig

HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {
        "name": "add",
        "description": "Adds.",
        "input_schema": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
    {"name": "now", "input_schema": {"type": "object", "properties": {}}},
]
CALLS = (
    'Let me see.\n<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>\n'
    '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'
)


@pytest.fixture
def client(scripted):
    with anthropic.Anthropic(base_url=scripted.url, api_key="x", max_retries=0) as client:
        yield client


def ask(client, **wanted):
    wanted = {"model": "m", "max_tokens": 500, "messages": HI, **wanted}
    return client.messages.create(**wanted)


def test_answers_in_anthropics_shape(scripted, client):
    answer = ask(client)
    assert (answer.type, answer.role, answer.model) == ("message", "assistant", "m")
    assert [(block.type, block.text) for block in answer.content] == [("text", "hello")]
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    prompt = len(scripted.engine.requests[-1].prompt)
    assert answer.usage.input_tokens == prompt - 7
    assert (answer.usage.cache_read_input_tokens, answer.usage.cache_creation_input_tokens) == (7, 0)
    assert answer.usage.output_tokens == 6


def test_tool_use_is_blocks_with_objects(scripted, client):
    scripted.says(CALLS)
    answer = ask(client, tools=TOOLS)
    assert [block.type for block in answer.content] == ["text", "tool_use", "tool_use"]
    assert [(block.name, block.input) for block in answer.content[1:]] == [("add", {"a": 1, "b": 2}), ("now", {})]
    assert answer.stop_reason == "tool_use"
    assert '"name": "add", "description": "Adds.", "parameters"' in scripted.engine.prompt_text()


def test_the_stream_builds_the_whole_message(scripted, client):
    scripted.says(CALLS)
    with client.messages.stream(model="m", max_tokens=500, messages=HI, tools=TOOLS) as stream:
        events = [event.type for event in stream]
        streamed = stream.get_final_message()
    whole = ask(client, tools=TOOLS)
    shape = [(block.type, getattr(block, "text", None), getattr(block, "input", None)) for block in streamed.content]
    assert shape == [(b.type, getattr(b, "text", None), getattr(b, "input", None)) for b in whole.content]
    assert streamed.usage == whole.usage
    assert (streamed.stop_reason, streamed.stop_sequence) == ("tool_use", None)
    assert events[0] == "message_start"
    assert events[-1] == "message_stop"
    assert events.count("content_block_start") == events.count("content_block_stop") == 3


async def streamed_async(url):
    async with (
        anthropic.AsyncAnthropic(base_url=url, api_key="x") as client,
        client.messages.stream(model="m", max_tokens=50, messages=HI) as stream,
    ):
        return [text async for text in stream.text_stream]


def test_the_async_client_streams_text(scripted):
    assert "".join(asyncio.run(streamed_async(scripted.url))) == "hello"


def test_a_tool_turn_comes_back_token_for_token(scripted, client):
    scripted.says(CALLS, "done")
    first = ask(client, tools=TOOLS)
    results = [
        {"type": "tool_result", "tool_use_id": first.content[1].id, "content": [{"type": "text", "text": "3"}]},
        {"type": "tool_result", "tool_use_id": first.content[2].id, "content": "noon", "is_error": False},
        {"type": "text", "text": "Go on."},
    ]
    history = [*HI, {"role": "assistant", "content": first.content}, {"role": "user", "content": results}]
    ask(client, messages=history, tools=TOOLS)
    before, after = scripted.engine.requests[-2:]
    written = scripted.engine.tokenizer.encode(f"{CALLS}<|im_end|>")
    assert after.prompt[: len(before.prompt) + len(written)] == [*before.prompt, *written]
    tail = scripted.engine.prompt_text()[len(scripted.engine.prompt_text(-2)) + len(CALLS) :]
    assert "<tool_response>\n3\n</tool_response>\n<tool_response>\nnoon\n</tool_response>" in tail
    assert "<|im_start|>user\nGo on.<|im_end|>" in tail


@pytest.mark.parametrize(
    ("choice", "field"),
    [
        ({"type": "any"}, {"at_least_one": True, "stop_after_first": False}),
        ({"type": "any", "disable_parallel_tool_use": True}, {"stop_after_first": True}),
        ({"type": "tool", "name": "now"}, {"at_least_one": True, "stop_after_first": True}),
        ({"type": "none"}, {"type": "any_text"}),
        ({"type": "auto"}, {"type": "triggered_tags"}),
    ],
    ids=str,
)
def test_tool_choices_bind_the_model(scripted, client, choice, field):
    ask(client, tools=TOOLS, tool_choice=choice)
    tag = json.loads(scripted.engine.requests[-1].sampling.grammar.source)["format"]
    assert field.items() <= tag.items()


def test_the_billing_line_does_not_break_prefixes(scripted, client):
    for nonce in ("cch=11111", "cch=22222"):
        system: Any = [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2.1; {nonce};"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "Be kind."},
        ]
        ask(client, system=system)
    assert scripted.engine.requests[0].prompt == scripted.engine.requests[1].prompt
    assert scripted.engine.prompt_text().startswith("<|im_start|>system\nBe brief.\n\nBe kind.<|im_end|>")


def test_system_messages_may_come_late(scripted, client):
    ask(client, system="A", messages=[*HI, {"role": "system", "content": "B"}, *HI])
    assert "<|im_start|>system\nB<|im_end|>" in scripted.engine.prompt_text()


def test_the_answer_can_be_begun(scripted, client):
    ask(client, messages=[*HI, {"role": "assistant", "content": "The answer is"}])
    assert scripted.engine.prompt_text().endswith("<|im_start|>assistant\nThe answer is")


def test_counts_tokens_as_they_will_be(scripted, client):
    ask(client, system="S", tools=TOOLS)
    counted = client.messages.count_tokens(model="m", messages=HI, system="S", tools=TOOLS)
    assert counted.input_tokens == len(scripted.engine.requests[-1].prompt)


def test_null_is_as_if_it_were_not_there(scripted):
    choice = {"type": "auto", "disable_parallel_tool_use": None}
    asked = {"model": "m", "max_tokens": 9, "messages": HI, "stream": None, "tools": TOOLS, "tool_choice": choice}
    assert httpx.post(f"{scripted.url}/v1/messages", json=asked).status_code == 200


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("no such file", "Error: no such file"),
        (None, "Error: "),
        ([{"type": "text", "text": "no"}, {"type": "text", "text": "file"}], "Error: no\nfile"),
        ([{"type": "image", "source": {}}], "Error:\n[image"),
        ("ValueError: no", "\nValueError: no"),
        ("<tool_use_error>no</tool_use_error>", "\n<tool_use_error>no"),
    ],
)
def test_the_model_reads_that_a_result_is_an_error(scripted, client, content, read):
    call = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": content, "is_error": True}
    ask(client, messages=[*HI, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}])
    assert read in scripted.engine.prompt_text()


def test_stop_sequences_are_named(client):
    answer = ask(client, stop_sequences=["l"])
    assert (answer.content[0].text, answer.stop_reason, answer.stop_sequence) == ("he", "stop_sequence", "l")


def test_what_is_cut_off_says_so(scripted, client):
    scripted.says(CALLS)
    answer = ask(client, tools=TOOLS, max_tokens=60)
    assert answer.stop_reason == "max_tokens"
    assert answer.content[-1].input == {}
    assert ask(client, max_tokens=2).content[0].text == "Le"


def test_sampling_fields_reach_the_engine(scripted, client):
    ask(client, metadata={"user_id": "u"}, extra_body={"temperature": 0.5, "top_p": 0.9, "top_k": 5})
    sampling = scripted.engine.requests[-1].sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_tokens) == (0.5, 0.9, 5, 500)


def test_an_output_format_is_a_grammar(scripted, client):
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    ask(client, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(scripted.engine.requests[-1].sampling.grammar.source) == schema


def test_claude_names_are_the_served_model(client):
    assert ask(client, model="claude-haiku-5").model == "claude-haiku-5"
    with pytest.raises(anthropic.NotFoundError, match="does not exist"):
        ask(client, model="other")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"messages": [{"role": "tool", "content": "x"}]}, "role is 'tool'"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "reads text only"),
        ({"messages": []}, "messages is empty"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "no tool of type"),
        ({"tools": [{"name": "x"}]}, "input_schema is missing"),
        ({"tools": TOOLS, "tool_choice": {"type": "tool", "name": "zz"}}, "not among the tools"),
        ({"messages": [{"role": "user", "content": "x" * 9000}]}, "prompt is too long"),
        ({"max_tokens": 0}, "max_tokens"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_mistakes_are_told_in_anthropics_shape(client, wanted, message):
    with pytest.raises(anthropic.BadRequestError, match=message) as caught:
        ask(client, **wanted)
    body: Any = caught.value.body
    assert body["type"] == "error"
    assert body["error"]["type"] == "invalid_request_error"


def test_a_failing_engine_ends_the_stream_with_an_error_event(scripted):
    scripted.engine.play = lambda request: ["hel", RuntimeError("broken")]
    body = {"model": "m", "max_tokens": 9, "messages": HI, "stream": True}
    text = httpx.post(f"{scripted.url}/v1/messages", json=body).text
    events = [line for line in text.splitlines() if line.startswith("event: ")]
    assert events[-1] == "event: error"
    assert "message_stop" not in text


@pytest.fixture(scope="module")
def thinker(tmp_path_factory, write_model, make_engine, make_server):
    folder = write_model(tmp_path_factory.mktemp("glm"), template="glm45")
    engine = make_engine(folder, lambda request: "<think>hm</think>\nIt rains.")
    config = ServerConfig(engine=EngineConfig(model=str(folder)), served_model_name=("m",))
    with make_server(config, engine) as url, anthropic.Anthropic(base_url=url, api_key="x", max_retries=0) as client:
        yield SimpleNamespace(engine=engine, client=client)


def test_thoughts_are_blocks_with_a_signature(thinker):
    answer = ask(thinker.client, thinking={"type": "enabled", "budget_tokens": 1024})
    assert [block.type for block in answer.content] == ["thinking", "text"]
    assert answer.content[0].thinking == "hm"
    assert answer.content[0].signature
    with thinker.client.messages.stream(model="m", max_tokens=100, messages=HI) as stream:
        streamed = stream.get_final_message()
    assert [block.model_dump() for block in streamed.content] == [block.model_dump() for block in answer.content]
    tag = thinker.engine.requests[0].sampling.grammar.source
    assert '"max_tokens": 1024' in tag


def test_thinking_can_be_switched_off(thinker):
    ask(thinker.client, thinking={"type": "disabled"})
    engine = thinker.engine
    text = engine.prompt_text()
    assert text.endswith("<think></think>")


def test_thoughts_come_back_to_the_template(thinker):
    first = ask(thinker.client)
    ask(thinker.client, messages=[*HI, {"role": "assistant", "content": first.content}, *HI])
    engine = thinker.engine
    text = engine.prompt_text()
    assert "<think>hm</think>\nIt rains." in text
