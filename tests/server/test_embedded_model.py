"""The embedded model behind the APIs, tools and all: nothing here is played."""

import asyncio
from typing import Any

import agents
import openai
import pytest
from agenthost.server.config import ServerConfig
from agents import Agent, CodeInterpreterTool, ModelSettings, OpenAIResponsesModel, Runner, function_tool
from openai.types.responses.tool_param import CodeInterpreter

agents.set_tracing_disabled(True)
CODE = CodeInterpreterTool(CodeInterpreter(type="code_interpreter", container={"type": "auto"}))


@function_tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city} is sunny"


@pytest.fixture(scope="module")
def pocket(make_server):
    with make_server(ServerConfig()) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=60) as client:
            client.responses.create(model="pocket", input="Hello", max_output_tokens=1)  # waits until it is loaded
        yield url


@pytest.mark.parametrize(
    ("task", "tools", "says"),
    [
        ("Use Python to compute 123 * 45.", [CODE], "5535"),
        ("What is the weather in Lisbon?", [weather], "sunny"),
        ("Hello, who are you?", [], ""),
    ],
)
def test_the_embedded_model_as_an_agent(pocket, task, tools, says):
    async def work():
        async with openai.AsyncOpenAI(base_url=f"{pocket}/v1", api_key="x") as client:
            model = OpenAIResponsesModel("pocket", client)
            settings = ModelSettings(temperature=0)
            return await Runner.run(Agent("a", model=model, tools=tools, model_settings=settings), task)

    result = asyncio.run(work())
    assert says in result.final_output
    assert result.final_output


def test_the_embedded_model_finds_its_whole_history_in_the_cache(pocket):
    code: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    common: Any = {"model": "pocket", "tools": [code], "temperature": 0}
    with openai.OpenAI(base_url=f"{pocket}/v1", api_key="x") as client:
        first: Any = client.responses.create(
            input="Use Python to compute 17 * 23.", include=["code_interpreter_call.outputs"], **common
        )
        [call] = [item for item in first.output if item.type == "code_interpreter_call"]
        assert [output.logs for output in call.outputs] == ["391"]
        second: Any = client.responses.create(
            input="Thanks!", previous_response_id=first.id, max_output_tokens=4, **common
        )
    # Only the words of the user's turn and the marks around it are new, and the last token before them.
    assert second.usage.input_tokens - second.usage.input_tokens_details.cached_tokens <= 16
