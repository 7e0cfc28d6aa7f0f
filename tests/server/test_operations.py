"""What operators rely on: metrics, the audit log, tokens, and an orderly end."""

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import httpx
import httpx2
import pytest
from agenthost.server.commands.serve import listening
from agenthost.server.config import ServerConfig
from agenthost.server.observe import logs
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from uvicorn.protocols.http.h11_impl import H11Protocol

from .calls import call


def test_metrics_count_under_our_names_and_the_peers(scripted):
    def values():
        families = text_string_to_metric_families(httpx.get(f"{scripted.url}/metrics").text)
        return {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}

    before = values()
    scripted.says(call("python", code="1"), "done")
    body = {"messages": [{"role": "user", "content": "go"}], "hosted_tools": ["python"]}
    httpx.post(f"{scripted.url}/v1/chat/completions", json=body, timeout=60)  # the first call waits for a sandbox
    after = values()
    asked = sum(len(request.prompt) for request in scripted.engine.requests)

    def grown(*key):
        return after[key] - before.get(key, 0)

    for name in ("vllm:prompt_tokens_total", "sglang:prompt_tokens_total", "vllm:prefix_cache_queries_total"):
        assert grown(name, "m") == asked
    assert grown("vllm:prefix_cache_hits_total", "m") == 14
    assert grown("vllm:time_to_first_token_seconds_count", "m") == 2
    assert grown("vllm:e2e_request_latency_seconds_count", "m") == 2
    assert grown("agenthost_tool_calls_total", "api", "ok", "python") == 1
    assert grown("agenthost_http_requests_total", "/v1/chat/completions", "200") == 1
    assert after["vllm:num_requests_running", "m"] == after["vllm:num_requests_waiting", "m"] == 0


def test_every_answer_has_a_request_id(scripted):
    given = httpx.get(f"{scripted.url}/version", headers={"x-request-id": "mine-1"})
    assert given.headers["x-request-id"] == "mine-1"
    odd = httpx.get(f"{scripted.url}/nowhere", headers={"x-request-id": "a b"})
    assert odd.headers["x-request-id"].startswith("req_")
    body = {"messages": [{"role": "user", "content": "hi"}], "stream": True}
    streamed = httpx.post(f"{scripted.url}/v1/chat/completions", json=body, headers={"x-request-id": "mine-2"})
    assert streamed.headers["x-request-id"] == "mine-2"  # streams go past the layers, but for their beginning
    assert streamed.text.endswith("data: [DONE]\n\n")


def test_the_audit_log_tells_who_called_what(scripted, caplog):
    with caplog.at_level("INFO", logger="agenthost.audit"):
        scripted.says(call("python", code="1/0"), "sorry")
        body = {"messages": [{"role": "user", "content": "go"}], "hosted_tools": ["python"]}
        httpx.post(f"{scripted.url}/v1/chat/completions", json=body, headers={"x-request-id": "audited"})
    [entry] = [json.loads(record.message) for record in caplog.records if record.name == "agenthost.audit"]
    assert (entry["owner"], entry["tool"], entry["verdict"], entry["request_id"]) == (
        "local", "python", "error", "audited",
    )  # fmt: skip
    assert entry["arguments_size"] > 0
    assert "1/0" not in json.dumps(entry)


def test_the_log_has_no_urls_of_others_at_any_level(caplog):
    for name in ("httpx2", "httpcore2", "mcp.client"):
        caplog.set_level(logging.NOTSET, logger=name)  # is as it was afterwards
    logs.set_up("debug")
    with (
        caplog.at_level(logging.DEBUG),
        httpx2.Client(transport=httpx2.MockTransport(lambda request: httpx2.Response(200))) as client,
    ):
        client.get("https://shop.example/mcp/secret")
        logging.getLogger("mcp.client.streamable_http").error("Redirect to https://shop.example/mcp/secret")
        logging.getLogger("agenthost").debug("ours")
    assert caplog.messages == ["ours"]


def test_texts_and_tokens(scripted):
    def post(path, **body):
        return httpx.post(f"{scripted.url}{path}", json=body)

    tokens = post("/tokenize", prompt="hé").json()
    assert tokens["count"] == len(tokens["tokens"]) == 3
    assert post("/detokenize", tokens=tokens["tokens"]).json() == {"prompt": "hé"}
    chat = post("/tokenize", messages=[{"role": "user", "content": "hi"}], return_token_strs=True).json()
    assert "<|im_start|>" in chat["token_strs"]
    for path, body in (
        ("/tokenize", {}), ("/tokenize", {"prompt": "a", "messages": []}), ("/detokenize", {"tokens": [-1]}),
        ("/detokenize", {"tokens": [10**9]}), ("/tokenize", {"messages": [{"role": "x"}]}),
    ):  # fmt: skip
        assert post(path, **body).status_code == 400, path


def test_resetting_the_prefix_cache_changes_what_is_shared(scripted):
    def salt():
        httpx.post(f"{scripted.url}/v1/chat/completions", json={"messages": [{"role": "user", "content": "go"}]})
        return scripted.engine.requests[-1].cache_salt

    first = salt()
    assert salt() == first
    assert httpx.post(f"{scripted.url}/reset_prefix_cache").json() == {"success": True}
    assert salt() != first


def test_the_server_says_what_it_is(scripted):
    info = httpx.get(f"{scripted.url}/server_info").json()
    assert info["served_model_names"] == ["m", "alias"]
    assert info["engine"]["max_model_len"] > 0
    assert "python" in info["hosted_tools"]
    assert "/" not in info["engine"]["model"]
    assert httpx.get(f"{scripted.url}/ready").status_code == 200
    assert httpx.get(f"{scripted.url}/load").json()["server_load"] == 0


@pytest.fixture
def process(tmp_path, request) -> Iterator[tuple[subprocess.Popen, str]]:
    """A server and its URL; the test's parameter, if it has one, says how long it drains."""
    drain = str(getattr(request, "param", 60))
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", "--port", "0", "--drain-seconds", drain]
    environment = {**os.environ, "AGENTHOST_STATE_DIR": str(tmp_path / "state"), "AGENTHOST_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "ready:" in line:
                break
        else:
            pytest.fail("".join(said))
        yield process, said[-1].split()[-1].removesuffix("/v1")
        process.kill()


@pytest.mark.parametrize("process", [0], indirect=True)
def test_a_stream_that_is_cut_short_says_why_and_the_log_has_no_traceback(process):
    server, url = process
    body = {"messages": [{"role": "user", "content": "go"}], "stream": True, "max_tokens": 900, "ignore_eos": True}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as stream:
        lines = stream.iter_lines()
        next(lines)
        server.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["error"]["code"] == "server_stopping"
    assert server.wait(60) == 0
    assert "Traceback" not in server.stderr.read()


def test_a_stream_goes_on_to_its_end_when_the_server_is_told_to_stop(process):
    server, url = process
    body = {
        "messages": [{"role": "user", "content": "go"}], "stream": True, "max_tokens": 60, "ignore_eos": True,
        "temperature": 1,
    }  # fmt: skip
    with (
        httpx.Client() as idle,  # its connection stays open, and holds nothing up
        httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as stream,
    ):
        lines = stream.iter_lines()
        first = next(lines)
        assert idle.get(f"{url}/health").status_code == 200
        server.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
        assert server.wait(30) == 0
    assert first.startswith("data: ")
    assert rest[-1] == "data: [DONE]"
    assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"


def test_connections_outlive_those_of_proxies_and_headers_are_limited():
    options = listening(FastAPI(), ServerConfig())
    options.load()
    assert options.http_protocol_class is H11Protocol
    assert options.timeout_keep_alive > 60
