"""Spans for OpenTelemetry, by its conventions for generative AI; sent by OTLP over HTTP. Needs the extra ``otel``.

A request is a span, a child of the caller's where ``traceparent`` names one. Below it each turn of the model is a span
``chat MODEL``, and each call of a hosted tool is ``execute_tool NAME``. What was said is in none of them.
"""

from __future__ import annotations

import time

from opentelemetry import context, propagate, trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...engine import Request, TokenOutput
from .calls import ToolCall

_NANOSECONDS = 1_000_000_000


class _Turn:
    """Watches one request, see :class:`engine.streams.Watch`."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._begun = time.monotonic()
        self._tokens = 0

    def produced(self, output: TokenOutput) -> None:
        if not self._tokens:
            self._span.set_attribute("gen_ai.response.time_to_first_chunk", time.monotonic() - self._begun)
            self._span.set_attribute("gen_ai.usage.cache_read.input_tokens", output.cached_tokens)
        self._tokens += len(output.token_ids)
        if output.finish_reason is not None:
            self._span.set_attribute("gen_ai.response.finish_reasons", [output.finish_reason])

    def ended(self) -> None:
        if self._span.is_recording():
            self._span.set_attribute("gen_ai.usage.output_tokens", self._tokens)
            self._span.end()


class Tracing:
    """Watches the engine, see :class:`engine.streams.Watcher`.

    Args:
        endpoint: where spans are sent, such as ``http://localhost:4318/v1/traces``.
        model: what spans call the served model.
    """

    def __init__(self, endpoint: str, model: str) -> None:
        self._model = model
        self._provider = TracerProvider(resource=Resource.create({"service.name": "agenthost"}))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
        self.tracer = self._provider.get_tracer("agenthost")

    def close(self) -> None:
        """Send what has not been sent yet. Takes up to some seconds where nobody listens."""
        self._provider.shutdown()

    def watch(self, request: Request) -> _Turn:
        sampling = request.sampling
        asked = {"max_tokens": sampling.max_tokens, "temperature": sampling.temperature, "top_p": sampling.top_p,
                 "seed": sampling.seed}  # fmt: skip
        attributes = {
            "gen_ai.operation.name": "chat", "gen_ai.provider.name": "agenthost", "gen_ai.request.model": self._model,
            "gen_ai.usage.input_tokens": len(request.prompt),
            **{f"gen_ai.request.{name}": value for name, value in asked.items() if value is not None},
        }  # fmt: skip
        return _Turn(self.tracer.start_span(f"chat {self._model}", kind=SpanKind.INTERNAL, attributes=attributes))

    def called(self, call: ToolCall) -> None:
        """A call of a hosted tool is over."""
        now = time.time_ns()
        attributes = {
            "gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": call.tool, "gen_ai.tool.call.id": call.call_id,
        }  # fmt: skip
        begun = now - int(call.seconds * _NANOSECONDS)
        span = self.tracer.start_span(f"execute_tool {call.tool}", start_time=begun, attributes=attributes)
        if call.verdict != "ok":
            span.set_attribute("error.type", call.verdict)
            span.set_status(Status(StatusCode.ERROR))
        span.end(now)


class Traced:
    """ASGI middleware: a span for every request, to the end of its answer."""

    def __init__(self, app: ASGIApp, *, tracing: Tracing) -> None:
        self.app = app
        self._tracer = tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"]
        span = self._tracer.start_span(
            method, propagate.extract(headers), SpanKind.SERVER, attributes={"http.request.method": method}
        )

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                span.set_attribute("http.response.status_code", message["status"])
                if message["status"] >= 500:
                    span.set_status(Status(StatusCode.ERROR))
            await send(message)

        token = context.attach(trace.set_span_in_context(span))
        try:
            await self.app(scope, receive, noted)
        finally:
            context.detach(token)
            route = getattr(scope.get("route"), "path", None)
            if route is not None:
                span.update_name(f"{method} {route}")
                span.set_attribute("http.route", route)
            span.end()
