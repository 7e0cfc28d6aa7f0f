"""OpenAI's own client, sync and async, with its helpers. ``stage`` plays the model's words, ``pocket`` is the model."""

import asyncio
import re
from typing import Any, Literal

import httpx
import openai
import pytest
from pydantic import BaseModel

WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather", "description": "The weather of a city.", "strict": True,
        "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"],
            "additionalProperties": False,
        },
    },
}  # fmt: skip


class Person(BaseModel):
    name: str
    age: int


class Mood(BaseModel):
    mood: Literal["glad", "sad"]


@pytest.fixture
def client(stage):
    with openai.OpenAI(base_url=f"{stage.url}/v1", api_key="x", max_retries=0) as client:
        yield client


@pytest.fixture
def real(pocket):
    with openai.OpenAI(base_url=f"{pocket}/v1", api_key="x", max_retries=0) as client:
        yield client


def user(text) -> Any:
    return [{"role": "user", "content": text}]


def test_an_answer_and_its_usage(stage, client):
    stage.rehearse({"Hello?": "Hello, Ada."})
    client.chat.completions.create(model="m", messages=user("Hello?"))
    answer = client.chat.completions.create(model="m", messages=user("Hello?"))
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == ("Hello, Ada.", "stop")
    # The second time all is in the cache but the token whose logits are wanted.
    assert answer.usage.prompt_tokens_details.cached_tokens == answer.usage.prompt_tokens - 1


def test_a_tool_loop_keeps_its_history_in_the_cache(stage, client, call):
    stage.rehearse({"in Oslo?": f"I look. {call('weather', city='Oslo')}", "rain": "Take an umbrella."})
    messages = user("What is the weather in Oslo?")
    first = client.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    message = first.choices[0].message
    assert (message.content, first.choices[0].finish_reason) == ("I look.", "tool_calls")
    assert message.tool_calls[0].function.arguments == '{"city": "Oslo"}'
    messages += [message, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "rain"}]
    second = client.chat.completions.create(model="m", messages=messages, tools=[WEATHER])
    assert second.choices[0].message.content == "Take an umbrella."
    written = first.usage.prompt_tokens + first.usage.completion_tokens
    assert second.usage.prompt_tokens_details.cached_tokens >= written - 1


def test_two_calls_in_a_stream_have_their_own_index(stage, client, call):
    stage.rehearse({"both?": call("weather", city="Oslo") + "\n" + call("weather", city="Rome")})
    arguments: dict[int, str] = {}
    for chunk in client.chat.completions.create(model="m", messages=user("both?"), tools=[WEATHER], stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            arguments[delta.index] = arguments.get(delta.index, "") + (delta.function.arguments or "")
    assert arguments == {0: '{"city": "Oslo"}', 1: '{"city": "Rome"}'}


def test_the_streaming_helper_gathers_a_call(stage, client, call):
    stage.rehearse({"Oslo": call("weather", city="Oslo")})
    with client.chat.completions.stream(model="m", messages=user("Oslo"), tools=[WEATHER]) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_completion().choices[0].message
    assert "tool_calls.function.arguments.done" in kinds
    assert message.tool_calls[0].function.parsed_arguments == {"city": "Oslo"}


def test_parse_makes_the_wanted_object(stage, client):
    stage.rehearse({"Who?": '{"name": "Ada", "age": 36}'})
    parsed = client.chat.completions.parse(model="m", messages=user("Who?"), response_format=Person)
    assert parsed.choices[0].message.parsed == Person(name="Ada", age=36)


def test_what_the_schema_forbids_is_not_said(stage, client):
    stage.rehearse({"Mood?": "I would rather talk about the weather."})
    parsed = client.chat.completions.parse(model="m", messages=user("Mood?"), response_format=Mood, max_tokens=200)
    assert parsed.choices[0].message.parsed.mood in ("glad", "sad")


def test_logprobs_of_words_that_are_known_by_heart(stage, client):
    stage.rehearse({"Say it": "certainly"})
    choice = client.chat.completions.create(
        model="m", messages=user("Say it"), logprobs=True, top_logprobs=2, n=2
    ).choices[1]
    assert "".join(token.token for token in choice.logprobs.content) == "certainly"
    assert all(token.logprob > -1e-6 and len(token.top_logprobs) == 2 for token in choice.logprobs.content)


def test_responses_by_id_continue_token_for_token(stage, client):
    stage.rehearse({"I am Ada.": "Hi Ada.", "Who am I?": "Ada."})
    first = client.responses.create(model="m", input="I am Ada.")
    second = client.responses.create(model="m", input="Who am I?", previous_response_id=first.id)
    assert second.output_text == "Ada."
    written = first.usage.input_tokens + first.usage.output_tokens
    assert second.usage.input_tokens_details.cached_tokens >= written - 1


def test_responses_parse(stage, client):
    stage.rehearse({"Who?": '{"name": "Ada", "age": 36}'})
    assert client.responses.parse(model="m", input="Who?", text_format=Person).output_parsed.age == 36


def test_hosted_python_in_a_response(stage, client, call):
    stage.rehearse({"product": call("python", code="print(6 * 7)"), "42": "It is 42."})
    tool: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    response = client.responses.create(
        model="m", input="product", tools=[tool], include=["code_interpreter_call.outputs"]
    )
    assert response.output[0].outputs[0].logs == "42"
    assert response.output_text == "It is 42."


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_custom_tools_grammar_binds_its_input(stage, client, call, api):
    definition = 'start: "\\"" YEAR "\\n" /[0-9]{2}/\nYEAR: "0".."9"~4'
    rule = {"type": "grammar", "syntax": "lark", "definition": definition}
    stage.rehearse({"When?": call("date", input="some day")})
    if api == "chat":
        grammar = {"type": "grammar", "grammar": {"syntax": "lark", "definition": definition}}
        custom: Any = {"type": "custom", "custom": {"name": "date", "format": grammar}}
        answer = client.chat.completions.create(model="m", messages=user("When?"), tools=[custom], max_tokens=200)
        given = answer.choices[0].message.tool_calls[0].custom.input
    else:
        custom = {"type": "custom", "name": "date", "format": rule}
        given = client.responses.create(model="m", input="When?", tools=[custom], max_output_tokens=200).output[0].input
    assert re.fullmatch(r'"\d{4}\n\d{2}', given)


def test_many_answers_at_once(stage):
    stage.rehearse({f"number {n}!": f"This is {n}." for n in range(12)})

    async def work():
        async with openai.AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="x") as client:

            async def one(number):
                answer = await client.chat.completions.create(model="m", messages=user(f"number {number}!"))
                return answer.choices[0].message.content

            return await asyncio.gather(*map(one, range(12)))

    assert asyncio.run(work()) == [f"This is {n}." for n in range(12)]


def test_metrics_tell_how_full_the_cache_is(stage, client):
    client.chat.completions.create(model="m", messages=user("Hello?"), max_tokens=3)
    lines = httpx.get(f"{stage.url}/metrics").text.splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert 0 < values["agenthost_kv_cache_cached"] < 1
    assert values["agenthost_kv_cache_used"] == values['vllm:kv_cache_usage_perc{model_name="m"}'] == 0
    assert (values["agenthost_engine_up"], values["agenthost_engine_restarts_total"]) == (1, 0)
    assert values["agenthost_requests_running"] == values["agenthost_requests_waiting"] == 0


def test_errors_have_the_clients_own_types(client):
    with pytest.raises(openai.NotFoundError) as missing:
        client.chat.completions.create(model="gpt-5", messages=user("x"))
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as long:
        client.chat.completions.create(model="m", messages=user("word " * 70_000))
    assert long.value.code == "context_length_exceeded"


@pytest.mark.slow
def test_the_embedded_model_answers(real):
    answer = real.chat.completions.create(model="pocket", messages=user("Hello, who are you?"), temperature=0)
    assert answer.choices[0].message.content


@pytest.mark.slow
def test_the_embedded_model_calls_a_function(real):
    with real.chat.completions.stream(
        model="pocket", messages=user("What is the weather in Lisbon?"), tools=[WEATHER], temperature=0
    ) as stream:
        for _ in stream:
            pass
        [call] = stream.get_final_completion().choices[0].message.tool_calls
    assert (call.function.name, call.function.parsed_arguments) == ("weather", {"city": "Lisbon"})


@pytest.mark.slow
def test_the_embedded_model_fills_a_schema(real):
    parsed = real.chat.completions.parse(
        model="pocket", messages=user("I am so happy!"), response_format=Mood, temperature=0
    )
    assert parsed.choices[0].message.parsed.mood in ("glad", "sad")


@pytest.mark.slow
def test_the_embedded_model_finds_its_whole_history_in_the_cache(real):
    code: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    common: Any = {"model": "pocket", "tools": [code], "temperature": 0}
    first: Any = real.responses.create(
        input="Use Python to compute 17 * 23.", include=["code_interpreter_call.outputs"], **common
    )
    [call] = [item for item in first.output if item.type == "code_interpreter_call"]
    assert [output.logs for output in call.outputs] == ["391"]
    second = real.responses.create(input="Thanks!", previous_response_id=first.id, max_output_tokens=4, **common)
    # Only the words of the user's turn and the marks around it are new, and the last token before them.
    assert second.usage.input_tokens - second.usage.input_tokens_details.cached_tokens <= 16
