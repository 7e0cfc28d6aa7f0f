"""Who may call: own hosts and origins only, JSON only, with the key where there is one, and not too much."""

import httpx
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from agenthost.server.openai.stream import ChunkWriter
from agenthost.server.served import ServedModel

HI = {"messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def locked(model_folder, make_engine, make_server):
    """A server with a key, an allowed origin, and room for small bodies only."""
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)),
        served_model_name=("m",),
        api_key="secret",
        allowed_hosts=("box.example",),
        allowed_origins=("https://App.example/",),
        max_body_bytes=2000,
    )
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        yield url


def codes(response):
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::1"])
def test_a_rebound_name_is_refused_on_every_route(scripted, host):
    for path in ("/metrics", "/v1/models", "/nothing"):
        response = httpx.get(scripted.url + path, headers={"Host": host})
        assert response.status_code in (400, 403)
        if response.status_code == 403:
            assert codes(response) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_ours(scripted, host):
    assert httpx.get(scripted.url + "/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999", "http://["])
def test_a_foreign_page_is_refused(scripted, origin):
    response = httpx.post(scripted.url + PATH, json=HI, headers={"Origin": origin})
    assert codes(response) == (403, "origin_not_allowed")


def test_a_page_served_from_here_may_call(scripted):
    assert httpx.post(scripted.url + PATH, json=HI, headers={"Origin": scripted.url}).status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_must_say_that_it_is_json(scripted, kind):
    response = httpx.post(scripted.url + PATH, content=b'{"messages": []}', headers={"Content-Type": kind})
    assert codes(response) == (415, "unsupported_media_type")


@pytest.mark.parametrize("headers", [{"Authorization": "Bearer secret"}, {"x-api-key": "secret"}])
def test_the_key_opens(locked, headers):
    assert httpx.post(locked + PATH, json=HI, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "secret"}, {"x-api-key": "sécret".encode()}]
)
def test_without_the_key_only_health_answers(locked, headers):
    assert codes(httpx.post(locked + PATH, json=HI, headers=headers)) == (401, "invalid_api_key")
    assert codes(httpx.get(locked + "/v1/models", headers=headers)) == (401, "invalid_api_key")
    for path in ("/health", "/ready", "/ping"):
        assert httpx.get(locked + path, headers=headers).status_code == 200
        assert httpx.head(locked + path, headers=headers).status_code == 200


def test_large_bodies_are_refused_whether_or_not_they_say_so(locked):
    headers = {"x-api-key": "secret", "Content-Type": "application/json"}
    large = b'{"messages": [{"role": "user", "content": "' + b"x" * 3000 + b'"}]}'
    assert codes(httpx.post(locked + PATH, content=large, headers=headers)) == (413, "request_too_large")
    chunks = (large[i : i + 500] for i in range(0, len(large), 500))
    assert codes(httpx.post(locked + PATH, content=chunks, headers=headers)) == (413, "request_too_large")


ASKED = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"}
PAGE = {"Origin": "https://app.example"}


def test_an_allowed_origin_gets_its_cors_headers(locked):
    preflight = httpx.options(locked + PATH, headers={**PAGE, **ASKED})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    response = httpx.post(locked + PATH, json=HI, headers={**PAGE, "x-api-key": "secret"})
    assert response.headers["access-control-allow-origin"] == "https://app.example"
    assert "x-request-id" in response.headers["access-control-expose-headers"].lower()


def test_pages_can_read_refusals(locked):
    large = {"x-api-key": "secret", "Content-Type": "application/json"}
    for response in (
        httpx.post(locked + PATH, json=HI, headers=PAGE),
        httpx.post(locked + PATH, content=b" " * 3000, headers={**PAGE, **large}),
    ):
        assert response.status_code in (401, 413)
        assert response.headers["access-control-allow-origin"] == "https://app.example"


def test_other_origins_get_no_cors_headers(locked):
    evil = {"Origin": "https://evil.example"}
    preflight = httpx.options(locked + PATH, headers={**evil, **ASKED})
    refused = httpx.post(locked + PATH, json=HI, headers={**evil, "x-api-key": "secret"})
    assert (preflight.status_code, refused.status_code) == (400, 403)
    for response in (preflight, refused, httpx.options(locked + PATH)):
        assert "access-control-allow-origin" not in response.headers


def test_any_page_may_call_where_the_operator_says_so(model_folder, make_engine, make_server):
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), api_key="secret", allowed_origins=("*",))
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        assert httpx.options(url + PATH, headers={**PAGE, **ASKED}).status_code == 200
        response = httpx.post(url + PATH, json=HI, headers={**PAGE, "x-api-key": "secret"})
        assert (response.status_code, response.headers["access-control-allow-origin"]) == (200, "*")
        assert codes(httpx.post(url + PATH, json=HI, headers=PAGE)) == (401, "invalid_api_key")


def test_a_failure_that_nobody_foresaw_is_answered_like_any_other(locked, monkeypatch, caplog):
    monkeypatch.setattr(ServedModel, "now", None)
    headers = {**PAGE, "x-api-key": "secret", "x-request-id": "mine-1"}
    with httpx.Client(base_url=locked, headers=headers) as client:
        for path, more, kind in ((PATH, {}, "server_error"), ("/v1/messages", {"model": "m"}, "api_error")):
            response = client.post(path, json={**HI, **more, "max_tokens": 4})
            assert (response.status_code, response.json()["error"]["type"]) == (500, kind)
            assert response.headers["x-request-id"] == "mine-1"
            assert response.headers["access-control-allow-origin"] == "https://app.example"
            assert "connection" not in response.headers
    assert "request mine-1 failed" in caplog.text


def test_a_stream_that_fails_after_its_beginning_is_cut(locked, monkeypatch):
    async def produce(_, write):
        await write(b"data: {}\n\n")
        raise RuntimeError("broken")

    monkeypatch.setattr(ChunkWriter, "produce", produce)
    headers = {"x-api-key": "secret"}
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(locked + PATH, json={**HI, "stream": True}, headers=headers)
    assert httpx.get(locked + "/v1/models", headers=headers).status_code == 200


def test_a_listed_host_is_ours(locked):
    for host in ("box.example", "localhost"):
        assert codes(httpx.get(locked + "/v1/models", headers={"Host": host})) == (401, "invalid_api_key")


def test_probes_and_who_has_the_key_may_call_by_any_name(locked):
    by_address = {"Host": "10.2.3.4:8000"}
    assert httpx.get(locked + "/ready", headers=by_address).status_code == 200
    assert httpx.get(locked + "/metrics", headers={**by_address, "x-api-key": "secret"}).status_code == 200
    assert codes(httpx.get(locked + "/metrics", headers={**by_address, "x-api-key": "no"})) == (403, "host_not_allowed")
