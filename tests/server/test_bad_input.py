"""What broken and hostile clients send: a clear error in OpenAI's shape or the lenient meaning, for them alone.

The scripted engine stands in for engine failures that a model cannot produce on demand.
"""

import asyncio
import json
import socket
import threading
import time
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import jsonschema
import pytest
from agenthost.engine.errors import (
    ContextOverflow,
    DeadlineExceeded,
    EngineDied,
    EngineError,
    InvalidRequest,
    Overloaded,
)
from agenthost.server.chat.schema_check import SchemaError, check_schema

HI = {"messages": [{"role": "user", "content": "hi"}]}
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {}}}


def tool(**function):
    return {"tools": [{"type": "function", "function": {**FUNCTION, **function}}]}


@pytest.fixture
def http(scripted):
    with httpx.Client(base_url=scripted.url, timeout=30) as client:
        yield client


def post(http, body, **options):
    return http.post("/v1/chat/completions", json=body, **options)


def error_of(response, status):
    assert response.status_code == status, response.text
    body = response.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["code"] is None or isinstance(error["code"], str)
    return error


def deep(levels):
    schema: dict = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"type": "string", "minLength": 0, "deprecated": True}}, "required": ["x"]},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "dependencies": {"x": ["y"], "z": {"const": 1}}},
        {"properties": {"x": 5}},
        {"properties": {"x": {"items": [{}]}}},
        {"allOf": [{"anyOf": [{"if": {"not": {"type": "nonsense"}}}]}]},
        {"unevaluatedProperties": {"minItems": -1}},
        {"$defs": {"a": {"$id": "a#b"}}},
        {"dependencies": {"x": ["y", "y"]}},
        {"$anchor": "#"},
        {"contentSchema": []},
        {"properties": {"x": {"pattern": "("}}},
    ],
)
def test_a_schema_is_checked_by_the_metaschema(schema):
    try:
        jsonschema.Draft202012Validator.check_schema(schema)
    except jsonschema.SchemaError:
        with pytest.raises(SchemaError, match="not a valid JSON Schema"):
            check_schema(schema)
    else:
        check_schema(schema)


def test_the_largest_schemas_are_checked_in_reasonable_time():
    begun = time.thread_time()
    check_schema({"properties": {f"p{number}": {} for number in range(5_000)}})
    assert time.thread_time() - begun < 2


BODIES = {
    "no messages": ({}, "missing_required_parameter", "messages"),
    "empty messages": ({"messages": []}, "invalid_value", "messages"),
    "messages are text": ({"messages": "hi"}, "invalid_type", "messages"),
    "a message is text": ({"messages": ["hi"]}, "invalid_type", "messages[0]"),
    "no role": ({"messages": [{"content": "hi"}]}, "invalid_value", "messages[0]"),
    "unknown role": ({"messages": [{"role": "robot", "content": "hi"}]}, "invalid_value", "messages[0]"),
    "content is a number": ({"messages": [{"role": "user", "content": 7}]}, "invalid_value", "messages[0]"),
    "an image": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "invalid_value", "messages[0]",
    ),
    "a part without text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "invalid_value", "messages[0]"
    ),
    "a call without a function": (
        {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]}, "invalid_value", "messages[0]"
    ),
    "negative max_tokens": ({**HI, "max_tokens": -1}, "invalid_value", "max_tokens"),
    "zero max_completion_tokens": ({**HI, "max_completion_tokens": 0}, "invalid_value", "max_completion_tokens"),
    "max_tokens beyond 64 bits": ({**HI, "max_tokens": 10**30}, "invalid_value", "max_tokens"),
    "max_tokens is text": ({**HI, "max_tokens": "many"}, "invalid_value", "max_tokens"),
    "temperature": ({**HI, "temperature": -1}, "invalid_value", "temperature"),
    "top_p": ({**HI, "top_p": 0}, "invalid_value", "top_p"),
    "n": ({**HI, "n": 0}, "invalid_value", "n"),
    "many n": ({**HI, "n": 10**6}, "invalid_value", "n"),
    "logit_bias of no token": ({**HI, "logit_bias": {"x": 1}}, "invalid_value", "logit_bias"),
    "logit_bias beyond the vocabulary": ({**HI, "logit_bias": {"999999": 1}}, "invalid_value", "logit_bias"),
    "top_logprobs alone": ({**HI, "top_logprobs": 2}, "invalid_value", "top_logprobs"),
    "many top_logprobs": ({**HI, "logprobs": True, "top_logprobs": 99}, "invalid_value", "top_logprobs"),
    "many stops": ({**HI, "stop": ["x"] * 1000}, "invalid_value", "stop"),
    "seed beyond 64 bits": ({**HI, "seed": 2**70}, "invalid_value", "seed"),
    "unknown response_format": ({**HI, "response_format": {"type": "xml"}}, "invalid_value", "response_format.type"),
    "json_schema without one": (
        {**HI, "response_format": {"type": "json_schema"}},
        "missing_required_parameter", "response_format.json_schema.schema",
    ),
    "a bad response schema": (
        {**HI, "response_format": {"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}}},
        "invalid_json_schema", "response_format.json_schema.schema",
    ),
    "an unknown tool in tool_choice": (
        {**HI, **tool(), "tool_choice": {"type": "function", "function": {"name": "g"}}}, "invalid_value", "tool_choice"
    ),
    "required without tools": ({**HI, "tool_choice": "required"}, "invalid_value", "tool_choice"),
    "a bad tool schema": (
        {**HI, **tool(parameters={"type": "object", "properties": {"x": {"type": "nonsense"}}})},
        "invalid_function_parameters", "tools[0].function.parameters",
    ),
    "a tool schema of a list": (
        {**HI, **tool(parameters={"type": "array"})}, "invalid_function_parameters", "tools[0].function.parameters"
    ),
    "a deep tool schema": (
        {**HI, **tool(parameters=deep(60))}, "invalid_function_parameters", "tools[0].function.parameters"
    ),
    "a huge tool schema": (
        {**HI, **tool(parameters={"type": "object", "description": "x" * 70_000})},
        "invalid_function_parameters", "tools[0].function.parameters",
    ),
    "a tool's bad pattern": (
        {**HI, **tool(parameters={"type": "object", "properties": {"x": {"type": "string", "pattern": "("}}})},
        "invalid_function_parameters", "tools[0].function.parameters",
    ),
    "a tool's bad name": ({**HI, **tool(name='a"b')}, "invalid_value", "tools[0].function.name"),
    "a tool without a name": (
        {**HI, "tools": [{"type": "function", "function": {}}]}, "missing_required_parameter", "tools[0].function.name"
    ),
    "a tool of another type": ({**HI, "tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
    "two tools of one name": (
        {**HI, "tools": [{"type": "function", "function": FUNCTION}] * 2}, "invalid_value", "tools[1].function.name"
    ),
    "tool_choice is nonsense": ({**HI, **tool(), "tool_choice": "sometimes"}, "invalid_value", "tool_choice"),
    "a list": ([1], "invalid_type", None),
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("case", BODIES)
def test_a_bad_body_gets_a_400_that_names_the_field(http, scripted, case, stream):
    body, code, param = BODIES[case]
    error = error_of(post(http, {**body, "stream": stream} if isinstance(body, dict) else body), 400)
    assert (error["code"], error["param"], error["type"]) == (code, param, "invalid_request_error")
    assert scripted.engine.requests == []
    assert post(http, HI).status_code == 200


RAW = {
    "not JSON": b"{nope",
    "empty": b"",
    "cut": b'{"messages": [',
    "not UTF-8": b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}',
    "very deep": b'{"messages": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("case", RAW)
def test_a_body_that_is_not_json_gets_a_400(http, case):
    response = http.post("/v1/chat/completions", content=RAW[case], headers={"Content-Type": "application/json"})
    assert error_of(response, 400)["code"] == "invalid_json"


LENIENT = {
    "null content": [{"role": "user", "content": None}],
    "no content": [{"role": "assistant"}],
    "content as parts": [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}, "c"]}
    ],
    "a tool message without a call": [{"role": "tool", "content": "42"}, {"role": "user", "content": "what?"}],
    "arguments that are not JSON": [
        {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{broken"}}]}
    ],
    "only a system message": [{"role": "system", "content": "Be brief."}],
    "the old function role": [{"role": "function", "name": "f", "content": "42"}],
    "half a character": [{"role": "user", "content": "\ud83d"}],
    "half a character in arguments": [
        {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": '{"q": "\\ud83d"}'}}]}
    ],
}  # fmt: skip


@pytest.mark.parametrize("case", LENIENT)
def test_odd_messages_mean_what_users_expect(http, scripted, case):
    body = json.dumps({"messages": LENIENT[case]}).encode()
    response = http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 200, response.text
    assert response.json()["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize(
    ("path", "definition"),
    [
        ("chat/completions", {"type": "function", "function": FUNCTION}),
        ("responses", {"type": "function", **FUNCTION}),
        ("messages", {"name": "f", "input_schema": {"type": "object"}}),
    ],
)
def test_a_model_may_write_half_a_character(http, scripted, path, definition):
    scripted.says('<tool_call>\n{"name": "f", "arguments": {"q": "\\ud83d"}}\n</tool_call>')
    chat = {"input": "hi"} if path == "responses" else HI
    response = http.post(f"/v1/{path}", json={"model": "m", "max_tokens": 99, **chat, "tools": [definition]})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize(
    "extra",
    [
        {"tools": []},
        {"tools": None, "tool_choice": "auto"},
        {"tools": [], "tool_choice": "none", "parallel_tool_calls": True},
        {"functions": [], "no_such_field": {"a": [1]}, "metadata": {"x": "y"}},
        {"stop": ""},
        {"stop": []},
        {"max_tokens": None, "temperature": None, "stream": None, "logit_bias": None},
        {"model": None},
        {"stream": True, "stream_options": {"include_usage": None, "continuous_usage_stats": None}},
    ],
)
def test_empty_and_unknown_fields_are_no_errors(http, scripted, extra):
    assert post(http, {**HI, **extra}).status_code == 200
    assert scripted.engine.requests[-1].sampling.grammar is None


def test_an_unknown_model_gets_openais_404(http):
    error = error_of(post(http, {**HI, "model": "gpt-99"}), 404)
    assert (error["code"], error["param"]) == ("model_not_found", "model")


def test_too_long_a_conversation_gets_the_words_that_clients_look_for(http):
    error = error_of(post(http, {"messages": [{"role": "user", "content": "x" * 5000}]}), 400)
    assert error["code"] == "context_length_exceeded"
    assert "maximum context length is 4000 tokens" in error["message"]


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (InvalidRequest("the grammar is bad", "grammar"), 400, "invalid_json_schema"),
        (InvalidRequest("the bias is bad", "logit_bias"), 400, "invalid_value"),
        (ContextOverflow("too long"), 400, "context_length_exceeded"),
        (Overloaded("the queue is full"), 429, "rate_limit_exceeded"),
        (EngineDied("it died"), 503, "engine_restarting"),
        (DeadlineExceeded("too late"), 504, "timeout"),
        (EngineError("it broke"), 500, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_engine_errors_have_a_status_and_a_code(http, scripted, failure, status, code, stream):
    scripted.says(failure)
    assert error_of(post(http, {**HI, "stream": stream}), status)["code"] == code


def test_when_one_choice_is_refused_none_runs(http, scripted):
    script = iter(["a long answer", Overloaded("full")])
    scripted.engine.gate = never
    scripted.engine.play = lambda request: next(script)
    error_of(post(http, {**HI, "n": 2}), 429)
    assert scripted.engine.aborted == [scripted.engine.requests[0].id]


async def never():
    await asyncio.Event().wait()


def test_an_engine_that_dies_underway_ends_the_stream_with_an_error_event(http, scripted):
    scripted.says(["par", EngineDied("the engine died")])
    with http.stream("POST", "/v1/chat/completions", json={**HI, "stream": True}) as response:
        events = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    assert events[-1] == "[DONE]"
    assert json.loads(events[-2])["error"]["code"] == "engine_restarting"
    text = "".join(json.loads(e)["choices"][0]["delta"].get("content") or "" for e in events[:-2])
    assert text == "par"
    scripted.says(["par", EngineDied("the engine died")])
    assert error_of(post(http, HI), 503)["code"] == "engine_restarting"


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/models/other", 404, "model_not_found"),
        ("DELETE", "/health", 405, "method_not_allowed"),
    ],
)
def test_other_urls_and_methods_answer_in_the_same_shape(http, method, path, status, code):
    assert error_of(http.request(method, path), status)["code"] == code


def test_health_tells_what_the_engine_does(http, scripted):
    assert http.get("/health").json() == {"status": "ready", "model": "m"}
    scripted.engine.state = "restarting"
    try:
        response = http.get("/health")
        assert (response.status_code, response.json()["status"]) == (503, "restarting")
    finally:
        scripted.engine.state = "ready"


class Client:
    """A raw connection, for clients that vanish."""

    def __init__(self, url):
        place = urlsplit(url)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=30)
        self.host = place.netloc

    def post(self, body, *, length=None):
        data = json.dumps(body).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data) if length is None else length}\r\n\r\n"
        )
        self.socket.sendall(head.encode() + data)

    def close(self):
        self.socket.close()


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_vanishes_stops_its_generation_and_no_other(http, scripted, stream):
    aborted, running = threading.Event(), threading.Event()

    async def gate():
        running.set()
        await never()

    original = scripted.engine.abort

    def abort(request_id):
        original(request_id)
        aborted.set()

    scripted.engine.gate = gate
    scripted.engine.abort = abort
    try:
        with closing(Client(scripted.url)) as client:
            client.post({**HI, "stream": stream})
            if stream:
                assert b"200 OK" in client.socket.recv(4096)
            assert running.wait(30)
        assert aborted.wait(30)
    finally:
        del scripted.engine.abort
    scripted.engine.gate = None
    assert scripted.engine.aborted == [scripted.engine.requests[0].id]
    assert post(http, HI).status_code == 200


def test_half_a_body_disturbs_nobody(http, scripted):
    with closing(Client(scripted.url)) as client:
        client.post(HI, length=10_000)
    assert post(http, HI).status_code == 200
    assert len(scripted.engine.requests) == 1
