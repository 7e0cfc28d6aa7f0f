"""OAuth tokens open /mcp: those of our issuer, made for us, with the scopes that are wanted. Nothing else does."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import jwt
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ConfigError, ServerConfig
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

RESOURCE = "https://box.example/mcp"
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LIST = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "tools/call",
    "params": {
        "name": "write_file",
        "arguments": {"path": "a.txt", "content": "mine"},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}
HEADERS = {
    "Accept": "application/json, text/event-stream",
    "MCP-Protocol-Version": "2026-07-28",
    "Mcp-Method": "tools/call",
    "Mcp-Name": "write_file",
}


@pytest.fixture(scope="module")
def issuer():
    """An authorization server, as far as a protected resource sees it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            url = f"http://{self.headers['Host']}"
            public = json.loads(RSAAlgorithm.to_jwk(KEY.public_key()))
            known = {
                "/.well-known/oauth-authorization-server": {"issuer": url, "jwks_uri": f"{url}/keys"},
                "/keys": {"keys": [{**public, "kid": "1", "alg": "RS256", "use": "sig"}]},
            }
            found = known.get(self.path)
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(json.dumps(found or {}).encode())

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def url(issuer, model_folder, make_engine, make_server):
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)), api_key="secret", oauth_issuer=issuer, oauth_resource=RESOURCE,
        oauth_scopes=("tools",),
    )  # fmt: skip
    with make_server(config, make_engine(model_folder, lambda request: "hello")) as url:
        yield url


@pytest.fixture
def token(issuer):
    def make(key=KEY, *, kid="1", algorithm="RS256", **changes):
        claims = {"iss": issuer, "aud": RESOURCE, "sub": "ada", "exp": time.time() + 60, "scope": "tools other"}
        claims = {name: value for name, value in {**claims, **changes}.items() if value is not None}
        return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": kid})

    return make


def ask(url, token, body=LIST, name="write_file"):
    return httpx.post(
        f"{url}/mcp", json=body, headers={**HEADERS, "Mcp-Name": name, "Authorization": f"Bearer {token}"}
    )


def test_a_good_token_opens_and_so_does_the_key(url, token):
    assert ask(url, token()).status_code == 200
    assert ask(url, "secret").status_code == 200


def test_without_a_token_clients_learn_where_to_get_one(url, issuer):
    refused = httpx.post(f"{url}/mcp", json=LIST, headers=HEADERS)
    assert refused.status_code == 401
    challenge = refused.headers["www-authenticate"]
    assert 'resource_metadata="https://box.example/.well-known/oauth-protected-resource/mcp"' in challenge
    assert 'scope="tools"' in challenge
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
        told = httpx.get(url + path).json()
        assert told["resource"] == RESOURCE
        assert told["authorization_servers"] == [issuer]
        assert told["scopes_supported"] == ["tools"]


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://other.example/mcp"}, {"aud": None}, {"iss": "https://evil.example"}, {"iss": None},
        {"exp": 1}, {"exp": None}, {"sub": None}, {"nbf": time.time() + 3600},
        {"key": OTHER_KEY}, {"kid": "2"}, {"key": "x" * 64, "algorithm": "HS256"},
        {"key": None, "algorithm": "none"},
    ],
)  # fmt: skip
def test_any_other_token_does_not(url, token, changes):
    refused = ask(url, token(**changes))
    assert refused.status_code == 401
    assert 'error="invalid_token"' in refused.headers["www-authenticate"]


@pytest.mark.parametrize("text", ["x", "a.b.c", "x" * 20_000, "é"])
def test_what_is_no_token_does_not(url, text):
    headers = {**HEADERS, "Authorization": f"Bearer {text}".encode()}
    assert httpx.post(f"{url}/mcp", json=LIST, headers=headers).status_code == 401


def test_a_token_without_the_scope_is_told_so(url, token):
    refused = ask(url, token(scope="other"))
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


def test_a_token_opens_nothing_but_mcp(url, token):
    assert httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {token()}"}).status_code == 401


def test_sessions_belong_to_the_subject_of_the_token(url, token):
    made = ask(url, token()).json()["result"]["_meta"]["agenthost/session_id"]
    read = {**LIST["params"], "name": "read_text_file", "arguments": {"path": "a.txt", "session_id": made}}
    body = {**LIST, "params": read}
    mine = ask(url, token(), body, "read_text_file").json()["result"]
    assert mine["isError"] is False
    for other in (token(sub="eve"), token(client_id="another"), "secret"):
        result = ask(url, other, body, "read_text_file").json()["result"]
        assert result["isError"] is True
        assert "no such session" in result["content"][0]["text"]


def test_issuer_and_resource_go_together():
    with pytest.raises(ConfigError, match="go together"):
        ServerConfig.load({"oauth_issuer": "https://issuer.example"}, {})
