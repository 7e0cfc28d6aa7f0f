"""Who may call: own hosts and origins only, JSON only, with the key where there is one, and not too much."""

import httpx
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig

HI = {"messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


@pytest.fixture(scope="module")
def locked(model_folder, make_engine, make_server):
    """A server with a key, an allowed origin, and room for small bodies only."""
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)),
        api_key="secret",
        allowed_hosts=("box.example",),
        allowed_origins=("https://app.example",),
        max_body_bytes=2000,
    )
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        yield url


def codes(response):
    return response.status_code, response.json()["error"]["code"]


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "[::1"])
def test_a_rebound_name_is_refused_on_every_route(scripted, host):
    for path in ("/health", "/v1/models", "/nothing"):
        response = httpx.get(scripted.url + path, headers={"Host": host})
        assert response.status_code in (400, 403)
        if response.status_code == 403:
            assert codes(response) == (403, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_names_of_this_machine_are_ours(scripted, host):
    assert httpx.get(scripted.url + "/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:9999"])
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
    assert httpx.get(locked + "/health", headers=headers).status_code == 200


def test_large_bodies_are_refused_whether_or_not_they_say_so(locked):
    headers = {"x-api-key": "secret", "Content-Type": "application/json"}
    large = b'{"messages": [{"role": "user", "content": "' + b"x" * 3000 + b'"}]}'
    assert codes(httpx.post(locked + PATH, content=large, headers=headers)) == (413, "request_too_large")
    chunks = (large[i : i + 500] for i in range(0, len(large), 500))
    assert codes(httpx.post(locked + PATH, content=chunks, headers=headers)) == (413, "request_too_large")


def test_an_allowed_origin_gets_its_cors_headers(locked):
    origin = {"Origin": "https://app.example"}
    preflight = httpx.options(
        locked + PATH,
        headers={**origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-api-key"},
    )
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "https://app.example"
    response = httpx.post(locked + PATH, json=HI, headers={**origin, "x-api-key": "secret"})
    assert response.headers["access-control-allow-origin"] == "https://app.example"


def test_a_listed_host_is_ours(locked):
    assert httpx.get(locked + "/health", headers={"Host": "box.example"}).status_code == 200
    assert httpx.get(locked + "/health", headers={"Host": "localhost"}).status_code == 200
