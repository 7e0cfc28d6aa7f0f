"""OpenAI's Agents SDK, unmodified, on a model that follows a script."""

import asyncio
import json

import agents
import openai
import pytest
from agenthost.engine import EngineError
from agents import Agent, CodeInterpreterTool, OpenAIResponsesModel, Runner, function_tool
from openai.types.responses.tool_param import CodeInterpreter

agents.set_tracing_disabled(True)
CODE = CodeInterpreterTool(CodeInterpreter(type="code_interpreter", container={"type": "auto"}))


def call(name, **arguments):
    return f'<tool_call>\n{{"name": "{name}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


def run(url, work, **options):
    """What ``work`` makes of an agent on the server's model."""

    async def running():
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            return await work(Agent("a", model=OpenAIResponsesModel("m", client), **options))

    return asyncio.run(running())


def test_a_function_tool_is_called_and_the_answer_comes(scripted):
    scripted.says(call("weather", city="Oslo"), "Sunny in Oslo.")
    result = run(scripted.url, lambda agent: Runner.run(agent, "weather?"), instructions="Be brief.", tools=[weather])
    assert result.final_output == "Sunny in Oslo."
    one, two = scripted.engine.requests
    written = scripted.engine.tokenizer.encode(call("weather", city="Oslo"))
    assert two.prompt[: len(one.prompt) + len(written)] == one.prompt + written


def test_a_hosted_code_interpreter_works_inside_one_turn(scripted):
    scripted.says(call("python", code="6*7"), "It is 42.")

    async def work(agent):
        result = Runner.run_streamed(agent, "go")
        kinds = [event.data.type async for event in result.stream_events() if event.type == "raw_response_event"]
        return result, kinds

    result, kinds = run(scripted.url, work, tools=[CODE])
    assert result.final_output == "It is 42."
    assert "response.code_interpreter_call.completed" in kinds
    assert kinds[-1] == "response.completed"


def test_a_conversation_goes_on_by_response_id(scripted):
    scripted.says("Hi Ada.", "Ada.")

    async def talk(agent):
        first = await Runner.run(agent, "I am Ada.")
        return await Runner.run(agent, "Who am I?", previous_response_id=first.last_response_id)

    assert run(scripted.url, talk).final_output == "Ada."
    first, second = scripted.engine.requests
    written = [*first.prompt, *scripted.engine.tokenizer.encode("Hi Ada.")]
    assert second.prompt[: len(written)] == written


def test_a_failure_raises(scripted):
    scripted.engine.play = lambda request: EngineError("it broke")
    with pytest.raises(openai.InternalServerError, match="it broke"):
        run(scripted.url, lambda agent: Runner.run(agent, "go"))
