"""The hosted loop on a scripted engine, with tools made for the test: what is called, in which order, what it costs."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest
from agenthost.engine import EngineError, Tokenizer
from agenthost.server.agent.agent import Agent
from agenthost.server.agent.dispatch import cap
from agenthost.server.agent.events import Answer, CallFinished, CallStarted, Failed, StepFinished, Text
from agenthost.server.agent.plan import Limits
from agenthost.server.chat.model import ChatModel
from agenthost.tools import Session
from agenthost.tools.spec import Annotations, Registry, Tool, ToolContext, ToolResult, ToolSpec, parameters

from .calls import call

NUMBER: Any = {"type": "integer"}


class Recorder(Tool):
    """A tool that notes when it starts and ends; ``work`` is awaited in between."""

    def __init__(self, name, log, *, reads=False, work=None, text: str | Exception = "done"):
        self.spec = ToolSpec(name, f"The tool {name}.", parameters({"x": NUMBER}), Annotations(read_only=reads))
        self.log = log
        self.work = work
        self.text = text

    async def call(self, arguments, context):
        self.log.append(("start", self.spec.name, arguments))
        try:
            if self.work:
                await self.work()
            if isinstance(self.text, Exception):
                raise self.text
            return ToolResult(self.text)
        finally:
            self.log.append(("end", self.spec.name))


class World:
    """An agent over a scripted engine."""

    def __init__(self, folder: Path, make_engine, tools=(), **options):
        self.script: list[Any] = []
        self.engine = make_engine(folder, lambda request: self.script.pop(0))
        self.tokenizer: Tokenizer = self.engine.tokenizer
        self.model = ChatModel.load(folder, self.tokenizer)
        self.tools = Registry.of(tools)
        self.options = options
        self.agent: Agent

    async def work(self, task, *script):
        """All events of ``task`` when the model says the texts of ``script`` one after the other."""
        self.script[:] = script
        if not hasattr(self, "agent"):
            info = await self.engine.ready()
            context = ToolContext(cast(Session, None))  # these tools use no session
            self.agent = Agent(self.engine, self.model, info, self.tools, context, **self.options)
        async with self.agent.run(task) as events:
            return [event async for event in events]

    def run(self, task, *script):
        return asyncio.run(self.work(task, *script))


@pytest.fixture
def world(model_folder, make_engine):
    return lambda tools=(), **options: World(model_folder, make_engine, tools, **options)


def test_calls_until_the_model_answers(world):
    log = []
    agent = world([Recorder("f", log, text="42")])
    events = agent.run("go", "Let me see.\n" + call("f", '{"x": 1}'), "It is 42.")
    assert log == [("start", "f", {"x": 1}), ("end", "f")]
    started = next(e for e in events if isinstance(e, CallStarted))
    finished = next(e for e in events if isinstance(e, CallFinished))
    assert (started.tool, started.arguments) == ("f", '{"x": 1}')
    assert (finished.id, finished.output, finished.is_error) == (started.id, "42", False)
    assert "".join(e.text for e in events if isinstance(e, Text)) == "Let me see.It is 42."
    assert events[-1] == Answer("It is 42.")
    steps = [e for e in events if isinstance(e, StepFinished)]
    assert [s.usage.cached_tokens for s in steps] == [7, 7]
    assert steps[1].usage.prompt_tokens > steps[0].usage.prompt_tokens


def test_every_prompt_continues_the_last_one_token_for_token(world):
    agent = world([Recorder("f", [])])
    agent.run("go", call("f", '{ "x" :1}'), call("f") + "\n" + call("f"), "done")
    asked = [(request.prompt, request.program) for request in agent.engine.requests]
    end = agent.tokenizer.eos_token_ids[0]
    written = [*agent.tokenizer.encode(call("f", '{ "x" :1}')), end]
    assert asked[1][0][: len(asked[0][0]) + len(written)] == asked[0][0] + written
    assert asked[2][0][: len(asked[1][0])] == asked[1][0]
    assert len({program for _, program in asked}) == 1


def test_a_second_task_continues_the_conversation(world):
    agent = world()

    async def talk():
        return [await agent.work("one", "first"), await agent.work("two", "second")]

    assert [events[-1] for events in asyncio.run(talk())] == [Answer("first"), Answer("second")]
    first, second = (request.prompt for request in agent.engine.requests)
    assert second[: len(first)] == first


def test_reading_calls_run_together_and_others_alone_in_order(world):
    log = []
    both = asyncio.Event()

    async def meet():
        """Returns when both readers are at work, which they are only when they run side by side."""
        if log.count(("start", "read", {})) == 2:
            both.set()
        await both.wait()

    tools = [Recorder("read", log, reads=True, work=meet), Recorder("write", log)]
    agent = world(tools)
    events = agent.run("go", "\n".join(call(name) for name in ("read", "read", "write", "write")), "ok")
    assert [entry[:2] for entry in log] == [
        ("start", "read"), ("start", "read"), ("end", "read"), ("end", "read"),
        ("start", "write"), ("end", "write"), ("start", "write"), ("end", "write"),
    ]  # fmt: skip
    assert events[-1] == Answer("ok")


@pytest.mark.parametrize(
    ("written", "told"),
    [
        (call("nope"), "Error: there is no tool named 'nope'. Available tools: f."),
        (call("f", '{"x": "a"}'), "Error: wrong arguments for f: ['x']: 'a' is not of type 'integer'."),
        (call("f", '{"x": }'), "Error: the arguments of f are not valid JSON:"),
    ],
)
def test_a_bad_call_is_told_to_the_model(world, written, told):
    log = []
    events = world([Recorder("f", log)]).run("go", written, "sorry")
    finished = next(e for e in events if isinstance(e, CallFinished))
    assert finished.is_error
    assert finished.output.startswith(told)
    assert log == []
    assert events[-1] == Answer("sorry")


def test_a_tool_with_a_bug_ends_neither_the_task_nor_the_server(world):
    events = world([Recorder("f", [], text=RuntimeError("secret path"))]).run("go", call("f"), "sorry")
    assert next(e for e in events if isinstance(e, CallFinished)).output == "Error: f failed unexpectedly."
    assert events[-1] == Answer("sorry")


def test_long_outputs_are_cut_in_the_middle(world):
    agent = world([Recorder("f", [], text="a" * 500 + "b" * 500)], limits=Limits(max_output=90))
    events = agent.run("go", call("f"), "ok")
    output = next(e for e in events if isinstance(e, CallFinished)).output
    assert output == "a" * 60 + "\n[... 910 characters left out ...]\n" + "b" * 30
    assert cap("short", 90) == "short"


@pytest.mark.parametrize(
    ("limits", "script", "reason"),
    [
        (Limits(max_steps=2), [call("f"), call("f")], "max_steps"),
        (Limits(max_tool_calls=3), [call("f"), "\n".join([call("f")] * 3)], "max_tool_calls"),
        (Limits(max_turn_tokens=20), ["This is a long answer."], "length"),
        (Limits(max_turn_tokens=50), [call("f", '{"x": 1234567}')], "length"),
        (Limits(), ["  \n"], "empty"),
        (Limits(), [EngineError("it broke")], "engine"),
        (Limits(), [["half", EngineError("it broke")]], "engine"),
        (Limits(max_output=5000), [call("f")], "context_length_exceeded"),
    ],
)
def test_gives_up_with_a_reason(world, limits, script, reason):
    agent = world([Recorder("f", [], text="x" * (limits.max_output or 5))], limits=limits)
    last = agent.run("go", *script)[-1]
    assert isinstance(last, Failed)
    assert last.reason == reason


def test_leaving_early_stops_the_tool(world):
    log = []
    started = asyncio.Event()

    async def forever():
        started.set()
        await asyncio.Event().wait()

    agent = world([Recorder("f", log, work=forever)])

    async def leave():
        agent.script[:] = [call("f")]
        info = await agent.engine.ready()
        running = Agent(agent.engine, agent.model, info, agent.tools, ToolContext(cast(Session, None)))
        async with running.run("go") as events:
            async for event in events:
                if isinstance(event, CallStarted):
                    await started.wait()
                    break

    asyncio.run(leave())
    assert log == [("start", "f", {}), ("end", "f")]


def test_leaving_early_stops_the_model(world):
    agent = world()

    async def leave():
        agent.engine.gate = asyncio.Event().wait
        agent.script[:] = ["an answer without end"]
        info = await agent.engine.ready()
        running = Agent(agent.engine, agent.model, info, agent.tools, ToolContext(cast(Session, None)))
        async with running.run("go") as events:
            await anext(aiter(events))

    asyncio.run(leave())
    assert agent.engine.aborted == [agent.engine.requests[0].id]
