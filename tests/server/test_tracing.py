"""OpenTelemetry spans, as a collector gets them over HTTP; and the engine's load in the metrics."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .calls import call

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector():
    """(URL, the spans that came)."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                raise AssertionError("spans are sent as they are")
            request = ExportTraceServiceRequest.FromString(body)
            spans.extend(s for r in request.resource_spans for scope in r.scope_spans for s in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
    server.shutdown()
    thread.join()
    server.server_close()


def attributes(span):
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in span.attributes}


def test_a_request_its_turns_and_its_tools_are_spans_of_the_callers_trace(
    collector, model_folder, make_engine, make_server
):
    endpoint, spans = collector
    script = [call("python", code="1/0"), "Sorry."]
    engine = make_engine(model_folder, lambda request: script.pop(0))
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)), served_model_name=("m",), otlp_traces_endpoint=endpoint
    )
    body = {"messages": [{"role": "user", "content": "go"}], "hosted_tools": ["python"], "seed": 3}
    with make_server(config, engine) as url:
        httpx.post(
            f"{url}/v1/chat/completions", json=body, headers={"traceparent": f"00-{TRACE}-{CALLER}-01"}, timeout=60
        )
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    names = [span.name for span in spans]
    assert names == ["chat m", "execute_tool python", "chat m", "POST /v1/chat/completions"]
    first, tool, last, request = spans
    assert request.parent_span_id.hex() == CALLER
    assert {span.parent_span_id for span in (first, tool, last)} == {request.span_id}
    about = attributes(first)
    assert about["gen_ai.usage.input_tokens"] == len(engine.requests[0].prompt)
    assert about["gen_ai.usage.output_tokens"] == len(engine.tokenizer.encode(call("python", code="1/0"))) + 1
    assert (about["gen_ai.usage.cache_read.input_tokens"], about["gen_ai.request.seed"]) == (7, 3)
    assert attributes(tool)["error.type"] == "error"
    assert attributes(request)["http.response.status_code"] == 200
    assert not any("go" in str(attributes(span).values()) for span in spans)


def test_without_its_packages_it_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("agenthost.server.config.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="agenthost\\[otel\\]"):
        ServerConfig(otlp_traces_endpoint="http://x")
