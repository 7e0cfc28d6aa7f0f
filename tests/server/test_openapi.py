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
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/chat/completions", {"messages": 3}),
        ("/v1/responses", {"input": 3}),
        ("/v1/messages", {"messages": 3}),
    ],
)
def test_answers_and_errors_are_as_described(scripted, description, path, body):
    answer = httpx.post(f"{scripted.url}{path}", json=body)
    responses = description["paths"][path]["post"]["responses"]
    described = responses["200" if answer.status_code == 200 else "4XX"]["content"]["application/json"]["schema"]
    jsonschema.validate(answer.json(), {**described, "components": description["components"]})
