"""Anthropic's own client, sync and async, with its stream and its tool runner."""

import asyncio
from typing import Any

import anthropic
import pytest
from anthropic import beta_tool

GREEDY: Any = {"temperature": 0}
ADD: Any = {
    "name": "add", "description": "Adds two numbers.",
    "input_schema": {
        "type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"],
    },
}  # fmt: skip


@pytest.fixture
def client(stage):
    with anthropic.Anthropic(base_url=stage.url, api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def real(pocket):
    with anthropic.Anthropic(base_url=pocket, api_key="x", max_retries=0) as client:
        yield client


def ask(client, messages, **wanted) -> Any:
    messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
    return client.messages.create(**{"model": "m", "max_tokens": 500, "messages": messages, **wanted})


def test_an_answer(stage, client):
    stage.rehearse({"Hello?": "Hello, Ada."})
    answer = ask(client, "Hello?", system="Be kind.")
    assert [(block.type, block.text) for block in answer.content] == [("text", "Hello, Ada.")]
    assert answer.stop_reason == "end_turn"


def test_a_name_of_anthropics_is_the_served_model(stage, client):
    stage.rehearse({"Hello?": "Hi."})
    assert ask(client, "Hello?", model="claude-of-any-kind").model == "claude-of-any-kind"


def test_a_tool_loop_keeps_its_history_in_the_cache(stage, client, call):
    stage.rehearse({"One and two?": f"I add. {call('add', a=1, b=2)}", "\n3\n": "Three."})
    first = ask(client, "One and two?", tools=[ADD])
    assert [block.type for block in first.content] == ["text", "tool_use"]
    assert (first.content[1].input, first.stop_reason) == ({"a": 1, "b": 2}, "tool_use")
    result = {"type": "tool_result", "tool_use_id": first.content[1].id, "content": "3"}
    messages = [
        {"role": "user", "content": "One and two?"}, {"role": "assistant", "content": first.content},
        {"role": "user", "content": [result]},
    ]  # fmt: skip
    second = ask(client, messages, tools=[ADD])
    assert second.content[0].text == "Three."
    before = first.usage.input_tokens + first.usage.cache_read_input_tokens + first.usage.output_tokens
    assert second.usage.cache_read_input_tokens >= before - 1


def test_the_nonce_of_a_billing_header_does_not_break_the_prefix(stage, client):
    stage.rehearse({"Hello?": "Hi."})
    for nonce in ("abc", "xyz"):
        system: Any = [
            {"type": "text", "text": f"x-anthropic-billing-header: cc_version=2; cch={nonce};"},
            {"type": "text", "text": "You write code."},
        ]
        answer = ask(client, "Hello?", system=system)
    assert answer.usage.input_tokens == 1


def test_the_stream_builds_the_message(stage, client, call):
    stage.rehearse({"One and two?": f"I add. {call('add', a=1, b=2)}"})
    messages: Any = [{"role": "user", "content": "One and two?"}]
    with client.messages.stream(model="m", max_tokens=500, messages=messages, tools=[ADD]) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == message.content[0].text
    assert message.content[1].input == {"a": 1, "b": 2}


def test_an_async_stream(stage):
    stage.rehearse({"Hello?": "Hello, Ada."})

    async def work():
        async with anthropic.AsyncAnthropic(base_url=stage.url, api_key="x") as client:
            messages: Any = [{"role": "user", "content": "Hello?"}]
            async with client.messages.stream(model="m", max_tokens=50, messages=messages) as stream:
                return [text async for text in stream.text_stream]

    assert "".join(asyncio.run(work())) == "Hello, Ada."


def test_a_tool_runner_runs_to_the_answer(stage, client, call):
    @beta_tool
    def add(a: int, b: int) -> str:
        """Adds two numbers."""
        return str(a + b)

    stage.rehearse({"One and two?": call("add", a=1, b=2), "\n3\n": "Three."})
    messages: Any = [{"role": "user", "content": "One and two?"}]
    runner = client.beta.messages.tool_runner(model="m", max_tokens=500, messages=messages, tools=[add])
    assert [message.stop_reason for message in runner] == ["tool_use", "end_turn"]


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "add"}])
def test_a_forced_call_fits_its_schema(stage, client, choice):
    stage.rehearse({"Hello?": "I would rather talk."})
    answer = ask(client, "Hello?", tools=[ADD], tool_choice={**choice, "disable_parallel_tool_use": True})
    [block] = answer.content
    assert set(block.input) == {"a", "b"}
    assert all(isinstance(value, int) for value in block.input.values())


def test_a_stop_sequence_ends_the_turn(stage, client):
    stage.rehearse({"Count": "one two STOP three"})
    answer = ask(client, "Count", stop_sequences=["STOP"])
    assert (answer.content[0].text, answer.stop_reason, answer.stop_sequence) == (
        "one two ", "stop_sequence", "STOP",
    )  # fmt: skip


def test_what_the_assistant_begins_is_continued(stage, client):
    stage.rehearse({"Name": "My name is Ada."})
    begun = [{"role": "user", "content": "Name"}, {"role": "assistant", "content": "My name is"}]
    assert ask(client, begun).content[0].text == " Ada."


def test_tokens_are_counted_as_they_are_used(stage, client):
    messages: Any = [{"role": "user", "content": "Hello?"}]
    counted = client.messages.count_tokens(model="m", messages=messages, tools=[ADD]).input_tokens
    usage = ask(client, "Hello?", tools=[ADD]).usage
    assert counted == usage.input_tokens + usage.cache_read_input_tokens


def test_errors_have_the_clients_own_types(client):
    with pytest.raises(anthropic.NotFoundError):
        ask(client, "x", model="nothing")
    with pytest.raises(anthropic.BadRequestError, match="maximum context length"):
        ask(client, "word " * 70_000)


@pytest.mark.slow
def test_the_embedded_model_answers(real):
    assert ask(real, "Hello, who are you?", model="pocket", extra_body=GREEDY).content[0].text


@pytest.mark.slow
def test_the_embedded_model_calls_a_tool(real):
    tool = {
        "name": "get_weather", "description": "Get the current weather of a city.",
        "input_schema": {
            "type": "object", "properties": {"city": {"type": "string", "description": "The city"}},
            "required": ["city"],
        },
    }  # fmt: skip
    answer = ask(real, "What is the weather in Lisbon?", model="pocket", tools=[tool], extra_body=GREEDY)
    assert [block.input for block in answer.content if block.type == "tool_use"] == [{"city": "Lisbon"}]


@pytest.mark.slow
def test_the_embedded_model_streams(real):
    messages: Any = [{"role": "user", "content": "Say hello."}]
    with real.messages.stream(model="pocket", max_tokens=20, messages=messages) as stream:
        text = "".join(stream.text_stream)
        assert text == stream.get_final_text()
