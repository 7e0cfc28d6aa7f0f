"""OpenAI's Agents SDK, unmodified, over Responses and over chat completions."""

import asyncio
from typing import Any

import openai
import pytest
from agents import (
    Agent,
    CodeInterpreterTool,
    ModelSettings,
    OpenAIChatCompletionsModel,
    OpenAIConversationsSession,
    OpenAIResponsesModel,
    Runner,
    function_tool,
)
from openai.types.responses.tool_param import CodeInterpreter
from pydantic import BaseModel

CODE = CodeInterpreterTool(CodeInterpreter(type="code_interpreter", container={"type": "auto"}))


class Person(BaseModel):
    name: str
    age: int


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


@function_tool
def broken(city: str) -> str:
    """Fails."""
    raise RuntimeError("no such city")


def run(url, work, *, name="m", kind=OpenAIResponsesModel, **options) -> Any:
    """What ``work`` makes of an agent on the server's model, and of the client."""

    async def running():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            return await work(Agent("a", model=kind(name, client), **options), client)

    return asyncio.run(running())


def ask(url, text, **options) -> Any:
    return run(url, lambda agent, _: Runner.run(agent, text), **options)


both = pytest.mark.parametrize("kind", [OpenAIResponsesModel, OpenAIChatCompletionsModel])


@both
def test_a_function_tool_is_called_and_the_answer_comes(stage, call, kind):
    stage.rehearse({"weather?": call("weather", city="Oslo"), "Oslo is sunny": "Sunny in Oslo."})
    result = ask(stage.url, "weather?", kind=kind, instructions="Be brief.", tools=[weather])
    assert result.final_output == "Sunny in Oslo."
    first, second = (response.usage for response in result.raw_responses)
    assert second.input_tokens_details.cached_tokens >= first.input_tokens + first.output_tokens - 1


@both
def test_parallel_calls_are_all_answered(stage, call, kind):
    calls = "\n".join(call("weather", city=city) for city in ("Oslo", "Rome"))
    stage.rehearse({"weather?": calls, "Rome is sunny": "Both are sunny."})
    result = ask(stage.url, "weather?", kind=kind, tools=[weather])
    assert [item.output for item in result.new_items if item.type == "tool_call_output_item"] == [
        "Oslo is sunny", "Rome is sunny",
    ]  # fmt: skip
    assert result.final_output == "Both are sunny."


@both
def test_an_output_type_is_parsed(stage, kind):
    stage.rehearse({"Who?": '{"name": "Ada", "age": 36}'})
    assert ask(stage.url, "Who?", kind=kind, output_type=Person).final_output == Person(name="Ada", age=36)


@both
def test_a_stream_ends_with_the_answer(stage, call, kind):
    stage.rehearse({"weather?": call("weather", city="Oslo"), "Oslo is sunny": "Sunny."})

    async def work(agent, _):
        result = Runner.run_streamed(agent, "weather?")
        text = ""
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                text += event.data.delta
        return text, result.final_output

    assert run(stage.url, work, kind=kind, tools=[weather]) == ("Sunny.", "Sunny.")


def test_a_hosted_code_interpreter_works_inside_one_turn(stage, call):
    stage.rehearse({"go": call("python", code="6*7"), "42": "It is 42."})

    async def work(agent, _):
        result = Runner.run_streamed(agent, "go")
        kinds = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
        return result, kinds

    result, kinds = run(stage.url, work, tools=[CODE])
    assert result.final_output == "It is 42."
    assert "response.code_interpreter_call.completed" in kinds
    assert kinds[-1] == "response.completed"


def test_a_conversation_goes_on_by_response_id(stage):
    stage.rehearse({"I am Ada.": "Hi Ada.", "Who am I?": "Ada."})

    async def talk(agent, _):
        first = await Runner.run(agent, "I am Ada.")
        return first, await Runner.run(agent, "Who am I?", previous_response_id=first.last_response_id)

    first, second = run(stage.url, talk)
    assert second.final_output == "Ada."
    before, after = first.raw_responses[0].usage, second.raw_responses[0].usage
    assert after.input_tokens_details.cached_tokens >= before.input_tokens + before.output_tokens - 1


def test_a_session_is_a_conversation_of_the_server(stage):
    stage.rehearse({"I am Ada.": "Hi Ada.", "Who am I?": "Ada."})

    async def talk(agent, client):
        session: Any = OpenAIConversationsSession(openai_client=client)
        await Runner.run(agent, "I am Ada.", session=session)
        result = await Runner.run(agent, "Who am I?", session=session)
        return result.final_output, len(await session.get_items())

    assert run(stage.url, talk) == ("Ada.", 4)


def test_a_handoff_goes_to_the_other_agent(stage, call):
    stage.rehearse({"Help": call("transfer_to_expert"), '"assistant": "expert"': "I am the expert."})

    async def work(agent, _):
        expert = Agent("expert", model=agent.model, instructions="You know everything.")
        return await Runner.run(Agent("desk", model=agent.model, handoffs=[expert]), "Help")

    result = run(stage.url, work)
    assert (result.final_output, result.last_agent.name) == ("I am the expert.", "expert")


def test_a_tool_that_fails_tells_the_model(stage, call):
    stage.rehearse({"weather?": call("broken", city="Oslo"), "rror": "I do not know."})
    assert ask(stage.url, "weather?", tools=[broken]).final_output == "I do not know."


def test_tool_choice_forces_a_call(stage):
    stage.rehearse({"Hi": "I will not call anything.", "is sunny": "So be it."})
    settings = ModelSettings(tool_choice="weather", max_tokens=300)
    result = ask(stage.url, "Hi", tools=[weather], model_settings=settings)
    assert [item.raw_item.name for item in result.new_items if item.type == "tool_call_item"] == ["weather"]


def test_a_failure_raises(stage):
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        ask(stage.url, "word " * 70_000)


@pytest.mark.parametrize(
    ("task", "tools", "says"),
    [
        ("Use Python to compute 123 * 45.", [CODE], "5535"),
        ("What is the weather in Lisbon?", [weather], "sunny"),
        ("Hello, who are you?", [], ""),
    ],
)
def test_the_embedded_model_as_an_agent(pocket, task, tools, says):
    result = ask(pocket, task, name="pocket", tools=tools, model_settings=ModelSettings(temperature=0))
    assert says in result.final_output
    assert result.final_output
