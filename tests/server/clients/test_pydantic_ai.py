"""Pydantic AI over its three models: chat completions, Responses and Anthropic's messages."""

import asyncio
from typing import Any, Literal

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError, ModelRetry, NativeOutput, PromptedOutput, ToolOutput
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider


class Person(BaseModel):
    name: str
    age: int


class Mood(BaseModel):
    mood: Literal["glad", "sad"]


def chat(url, name="m") -> Any:
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="x"))


def responses(url, name="m") -> Any:
    return OpenAIResponsesModel(name, provider=OpenAIProvider(base_url=f"{url}/v1", api_key="x"))


def messages(url, name="m") -> Any:
    return AnthropicModel(name, provider=AnthropicProvider(base_url=url, api_key="x"))


def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


every = pytest.mark.parametrize("model", [chat, responses, messages])


@every
def test_a_tool_is_called_and_the_answer_comes(stage, call, model):
    stage.rehearse({"in Oslo?": f"I look. {call('weather', city='Oslo')}", "Oslo is sunny": "No umbrella."})
    agent = Agent(model(stage.url), tools=[weather], instructions="Be brief.")
    result = agent.run_sync("The weather in Oslo?")
    assert result.output == "No umbrella."
    assert result.usage.requests == 2
    first, second = (message.usage for message in result.all_messages() if message.kind == "response")
    assert second.cache_read_tokens >= first.input_tokens + first.output_tokens - 1


@every
def test_a_stream_of_text(stage, model):
    stage.rehearse({"Hello?": "Hello, Ada."})

    async def work():
        async with Agent(model(stage.url)).run_stream("Hello?") as result:
            return [text async for text in result.stream_text(delta=True)]

    assert "".join(asyncio.run(work())) == "Hello, Ada."


@pytest.mark.parametrize("model", [chat, responses])
@pytest.mark.parametrize("wanted", [NativeOutput(Person), PromptedOutput(Person), ToolOutput(Person)], ids=type)
def test_an_output_type_in_every_mode(stage, call, model, wanted):
    said = call("final_result", name="Ada", age=36) if isinstance(wanted, ToolOutput) else '{"name": "Ada", "age": 36}'
    stage.rehearse({"Who?": said})
    assert Agent(model(stage.url), output_type=wanted).run_sync("Who?").output == Person(name="Ada", age=36)


def test_an_output_tool_is_forced(stage):
    stage.rehearse({"Mood?": "I would rather not say."})
    agent = Agent(chat(stage.url), output_type=Mood, model_settings={"max_tokens": 300})
    assert agent.run_sync("Mood?").output.mood in ("glad", "sad")


def test_a_conversation_goes_on(stage):
    stage.rehearse({"I am Ada.": "Hi Ada.", "Who am I?": "Ada."})
    agent = Agent(chat(stage.url), instructions="Be brief.")
    first = agent.run_sync("I am Ada.")
    second = agent.run_sync("Who am I?", message_history=first.all_messages())
    assert second.output == "Ada."
    written = first.usage.input_tokens + first.usage.output_tokens
    assert second.usage.cache_read_tokens >= written - 1


def test_several_system_prompts_reach_the_model(stage):
    stage.rehearse({"second rule\n\nthird rule": "Three rules."})
    agent = Agent(chat(stage.url), system_prompt=("first rule", "second rule", "third rule"))
    assert agent.run_sync("").output == "Three rules."


def test_a_tool_may_ask_for_another_try(stage, call):
    def strict_weather(city: str) -> str:
        """The weather of a city."""
        if city != "Oslo":
            raise ModelRetry("Only Oslo is known.")
        return "sunny"

    stage.rehearse(
        {
            "weather?": call("strict_weather", city="Rome"),
            "Only Oslo is known.": call("strict_weather", city="Oslo"),
            "\nsunny\n": "Sunny.",
        }
    )
    assert Agent(chat(stage.url), tools=[strict_weather]).run_sync("weather?").output == "Sunny."


@pytest.mark.parametrize("model", [chat, responses])
def test_errors_name_the_model(stage, model):
    with pytest.raises(ModelHTTPError) as problem:
        Agent(model(stage.url, "nothing")).run_sync("x")
    assert problem.value.status_code == 404


@pytest.mark.slow
@every
def test_the_embedded_model_answers(pocket, model):
    assert Agent(model(pocket, "pocket"), model_settings={"temperature": 0}).run_sync("Hello, who are you?").output


@pytest.mark.slow
def test_the_embedded_model_calls_a_tool(pocket):
    called = []

    def get_weather(city: str) -> str:
        """Get the current weather of a city."""
        called.append(city)
        return "sunny"

    Agent(chat(pocket, "pocket"), tools=[get_weather], model_settings={"temperature": 0}).run_sync(
        "What is the weather in Lisbon?"
    )
    assert called == ["Lisbon"]


@pytest.mark.slow
def test_the_embedded_model_fills_a_schema(pocket):
    agent = Agent(chat(pocket, "pocket"), output_type=NativeOutput(Mood), model_settings={"temperature": 0})
    assert agent.run_sync("I am so happy!").output.mood in ("glad", "sad")
