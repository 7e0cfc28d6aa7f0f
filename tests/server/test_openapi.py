"""Our own description against our own server: Schemathesis sends what it allows, and what it does not."""

import subprocess
import sys
from pathlib import Path

import httpx
import jsonschema
import pytest

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_request_gets_a_5xx_or_an_answer_that_is_not_described(scripted, tmp_path, mode):
    pytest.importorskip("schemathesis")
    command = [
        SCHEMATHESIS, "run", f"{scripted.url}/openapi.json", "--mode", mode, "--max-examples", "25",
        "--phases", "coverage,fuzzing", "--checks", "not_a_server_error,response_schema_conformance",
        "--request-timeout", "20", "--generation-database", "none", "--warnings", "off",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def description(server):
    return httpx.get(f"{server.url}/openapi.json").json()


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/chat/completions", {"messages": 3}), ("/v1/responses", {"input": 3}), ("/v1/messages", {"messages": 3})],
)
def test_errors_are_as_described(scripted, description, path, body):
    answer = httpx.post(f"{scripted.url}{path}", json=body)
    check(description, "POST", path, answer, "4XX")


def check(description, method, path, answer, status="200"):
    [described] = [
        content["schema"]
        for kind, content in description["paths"][path][method.lower()]["responses"][status]["content"].items()
        if answer.headers["content-type"].startswith(kind)
    ]
    if answer.headers["content-type"] == "application/json":
        assert "$ref" in described, "the answer is not described"
        jsonschema.validate(answer.json(), {**described, "components": description["components"]})


def test_every_route_answers_as_it_says(scripted, description):
    """With what the server really answers: a route that is new, or answers anew, is described."""
    left = {(method.upper(), path) for path, methods in description["paths"].items() for method in methods}
    said = [{"role": "user", "content": "hi"}]

    def ask(method, path, json=None, files=None, params=None, **ids):
        answer = httpx.request(method, scripted.url + path.format(**ids), json=json, files=files, params=params)
        assert answer.status_code == 200, answer.text
        check(description, method, path, answer)
        left.discard((method, path))
        return answer.json() if answer.headers["content-type"] == "application/json" else {}

    for path in ("/health", "/ready", "/ping", "/version", "/metrics", "/load", "/server_info", "/v1/models"):
        ask("GET", path)
    ask("GET", "/v1/models/{model}", model="m")
    ask("POST", "/tokenize", {"prompt": "hi", "return_token_strs": True})
    ask("POST", "/detokenize", {"tokens": [1]})
    ask("POST", "/flush_cache")
    ask("POST", "/reset_prefix_cache")
    ask("POST", "/v1/chat/completions", {"messages": said})
    ask("POST", "/v1/completions", {"prompt": "hi", "echo": True})
    ask("POST", "/v1/messages", {"model": "m", "messages": said, "max_tokens": 9})
    ask("POST", "/v1/messages/count_tokens", {"model": "m", "messages": said})

    ask("POST", "/v1/responses/input_tokens", {"input": "hi"})
    ask("POST", "/v1/responses/compact", {"model": "m", "input": [*said, {"role": "assistant", "content": "ho"}]})
    ask("POST", "/v1/responses", {"input": "hi", "text": {"format": {"type": "json_object"}}})
    made = ask("POST", "/v1/responses", {"input": said, "background": True})["id"]
    ask("POST", "/v1/responses/{response_id}/cancel", response_id=made)
    ask("GET", "/v1/responses/{response_id}", response_id=made)
    assert ask("GET", "/v1/responses/{response_id}/input_items", response_id=made)["data"]
    ask("DELETE", "/v1/responses/{response_id}", response_id=made)

    made = ask("POST", "/v1/conversations", {"metadata": {"a": "b"}})["id"]
    route = "/v1/conversations/{conversation_id}"
    ask("GET", route, conversation_id=made)
    ask("POST", route, {"metadata": {}}, conversation_id=made)
    items = [*said, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]
    [first, _] = ask("POST", f"{route}/items", {"items": items}, conversation_id=made)["data"]
    ask("GET", f"{route}/items", conversation_id=made)
    ask("GET", f"{route}/items/{{item_id}}", conversation_id=made, item_id=first["id"])
    ask("DELETE", f"{route}/items/{{item_id}}", conversation_id=made, item_id=first["id"])
    ask("DELETE", route, conversation_id=made)

    file = ask("POST", "/v1/files", files={"file": ("a.txt", b"hello")})["id"]
    assert ask("GET", "/v1/files")["data"]
    ask("GET", "/v1/files/{file_id}", file_id=file)
    ask("GET", "/v1/files/{file_id}/content", file_id=file)
    made = ask("POST", "/v1/containers", {"name": "mine", "file_ids": [file]})["id"]
    route = "/v1/containers/{container_id}"
    assert ask("GET", "/v1/containers")["data"]
    ask("GET", route, container_id=made)
    inside = ask("POST", f"{route}/files", {"file_id": file}, container_id=made)["id"]
    assert ask("GET", f"{route}/files", container_id=made)["data"]
    ask("GET", f"{route}/files/{{file_id}}", container_id=made, file_id=inside)
    ask("GET", f"{route}/files/{{file_id}}/content", container_id=made, file_id=inside)
    ask("DELETE", f"{route}/files/{{file_id}}", container_id=made, file_id=inside)
    ask("DELETE", route, container_id=made)
    ask("DELETE", "/v1/files/{file_id}", file_id=file)
    assert not left
