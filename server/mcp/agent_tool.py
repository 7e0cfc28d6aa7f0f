"""The `agent` tool: a task for the model that is served here, which works on it with the hosted tools."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from ...engine import AsyncEngine, EngineError, EngineInfo
from ...tools import Progress, Registry, Tool, ToolContext, ToolError, ToolResult, ToolSpec
from ...tools.interaction import Ask, Report
from ...tools.remote.search import deferred
from ...tools.spec import Annotations, JsonObject, parameters
from ..agent.agent import Agent
from ..agent.events import Answer, CallFinished, CallProgress, CallStarted, Event, Failed, StepFinished
from ..agent.plan import Limits
from ..chat.model import ChatModel

AGENT = ToolSpec(
    name="agent",
    description="Give a task to the language model that runs on this server. It works with the same tools in the same "
    "workspace, and returns its answer. It sees nothing but the task: say in it all that it needs to know.",
    parameters=parameters(
        {
            "task": {
                "type": "string",
                "minLength": 1,
                "description": "What is to be done, and how the answer should look",
            },
            "max_steps": {"type": "integer", "minimum": 1, "maximum": 100, "description": "Turns of the model at most"},
        },
        ["task"],
    ),
    annotations=Annotations(destructive=True),
    output={
        "type": "object",
        "properties": {"answer": {"type": "string"}, "tool_calls": {"type": "integer"}},
        "required": ["answer", "tool_calls"],
    },
    timeout=1800.0,
)

ExternalTools = Callable[[Ask | None], Awaitable[Sequence[Tool]]]
Model = tuple[AsyncEngine, ChatModel, EngineInfo]


class AgentTool(Tool):
    """
    Args:
        model: gives what is served, and waits until it is loaded.
        tools: what the model may call.
        external: gives further tools, of external servers, whose calls somebody may have to approve.
    """

    spec = AGENT

    def __init__(
        self, model: Callable[[], Awaitable[Model]], tools: Registry, external: ExternalTools | None = None
    ) -> None:
        self._model = model
        self._tools = tools
        self._external = external

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        try:
            engine, model, info = await self._model()
        except EngineError as error:
            raise ToolError(f"the model cannot be used: {error}") from error
        limits = Limits(max_steps=arguments.get("max_steps", Limits().max_steps))
        others = [] if self._external is None else await self._external(context.ask)
        tools = Registry.of([*self._tools.tools.values(), *deferred(others, info.max_model_len)])
        agent = Agent(engine, model, info, tools, ToolContext(context.session, ask=context.ask), limits=limits)
        news = _News(context.report)
        async with agent.run(arguments["task"]) as events:
            async for event in events:
                match event:
                    case Answer():
                        structured = {"answer": event.text, "tool_calls": news.calls}
                        return ToolResult(event.text, structured=structured)
                    case Failed():
                        raise ToolError(event.message)
                    case _:
                        await news.tell(event)
        raise ToolError("the agent ended without an answer. Try again.")


class _News:
    """Tells how far the agent is: one step of progress for each turn and each call."""

    def __init__(self, report: Report | None) -> None:
        self._report = report
        self._done = 0
        self.calls = 0

    async def tell(self, event: Event) -> None:
        match event:
            case StepFinished():
                message = f"turn {event.step}: {event.usage.completion_tokens} tokens"
            case CallStarted():
                self.calls += 1
                message = f"calls {event.tool}"
            case CallFinished():
                message = f"{event.tool} {'failed' if event.is_error else 'is done'} after {event.seconds:.1f} s"
            case CallProgress():
                message = f"{event.tool}: {event.progress.message or event.progress.output or event.progress.done}"
            case _:
                return
        self._done += 1
        if self._report is not None:
            await self._report(Progress(self._done, message=message))
