"""Hugging Face's smolagents: agents that call tools, and agents that write code."""

from typing import Any

import pytest
from smolagents import CodeAgent, OpenAIServerModel, ToolCallingAgent, tool
from smolagents.models import ChatMessageStreamDelta, agglomerate_stream_deltas


@tool
def weather(city: str) -> str:
    """The weather of a city.

    Args:
        city: The city.
    """
    return f"{city} is sunny"


@tool
def broken(city: str) -> str:
    """Always fails.

    Args:
        city: The city.
    """
    raise RuntimeError("no such city")


def model(url, name="m", **more) -> Any:
    return OpenAIServerModel(name, api_base=f"{url}/v1", api_key="x", client_kwargs={"max_retries": 0}, **more)


def caller(url, tools=(weather,), **more) -> Any:
    return ToolCallingAgent(tools=list(tools), model=model(url), verbosity_level=0, max_steps=4, **more)


def user(text) -> Any:
    return [{"role": "user", "content": [{"type": "text", "text": text}]}]


def test_a_message_and_its_usage(stage):
    stage.rehearse({"Hello?": "Hello, Ada."})
    message = model(stage.url)(user("Hello?"))
    assert message.content == "Hello, Ada."
    assert message.token_usage.output_tokens > 0


def test_a_stream_adds_up_to_the_message(stage, call):
    stage.rehearse({"both?": call("weather", city="Oslo") + "\n" + call("weather", city="Rome")})
    deltas = list(model(stage.url).generate_stream(user("both?"), tools_to_call_from=[weather]))
    assert all(isinstance(delta, ChatMessageStreamDelta) for delta in deltas)
    calls = agglomerate_stream_deltas(deltas).tool_calls
    assert [one.function.arguments for one in calls or []] == ['{"city": "Oslo"}', '{"city": "Rome"}']


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_calling_agent_works_to_the_end(stage, call, stream):
    stage.rehearse(
        {"in Oslo?": call("weather", city="Oslo"), "Oslo is sunny": call("final_answer", answer="No umbrella.")}
    )
    assert caller(stage.url, stream_outputs=stream).run("The weather in Oslo?") == "No umbrella."


def test_parallel_calls_are_all_answered(stage, call):
    calls = "\n".join(call("weather", city=city) for city in ("Oslo", "Rome"))
    stage.rehearse({"weather?": calls, "Rome is sunny": call("final_answer", answer="Both are sunny.")})
    assert caller(stage.url).run("weather?") == "Both are sunny."


def test_every_turn_is_a_call_since_the_client_requires_one(stage, call):
    stage.rehearse({"Say hi": "Hi there.", "is sunny": call("final_answer", answer="hi")})
    agent = caller(stage.url)
    agent.model.kwargs["max_tokens"] = 200
    agent.run("Say hi")
    assert agent.memory.steps[1].tool_calls


def test_a_tool_that_fails_tells_the_model(stage, call):
    stage.rehearse(
        {"weather?": call("broken", city="Oslo"), "no such city": call("final_answer", answer="I do not know.")}
    )
    assert caller(stage.url, [broken]).run("weather?") == "I do not know."


def test_an_agent_goes_on_with_its_memory(stage, call):
    stage.rehearse(
        {"I am Ada.": call("final_answer", answer="Hi Ada."), "Who am I?": call("final_answer", answer="Ada.")}
    )
    agent = caller(stage.url)
    agent.run("I am Ada.")
    assert agent.run("Who am I?", reset=False) == "Ada."


@pytest.mark.parametrize("stream", [False, True])
def test_a_code_agent_runs_what_the_model_writes(stage, stream):
    code = "Thought: I multiply.\n<code>\nfinal_answer(6 * 7)\n</code>"
    stage.rehearse({"product": code})
    agent = CodeAgent(tools=[], model=model(stage.url), verbosity_level=0, max_steps=2, stream_outputs=stream)
    assert agent.run("the product") == 42


def test_a_code_agent_calls_tools_from_code(stage):
    stage.rehearse(
        {
            "in Oslo?": "Thought: I look.\n<code>\nprint(weather(city='Oslo'))\n</code>",
            "Oslo is sunny": "Thought: I know.\n<code>\nfinal_answer('No umbrella.')\n</code>",
        }
    )
    agent = CodeAgent(tools=[weather], model=model(stage.url), verbosity_level=0, max_steps=3)
    assert agent.run("The weather in Oslo?") == "No umbrella."


def test_stop_texts_end_the_turn(stage):
    stage.rehearse({"Think": "Thought: yes.\nObservation: no."})
    assert model(stage.url)(user("Think"), stop_sequences=["Observation:"]).content == "Thought: yes.\n"


@pytest.mark.slow
def test_the_embedded_model_answers(pocket):
    assert model(pocket, "pocket", temperature=0)(user("Hello, who are you?")).content


@pytest.mark.slow
def test_the_embedded_model_calls_a_tool(pocket):
    message = model(pocket, "pocket", temperature=0)(user("The weather in Lisbon?"), tools_to_call_from=[weather])
    assert message.tool_calls[0].function.name == "weather"


@pytest.mark.slow
def test_the_embedded_model_streams(pocket):
    deltas = list(model(pocket, "pocket", max_tokens=20).generate_stream(user("Say hello.")))
    assert any(delta.content for delta in deltas)
