"""The whole server on the real engine: a tiny random model, which says nonsense but does everything else for real."""

import asyncio
import json
import os
import signal
import threading
from types import SimpleNamespace
from typing import Any

import httpx
import jsonschema
import openai
import pytest
from agenthost.engine import AsyncEngine, EngineConfig
from agenthost.server.config import ServerConfig

CONFIG = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 128,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "attention_bias": False, "vocab_size": 272,
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "pattern": "^[A-Z][a-zé ]{1,10}$"},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
        "unit": {"enum": ["C", "F"]},
    },
    "required": ["city", "days", "unit"],
    "additionalProperties": False,
}
TOOLS: Any = [
    {"type": "function", "function": {"name": "forecast", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now"}},
]
SCHEMAS = {"forecast": SCHEMA, "now": {"type": "object", "properties": {}}}


def user(text) -> Any:
    return [{"role": "user", "content": text}]


@pytest.fixture(scope="module", params=["tags as text", "tags as special tokens"])
def server(request, tmp_path_factory, write_model, make_server):
    special = ("<tool_call>", "</tool_call>") if request.param == "tags as special tokens" else ()
    folder = write_model(tmp_path_factory.mktemp("tiny"), special=special)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "eos_token_id": 258}))
    engine = AsyncEngine(EngineConfig(model=str(folder), dummy_weights=True, dtype="float32", threads=1, seed=0))
    config = ServerConfig(engine=engine.config, served_model_name=("tiny",))
    with make_server(config, engine) as url:
        with httpx.Client(base_url=url) as client:
            wait_until_ready(client)
        yield SimpleNamespace(url=url, engine=engine)


def wait_until_ready(client):
    for _ in range(600):
        response = client.get("/health")
        if response.status_code == 200:
            return
        assert response.json()["status"] != "failed", response.text
        threading.Event().wait(0.1)
    pytest.fail("the server did not become ready within a minute")


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def test_a_stream_says_what_the_whole_answer_says(client):
    common: Any = {"model": "tiny", "messages": user("hello"), "max_tokens": 40, "temperature": 0}
    whole = client.chat.completions.create(**common)
    chunks = list(client.chat.completions.create(**common, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage.completion_tokens == whole.usage.completion_tokens == 40
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason == "length"


def test_the_second_turn_finds_the_first_in_the_cache(client):
    first = client.chat.completions.create(model="tiny", messages=user("x" * 500), max_tokens=1, temperature=0)
    again = client.chat.completions.create(model="tiny", messages=user("x" * 500), max_tokens=1, temperature=0)
    assert first.usage.prompt_tokens_details.cached_tokens < 100
    assert again.usage.prompt_tokens_details.cached_tokens == again.usage.prompt_tokens - 1


def test_a_seed_fixes_the_answer_whatever_runs_beside_it(client):
    common: Any = {"model": "tiny", "messages": user("go"), "max_tokens": 20, "temperature": 1, "seed": 7}
    alone = client.chat.completions.create(**common)
    several = client.chat.completions.create(**common, n=3)
    texts = [choice.message.content for choice in several.choices]
    assert texts[0] == alone.choices[0].message.content
    assert len(set(texts)) == 3


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "forecast"}}], ids=str)
@pytest.mark.parametrize("stream", [False, True])
def test_forced_calls_of_a_random_model_fit_their_schema(client, choice, stream):
    for seed in range(4):
        calls, reason = complete(client, stream, tool_choice=choice, seed=seed, parallel_tool_calls=False)
        assert len(calls) == 1
        assert reason == ("tool_calls" if choice == "required" else "stop")
        for name, arguments in calls:
            jsonschema.validate(json.loads(arguments), SCHEMAS[name])


def complete(client, stream, **wanted):
    """The calls and the finish reason of one answer at temperature 1."""
    common: Any = {"model": "tiny", "messages": user("weather?"), "tools": TOOLS, "max_tokens": 400, **wanted}
    if not stream:
        choice = client.chat.completions.create(**common).choices[0]
        return [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or []], choice.finish_reason
    calls: dict[int, list[str]] = {}
    reason = None
    for chunk in client.chat.completions.create(**common, stream=True):
        for delta in chunk.choices[0].delta.tool_calls or []:
            call = calls.setdefault(delta.index, ["", ""])
            call[0] += delta.function.name or ""
            call[1] += delta.function.arguments or ""
        reason = chunk.choices[0].finish_reason or reason
    return [(name, arguments) for name, arguments in calls.values()], reason


def test_a_response_format_binds_a_random_model(client):
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "w", "schema": SCHEMA, "strict": True}}
    answer = client.chat.completions.create(
        model="tiny", messages=user("weather?"), response_format=wanted, max_tokens=400, seed=1
    )
    jsonschema.validate(json.loads(answer.choices[0].message.content or ""), SCHEMA)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1/x"}}},
    ],
)
def test_a_schema_that_cannot_bind_gets_a_400_and_disturbs_nobody(client, schema):
    tool: Any = {"type": "function", "function": {"name": "f", "parameters": schema}}
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="tiny", messages=user("x"), tools=[tool], max_tokens=3)
    assert (caught.value.code, caught.value.param) == ("invalid_function_parameters", "tools")
    assert client.chat.completions.create(model="tiny", messages=user("x"), max_tokens=3).usage


def test_tool_choice_none_never_calls(client):
    choice = client.chat.completions.create(
        model="tiny", messages=user("weather?"), tools=TOOLS, tool_choice="none", max_tokens=200, seed=1
    ).choices[0]
    assert choice.message.tool_calls is None
    assert "<tool_call>" not in choice.message.content


def test_logprobs_are_of_the_tokens_that_were_said(client):
    choice = client.chat.completions.create(
        model="tiny", messages=user("hi"), logprobs=True, top_logprobs=3, max_tokens=10, temperature=0
    ).choices[0]
    said = b"".join(bytes(token.bytes) for token in choice.logprobs.content)
    assert said.decode("utf-8", "replace") == choice.message.content
    for token in choice.logprobs.content:
        assert token.logprob == pytest.approx(token.top_logprobs[0].logprob)
        assert len(token.top_logprobs) == 3


def test_too_long_a_prompt_is_refused_by_name(client):
    with pytest.raises(openai.BadRequestError, match="maximum context length is 4096 tokens") as caught:
        client.chat.completions.create(model="tiny", messages=user("x" * 6000))
    assert caught.value.code == "context_length_exceeded"


async def many(url):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x") as client:

        async def one(number):
            answer = await client.chat.completions.create(
                model="tiny", messages=user(f"number {number}"), max_tokens=30, temperature=0
            )
            return answer.choices[0].message.content

        together = await asyncio.gather(*(one(number) for number in range(8)))
        alone = [await one(number) for number in range(8)]
        return together, alone


def test_concurrent_answers_are_those_of_lonely_ones(server):
    together, alone = asyncio.run(many(server.url))
    assert together == alone


@pytest.mark.parametrize("stream", [False, True])
def test_a_vanished_client_leaves_no_request_behind(server, stream):
    body = {"messages": user("go"), "stream": stream, "max_tokens": 3500, "ignore_eos": True}
    with httpx.Client(base_url=server.url, timeout=0.5 if not stream else 30) as client:
        if stream:
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                next(response.iter_bytes())
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body)
    for _ in range(300):
        if server.engine.num_requests == 0:
            return
        threading.Event().wait(0.1)
    pytest.fail("the request still runs")


def test_a_dead_engine_ends_its_streams_with_an_error_and_comes_back(server):
    body = {"messages": user("go"), "stream": True, "max_tokens": 3500, "ignore_eos": True}
    with httpx.Client(base_url=server.url, timeout=60) as client:
        with client.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(line for line in lines if '"content":"' in line)
            os.kill(server.engine.pid, signal.SIGKILL)
            last = [line for line in lines if line]
        assert last[-1] == "data: [DONE]"
        assert json.loads(last[-2].removeprefix("data: "))["error"]["code"] == "engine_restarting"
        wait_until_ready(client)
        answer = client.post("/v1/chat/completions", json={"messages": user("hi"), "max_tokens": 3})
        assert answer.status_code == 200
