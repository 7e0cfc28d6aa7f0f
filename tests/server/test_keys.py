"""Keys: who may call, what belongs to whom, and how much each may have."""

import asyncio
import hashlib
from typing import Any

import httpx
import openai
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from agenthost.server.http.keys import Keys, KeysError, Limits

from .calls import call


def digest(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


@pytest.fixture(scope="module")
def keyed(model_folder, make_engine, make_server, tmp_path_factory):
    """A server that Ada and Bob have keys of; Carla's and Dora's have limits."""
    file = tmp_path_factory.mktemp("keys") / "keys"
    file.write_text(
        f"# who may call\n\nada {digest('ada-key')}\nbob {digest('bob-key')}\n"
        f"carla {digest('carla-key')} concurrent=1 stored_bytes=10\n"
        f"dora {digest('dora-key')} requests_per_minute=1\n"
    )
    engine = make_engine(model_folder, lambda request: "hello")
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)), served_model_name=("m",), api_key="local-key",
        api_key_file=str(file), prefix_cache_per_key=True,
    )  # fmt: skip
    with make_server(config, engine) as url:
        yield url, engine


def connect(url, key):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0)


def test_a_key_of_the_file_or_the_flag_is_needed_in_either_header(keyed):
    url, _ = keyed
    for headers in ({}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}, {"authorization": "Basic ada-key"}):
        response = httpx.get(f"{url}/v1/models", headers=headers)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")
    for headers in (
        {"authorization": "Bearer ada-key"},
        {"x-api-key": "bob-key"},
        {"authorization": "bearer local-key"},
    ):
        assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 200
    assert httpx.get(f"{url}/health").status_code == 200
    assert httpx.get(f"{url}/metrics").status_code == 401


def test_what_belongs_to_one_key_is_unknown_to_another(keyed):
    url, engine = keyed
    engine.play = lambda request: call("python", code="1") if len(engine.requests) % 2 else "ok"
    engine.requests.clear()
    with connect(url, "ada-key") as ada, connect(url, "bob-key") as bob:
        file = ada.files.create(file=("a.txt", b"x"), purpose="batch")
        container = ada.containers.create(name="x")
        inside = ada.containers.files.create(container.id, file=("b.txt", b"y"))
        conversation = ada.conversations.create(items=[{"type": "message", "role": "user", "content": "hi"}])
        [item] = ada.conversations.items.list(conversation.id).data
        tool: Any = {"type": "code_interpreter", "container": container.id}
        response = ada.responses.create(model="m", input="go", tools=[tool])
        chat = ada.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "go"}], extra_body={"hosted_tools": ["python"]}
        )
        session = (chat.model_extra or {})["session_id"]
        ids = {"f": file.id, "c": container.id, "i": inside.id, "v": conversation.id, "m": item.id, "r": response.id}
        paths = [
            ("GET", "files/{f}"), ("GET", "files/{f}/content"), ("DELETE", "files/{f}"), ("GET", "containers/{c}"),
            ("GET", "containers/{c}/files"), ("GET", "containers/{c}/files/{i}"),
            ("GET", "containers/{c}/files/{i}/content"), ("DELETE", "containers/{c}/files/{i}"),
            ("POST", "containers/{c}/files"), ("DELETE", "containers/{c}"), ("GET", "conversations/{v}"),
            ("POST", "conversations/{v}"), ("GET", "conversations/{v}/items"), ("POST", "conversations/{v}/items"),
            ("GET", "conversations/{v}/items/{m}"), ("DELETE", "conversations/{v}/items/{m}"),
            ("DELETE", "conversations/{v}"), ("GET", "responses/{r}"), ("GET", "responses/{r}?stream=true"),
            ("POST", "responses/{r}/cancel"), ("GET", "responses/{r}/input_items"), ("DELETE", "responses/{r}"),
        ]  # fmt: skip
        body = {"metadata": {}, "items": [], "file_id": file.id}
        for method, path in paths:
            sent: Any = {"json": body} if method == "POST" else {}
            theirs = httpx.request(method, f"{url}/v1/{path.format(**ids)}", headers={"x-api-key": "bob-key"}, **sent)
            unknown = {kind: value[:-4] + "0000" for kind, value in ids.items()}
            nobodys = httpx.request(
                method, f"{url}/v1/{path.format(**unknown)}", headers={"x-api-key": "ada-key"}, **sent
            )
            assert theirs.status_code == nobodys.status_code == 404, path
            assert theirs.json()["error"]["code"] == nobodys.json()["error"]["code"]
        assert [one.id for one in bob.files.list()] == []
        assert [one.id for one in bob.containers.list()] == []
        attempts: Any = (
            {"previous_response_id": response.id}, {"conversation": conversation.id}, {"tools": [tool]},
        )  # fmt: skip
        for wanted in attempts:
            with pytest.raises((openai.NotFoundError, openai.BadRequestError), match="not found"):
                bob.responses.create(model="m", input="on", **wanted)
        with pytest.raises(openai.NotFoundError):
            bob.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "go"}],
                extra_body={"hosted_tools": ["python"], "session_id": session},
            )  # fmt: skip
        assert ada.files.retrieve(file.id).id == file.id


def test_an_mcp_connection_is_its_callers(keyed):
    url, _ = keyed
    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}

    def ask(key: str, method: str, params: dict, **headers: str) -> httpx.Response:
        headers |= {"x-api-key": key, "accept": "application/json, text/event-stream"}
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return httpx.post(f"{url}/mcp", json=body, headers=headers)

    connection = {"mcp-session-id": ask("ada-key", "initialize", hello).headers["mcp-session-id"]}
    assert [ask(key, "ping", {}, **connection).status_code for key in ("ada-key", "bob-key")] == [200, 404]


def test_keys_share_no_prefixes_where_the_operator_wants_that(keyed):
    url, engine = keyed
    engine.play = lambda request: "hello"
    engine.requests.clear()
    for key in ("ada-key", "bob-key", "ada-key"):
        with connect(url, key) as client:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "go"}])
            client.responses.create(model="m", input="go")
    salts = [request.cache_salt for request in engine.requests]
    assert salts[0] == salts[1] == salts[4] == salts[5] != salts[2] == salts[3]


def test_a_key_is_held_to_its_limits(keyed):
    url, _ = keyed
    with connect(url, "carla-key") as carla:
        with pytest.raises(openai.RateLimitError, match="may keep 10") as problem:
            carla.files.create(file=("a", b"12345678901"), purpose="batch")
        assert problem.value.code == "insufficient_quota"
        carla.files.create(file=("a", b"1234567890"), purpose="batch")
        statuses = [httpx.get(f"{url}/v1/models", headers={"x-api-key": "dora-key"}) for _ in range(3)]
    refused = [response for response in statuses if response.status_code == 429]
    assert refused
    assert refused[0].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(refused[0].headers["retry-after"]) >= 1
    assert httpx.get(f"{url}/v1/models", headers={"x-api-key": "ada-key"}).status_code == 200


def test_one_request_at_a_time(model_folder, make_engine, make_server):
    engine = make_engine(model_folder, lambda request: "hello")
    engine.gate = lambda: asyncio.Event().wait()
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), api_key="k", concurrent_requests=1)
    headers = {"x-api-key": "k"}
    with make_server(config, engine) as url:
        body = {"messages": [{"role": "user", "content": "go"}], "stream": True}
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as stream:
            lines = stream.iter_lines()  # held: the stream is closed with it
            next(lines)
            assert httpx.get(f"{url}/v1/models", headers=headers).status_code == 429
        for _ in range(100):  # the server has to notice that the stream was left
            if httpx.get(f"{url}/v1/models", headers=headers).status_code == 200:
                return
        pytest.fail("the stream that was left still counts")


def test_a_key_has_as_many_responses_in_the_background_as_requests_at_a_time(keyed):
    url, engine = keyed
    engine.play = lambda request: "an answer without end"
    engine.gate = lambda: asyncio.Event().wait()
    try:
        with connect(url, "carla-key") as carla:
            first = carla.responses.create(model="m", input="go", background=True)
            with pytest.raises(openai.RateLimitError, match="background"):
                carla.responses.create(model="m", input="go", background=True)
            assert carla.responses.cancel(first.id).status == "cancelled"
            second = carla.responses.create(model="m", input="go", background=True)
            assert carla.responses.cancel(second.id).status == "cancelled"
    finally:
        engine.gate = None


def test_only_the_operators_key_may_do_what_others_pay_for(keyed):
    url, engine = keyed
    engine.play = lambda request: "hello"
    asked = {
        "chat/completions": {"messages": [{"role": "user", "content": "go"}]},
        "completions": {"prompt": "go"},
        "responses": {"input": "go"},
    }

    def post(path, key, **body):
        return httpx.post(f"{url}/{path}", headers={"x-api-key": key}, json=body)

    for path in ("flush_cache", "reset_prefix_cache"):
        refused = post(path, "ada-key")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "operator_only")
        assert post(path, "local-key").status_code == 200
    for path, body in asked.items():
        refused = post(f"v1/{path}", "ada-key", priority=-1, **body)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "priority"), path
        assert post(f"v1/{path}", "ada-key", priority=1, **body).status_code == 200
        assert post(f"v1/{path}", "local-key", priority=-1, **body).status_code == 200


def test_a_limit_is_told_in_the_protocols_own_shape(keyed):
    url, _ = keyed
    answers = [httpx.post(f"{url}/v1/messages", headers={"x-api-key": "dora-key"}, json={}) for _ in range(3)]
    assert answers[-1].status_code == 429
    assert (answers[-1].json()["type"], answers[-1].json()["error"]["type"]) == ("error", "rate_limit_error")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("# keys go here", "holds no key"),
        ("ada", "line 1: expected"),
        ("ada " + "0" * 63, "expected"),
        (f"ada {'0' * 64} speed=3", "no limit 'speed'"),
    ],
)
def test_a_bad_file_of_keys_is_refused(tmp_path, line, says):
    file = tmp_path / "keys"
    file.write_text(line)
    with pytest.raises(KeysError, match=says):
        Keys.load([], str(file), Limits())
    with pytest.raises(KeysError, match="cannot read"):
        Keys.load([], str(tmp_path / "none"), Limits())
