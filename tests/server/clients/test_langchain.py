"""LangChain's ChatOpenAI, over chat completions and over Responses."""

import asyncio
from typing import Any, Literal

import openai
import pytest
from langchain_core.messages import AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, SecretStr


class Person(BaseModel):
    """A person."""

    name: str
    age: int


class Mood(BaseModel):
    """How someone feels."""

    mood: Literal["glad", "sad"]


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


def chat(url, model="m", **more) -> Any:
    return ChatOpenAI(model=model, base_url=f"{url}/v1", api_key=SecretStr("x"), max_retries=0, **more)


both = pytest.mark.parametrize("responses", [False, True])


@both
def test_an_answer_and_its_usage(stage, responses):
    stage.rehearse({"Hello?": "Hello, Ada."})
    answer = chat(stage.url, use_responses_api=responses).invoke([SystemMessage("Be kind."), HumanMessage("Hello?")])
    assert answer.text == "Hello, Ada."
    usage = answer.usage_metadata
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert "cache_read" in usage["input_token_details"]


@both
def test_a_tool_loop_keeps_its_history_in_the_cache(stage, call, responses):
    stage.rehearse({"in Oslo?": call("weather", city="Oslo"), "Oslo is sunny": "No umbrella."})
    model = chat(stage.url, use_responses_api=responses).bind_tools([weather])
    messages: list[Any] = [HumanMessage("The weather in Oslo?")]
    first = model.invoke(messages)
    messages += [first, *(weather.invoke(called) for called in first.tool_calls)]
    second = model.invoke(messages)
    assert second.text == "No umbrella."
    cached = second.usage_metadata["input_token_details"]["cache_read"]
    assert cached >= first.usage_metadata["total_tokens"] - 1


@both
def test_a_stream_adds_up_to_the_message(stage, call, responses):
    stage.rehearse({"both?": call("weather", city="Oslo") + "\n" + call("weather", city="Rome")})
    model = chat(stage.url, use_responses_api=responses, stream_usage=True).bind_tools([weather])
    whole: Any = None
    for chunk in model.stream("both?"):
        assert isinstance(chunk, AIMessageChunk)
        whole = chunk if whole is None else whole + chunk
    assert [(one["name"], one["args"]) for one in whole.tool_calls] == [
        ("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"}),
    ]  # fmt: skip
    assert whole.usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_structured_output_by_every_method(stage, call, method):
    said = '{"name": "Ada", "age": 36}'
    stage.rehearse({"Who?": call("Person", name="Ada", age=36) if method == "function_calling" else said})
    assert chat(stage.url).with_structured_output(Person, method=method).invoke("Who?") == Person(name="Ada", age=36)


def test_what_a_schema_forbids_is_not_said(stage):
    stage.rehearse({"Mood?": "I would rather not say."})
    assert chat(stage.url).with_structured_output(Mood).invoke("Mood?").mood in ("glad", "sad")


def test_a_forced_tool(stage):
    stage.rehearse({"Hi": "No calls today."})
    [called] = chat(stage.url, max_tokens=300).bind_tools([weather], tool_choice="weather").invoke("Hi").tool_calls
    assert called["name"] == "weather"


def test_results_of_tools_may_be_lists_of_parts(stage, call):
    stage.rehearse({"in Oslo?": call("weather", city="Oslo"), "fine rain": "An umbrella."})
    model = chat(stage.url).bind_tools([weather])
    first = model.invoke("The weather in Oslo?")
    parts: Any = [{"type": "text", "text": "fine "}, {"type": "text", "text": "fine rain"}]
    result = ToolMessage(parts, tool_call_id=first.tool_calls[0]["id"])
    assert model.invoke([HumanMessage("The weather in Oslo?"), first, result]).text == "An umbrella."


def test_a_batch_and_async(stage):
    stage.rehearse({"one!": "1", "two!": "2"})
    model = chat(stage.url)
    assert [answer.text for answer in model.batch(["one!", "two!"])] == ["1", "2"]
    assert asyncio.run(model.ainvoke("two!")).text == "2"


def test_logprobs_are_passed_on(stage):
    stage.rehearse({"Say it": "certainly"})
    metadata = chat(stage.url, logprobs=True).invoke("Say it").response_metadata
    assert "".join(token["token"] for token in metadata["logprobs"]["content"]) == "certainly"


def test_errors_are_openais(stage):
    with pytest.raises(openai.NotFoundError):
        chat(stage.url, model="nothing").invoke("x")


@pytest.mark.slow
def test_the_embedded_model_answers(pocket):
    assert chat(pocket, "pocket", temperature=0).invoke("Hello, who are you?").text


@pytest.mark.slow
def test_the_embedded_model_calls_a_tool(pocket):
    [called] = chat(pocket, "pocket", temperature=0).bind_tools([weather]).invoke("The weather in Lisbon?").tool_calls
    assert called["args"] == {"city": "Lisbon"}


@pytest.mark.slow
def test_the_embedded_model_fills_a_schema(pocket):
    mood = chat(pocket, "pocket", temperature=0).with_structured_output(Mood).invoke("I am so happy!")
    assert mood.mood in ("glad", "sad")
