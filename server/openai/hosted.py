"""Chat completions whose tools run here: ``hosted_tools`` in the request, the steps that were taken in the answer.

An extension of OpenAI's API. A request names groups (``python``, ``files``, ``browser``, ``all``), single tools, or
external MCP servers by their labels (``mcp`` for all of them, ``label__tool`` for one tool); tools of its own may stand
beside them, and a call of those ends the answer as usual. What the model says in several steps is one content, with an
empty line between the steps. Each call of a hosted tool is reported as a step::

    {"type": "tool_call", "id": "call_...", "name": "python", "arguments": "{\\"code\\": \\"6*7\\"}",
     "status": "in_progress" | "completed" | "failed", "output": "42", "seconds": 0.01, "state_lost": true}

(``state_lost`` only where variables of earlier calls are gone), whole in ``message.steps``, or in a stream several
times in ``delta.steps``: when the tool begins, with ``progress`` when it tells news (``done``, ``total``, ``message``,
``output``), and when it is done.
``session_id`` in answer and chunks names the workspace; send it along to go on in it.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from functools import partial

import msgspec
from fastapi import Request, Response

from ...tools.interaction import Progress
from ..agent.events import (
    Answer,
    Call,
    CallFinished,
    CallProgress,
    CallStarted,
    Event,
    Failed,
    HandedOver,
    Reasoning,
    StepFinished,
    StepStarted,
    Text,
)
from ..agent.running import running
from ..http.caller import caller_of
from ..http.disconnect import until_disconnect
from ..http.events import DONE, EventStream, Write, event
from ..json_values import JsonObject
from . import wire
from .errors import ApiError, from_engine
from .failed import STOPPED, failed
from .hosted_task import HostedTask, begin
from .prepare import open_ended
from .schemas import ChatRequest


async def answer(request: Request, chat: ChatRequest, name: str) -> Response:
    """Answer ``chat`` under the model's ``name``, whole or streamed."""
    _check(chat)
    state, caller = request.app.state, caller_of(request.scope)
    task = await until_disconnect(
        request.receive, lambda: begin(chat, state.served, state.hands, state.external, caller)
    )
    report = _Report(name, task, thoughts=chat.include_reasoning is not False)
    if chat.stream:
        include_usage = chat.stream_options is not None and bool(chat.stream_options.include_usage)
        produce = partial(_stream, report, include_usage=include_usage)
        return EventStream(produce, task.aclose, stopped=STOPPED)
    content = await until_disconnect(request.receive, lambda: _whole(report))
    return Response(content, media_type="application/json")


def _check(chat: ChatRequest) -> None:
    if (chat.n or 1) > 1:
        raise ApiError("With hosted_tools there is one choice: leave n out.", code="unsupported_value", param="n")
    if chat.logprobs:
        raise ApiError("logprobs do not go with hosted_tools.", code="unsupported_value", param="logprobs")
    if chat.return_token_ids:
        message = "return_token_ids does not go with hosted_tools."
        raise ApiError(message, code="unsupported_value", param="return_token_ids")
    if open_ended(chat):
        raise ApiError(
            "With hosted_tools the assistant begins a turn of its own: leave continue_final_message and "
            "add_generation_prompt out.",
            code="unsupported_value",
            param="continue_final_message" if chat.continue_final_message else "add_generation_prompt",
        )


@dataclass
class _Report:
    """What has come of a task so far, in chat completions' terms; with ``thoughts`` what the model thought too."""

    name: str
    task: HostedTask
    thoughts: bool = True
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(16)}")
    created: int = field(default_factory=lambda: int(time.time()))
    content: str = ""
    reasoning: str = ""
    steps: dict[str, JsonObject] = field(default_factory=dict)
    handed: tuple[Call, ...] = ()
    finish_reason: wire.FinishReason = "stop"
    usage: wire.Usage = field(
        default_factory=lambda: wire.Usage(0, 0, 0, wire.PromptDetails(0), wire.CompletionDetails())
    )
    _separate: bool = False

    def take(self, happened: Event) -> JsonObject | None:
        """The delta that shows what happened, None when there is nothing to show. Raises :class:`ApiError`."""
        match happened:
            case StepStarted():
                self._separate = bool(self.content)
            case Reasoning() if self.thoughts:
                self.reasoning += happened.text
                return {"reasoning": happened.text, "reasoning_content": happened.text}
            case Text():
                text = f"\n\n{happened.text}" if self._separate else happened.text
                self._separate = False
                self.content += text
                return {"content": text}
            case CallStarted():
                step = {"type": "tool_call", "id": happened.id, "name": happened.tool, "arguments": happened.arguments}
                self.steps[happened.id] = {**step, "status": "in_progress"}
                return {"steps": [self.steps[happened.id]]}
            case CallProgress():
                return {"steps": [{**self.steps[happened.id], "progress": _progress(happened.progress)}]}
            case CallFinished():
                status = "failed" if happened.is_error else "completed"
                done: JsonObject = {"status": status, "output": happened.output, "seconds": round(happened.seconds, 3)}
                if happened.result is not None and happened.result.state_lost:
                    done["state_lost"] = True
                self.steps[happened.id] = {**self.steps[happened.id], **done}
                return {"steps": [self.steps[happened.id]]}
            case StepFinished():
                self._count(happened)
            case HandedOver():
                self.handed = happened.calls
                self.finish_reason = "tool_calls"
                return {"tool_calls": [{"index": index, **call} for index, call in enumerate(self.tool_calls())]}
            case Answer():
                self.finish_reason = happened.finish_reason
            case Failed("length" | "max_steps"):
                self.finish_reason = "length"
            case Failed():
                raise failure(happened)
        return None

    def tool_calls(self) -> list[JsonObject]:
        return [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in self.handed
        ]

    def ended(self) -> None:
        """The client will send this turn back as it has seen it."""
        self.task.conversation.show(self.content, [(call.id, call.name, call.arguments) for call in self.handed])

    def head(self, kind: str) -> JsonObject:
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.name, "system_fingerprint": None}
        return {**head, "session_id": self.task.session.id if self.task.session is not None else None}

    def _count(self, step: StepFinished) -> None:
        usage = self.usage
        usage.prompt_tokens += step.usage.prompt_tokens
        usage.completion_tokens += step.usage.completion_tokens
        usage.total_tokens = usage.prompt_tokens + usage.completion_tokens
        usage.prompt_tokens_details.cached_tokens += step.usage.cached_tokens
        usage.completion_tokens_details.reasoning_tokens += step.usage.reasoning_tokens


def _progress(progress: Progress) -> JsonObject:
    shown = {"done": progress.done, "total": progress.total, "message": progress.message, "output": progress.output}
    return {key: value for key, value in shown.items() if value is not None}


def failure(failed: Failed) -> ApiError:
    """What a loop's failure means to a client."""
    if failed.cause is not None:
        return from_engine(failed.cause)
    if failed.reason in ("context_length_exceeded", "template"):
        code = "context_length_exceeded" if failed.reason == "context_length_exceeded" else "invalid_value"
        return ApiError(failed.message, code=code, param="messages")
    return ApiError(failed.message, status=500, code="server_error")


async def _whole(report: _Report) -> bytes:
    async with report.task, running(report.task.run) as events:
        async for happened in events:
            report.take(happened)
    report.ended()
    message: JsonObject = {"role": "assistant", "content": report.content or None, "refusal": None}
    if report.reasoning:
        message["reasoning"] = message["reasoning_content"] = report.reasoning
    if report.handed:
        message["tool_calls"] = report.tool_calls()
    elif message["content"] is None:
        message["content"] = ""
    message["steps"] = list(report.steps.values())
    choice = {"index": 0, "message": message, "finish_reason": report.finish_reason, "logprobs": None}
    return msgspec.json.encode({**report.head("chat.completion"), "choices": [choice], "usage": report.usage})


async def _stream(report: _Report, write: Write, *, include_usage: bool) -> None:
    def chunk(delta: JsonObject, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        usage = {"usage": None} if include_usage else {}
        return event(msgspec.json.encode({**report.head("chat.completion.chunk"), "choices": [choice], **usage}))

    try:
        async with report.task, running(report.task.run) as events:
            await write(chunk({"role": "assistant", "content": "", "refusal": None}))
            async for happened in events:
                delta = report.take(happened)
                if delta is not None:
                    await write(chunk(delta))
        report.ended()
        await write(chunk({}, report.finish_reason))
        if include_usage:
            last = {**report.head("chat.completion.chunk"), "choices": [], "usage": report.usage}
            await write(event(msgspec.json.encode(last)))
    except Exception as error:
        await write(failed(error))
    await write(DONE)
