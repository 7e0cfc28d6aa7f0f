"""Workspaces through HTTP: what a restart leaves of them, what callers may have, and how code in them may run."""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from agenthost.tools.sandbox import probe
from agenthost.tools.sandbox.config import SandboxConfig


@pytest.fixture
def folder():
    """A place that the users of a root server's sandboxes may pass."""
    folder = Path(tempfile.mkdtemp(prefix="agenthost-tests-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def serve(model_folder, make_engine, make_server):
    """``with serve(what the model says, one text after the other, **settings) as url``."""

    def serve(*script, **settings):
        texts = list(script)
        engine = make_engine(model_folder, lambda request: texts.pop(0))
        config = ServerConfig(
            engine=EngineConfig(model=str(model_folder)), served_model_name=("m",), drain_seconds=0, **settings
        )
        return make_server(config, engine)

    return serve


def python(code):
    return f"<tool_call>\n{json.dumps({'name': 'python', 'arguments': {'code': code}})}\n</tool_call>"


def ask(url, session=None, key="x", **more):
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        extra = {"hosted_tools": ["python"], **({"session_id": session} if session else {})}
        answer = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "go"}], extra_body=extra, **more
        )
    return answer.session_id, answer.choices[0].message.steps  # type: ignore[attr-defined]


def test_a_restarted_server_finds_its_workspaces_and_tells_what_is_lost(serve, folder):
    state = str(folder / "state")
    with serve(python("x = 5; open('kept.txt', 'w').write('kept')"), "ok", state_dir=state) as url:
        session, [step] = ask(url)
        assert "state_lost" not in step
        container = httpx.post(f"{url}/v1/containers", json={"expires_after": {"minutes": 90}}).json()
        httpx.post(f"{url}/v1/containers/{container['id']}/files", files={"file": ("a.csv", b"a,b\n")})
    script = [python("print(open('kept.txt').read(), 'x' in globals())"), "ok", python("1"), "ok"]
    with serve(*script, state_dir=state) as url:
        _, [step] = ask(url, session)
        assert step["state_lost"] is True
        assert step["output"].endswith("kept False")
        assert "restarted" in step["output"]
        _, [step] = ask(url, session)
        assert "state_lost" not in step
        found = httpx.get(f"{url}/v1/containers/{container['id']}").json()
        assert (found["status"], found["expires_after"]["minutes"]) == ("running", 90)
        [file] = httpx.get(f"{url}/v1/containers/{container['id']}/files").json()["data"]
        assert file["path"] == "a.csv"
    database = folder / "state" / "agenthost.db"
    assert database.stat().st_mode & 0o077 == 0


def test_workspaces_are_temporary_where_the_users_of_sandboxes_could_not_pass(serve, folder, caplog):
    if os.geteuid() != 0:
        pytest.skip("an ordinary user's sandboxes run as that user")
    folder.chmod(0o700)
    with serve(python("6 * 7"), "ok", state_dir=str(folder / "state")) as url:
        _, [step] = ask(url)
    assert step["output"] == "42"
    assert "workspaces go when this server ends" in caplog.text


@pytest.fixture(scope="module")
def limited(model_folder, make_engine, make_server, tmp_path_factory):
    """A server whose operator has set all limits; gives ``says(*texts)``, which answers with its URL."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    names = ("ada", "bob", "eve", "joe", "kim")
    keys.write_text("".join(f"{name} {hashlib.sha256(name.encode()).hexdigest()}\n" for name in names))
    engine = make_engine(model_folder, lambda request: "ok")
    config = ServerConfig(
        engine=EngineConfig(model=str(model_folder)), served_model_name=("m",), drain_seconds=0,
        api_key_file=str(keys), sessions_per_key=2, workspace_bytes=2 << 20, workspace_files=100,
        sandbox=SandboxConfig(sandbox_allow_hosts=("pypi.example",)),
    )  # fmt: skip
    with make_server(config, engine) as url:

        def says(*script):
            texts = list(script)
            engine.play = lambda request: texts.pop(0)
            return url

        yield says


def test_each_key_has_its_number_of_workspaces(limited):
    write = python("open('f', 'w').close()")
    url = limited(write, "ok", write, "ok", write, "ok")
    first, _ = ask(url, key="ada")
    ask(url, key="ada")
    with pytest.raises(openai.RateLimitError, match="2 open sessions") as problem:
        ask(url, key="ada")
    assert problem.value.code == "too_many_sessions"
    assert problem.value.response.headers["retry-after"]
    refused = httpx.post(f"{url}/v1/containers", json={}, headers={"Authorization": "Bearer ada"})
    assert refused.status_code == 429
    ask(url, key="bob")
    with pytest.raises(openai.NotFoundError):
        ask(url, session=first, key="bob")


def test_a_workspace_holds_as_much_as_the_operator_says(limited):
    write = python("open('big', 'wb').write(bytes(3 << 20))")
    many = python("for n in range(150): open(f'f{n}', 'w').close()")
    url = limited(write, "ok", many, "ok")
    for said in ("more than 2 MB", "more than 100 files"):
        _, [step] = ask(url, key="eve")
        assert step["status"] == "failed"
        assert said in step["output"]
        assert step["state_lost"] is True


def test_code_reaches_the_hosts_that_the_operator_names(limited):
    code = """
import http.client
answers = []
for host in ("pypi.example:443", "other.example:443"):
    tunnel = http.client.HTTPConnection("127.0.0.1", 3128); tunnel.request("CONNECT", host)
    answers.append(tunnel.getresponse().read().decode())
answers"""
    url = limited(python(code), "ok")
    _, [step] = ask(url, key="joe")
    assert "There is no host named pypi.example" in step["output"]
    assert "Other.example is not among the hosts" in step["output"]
    made = httpx.post(f"{url}/v1/containers", json={}, headers={"Authorization": "Bearer joe"}).json()
    assert made["network_policy"] == {"type": "allowlist", "allowed_domains": ["pypi.example"]}


def test_code_of_a_container_reaches_less_when_its_maker_says_so(limited):
    code = python("import socket; socket.create_connection(('127.0.0.1', 3128), 5).close(); 'a way out'")
    url = limited(code, "ok", code, "ok")
    interpreter: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    narrow: Any = {**interpreter, "container": {"type": "auto", "network_policy": {"type": "disabled"}}}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="kim", max_retries=0) as client:
        asked: Any = {"model": "m", "input": "go", "include": ["code_interpreter_call.outputs"]}
        first = client.responses.create(**asked, tools=[interpreter])
        second = client.responses.create(**asked, tools=[narrow], previous_response_id=first.id)
        (wide, _), (closed, _) = first.output, second.output
        assert "a way out" in wide.outputs[0].logs
        assert "Address family not supported" in closed.outputs[0].logs
        assert client.containers.retrieve(closed.container_id).to_dict()["network_policy"] == {"type": "disabled"}
        client.containers.delete(wide.container_id)
        same: Any = {"type": "allowlist", "allowed_domains": ["pypi.example"]}
        assert client.containers.create(name="c", network_policy=same).to_dict()["network_policy"] == same


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"type": "allowlist", "allowed_domains": ["other.example"]}, "'other.example' is not among the hosts"),
        ({"type": "allowlist", "allowed_domains": ["a b"]}, "is not a host"),
        ({"type": "allowlist", "allowed_domains": [1]}, "expected the type"),
        ({"type": "allowlist", "allowed_domains": ["pypi.example"], "domain_secrets": [{}]}, "without secrets"),
        ({"type": "allowlist", "allowed_domains": ["pypi.example"] * 101}, "up to 100"),
        ({"type": "open"}, "expected the type"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused(limited, policy, said):
    url = limited("ok")
    auto = {"type": "code_interpreter", "container": {"type": "auto", "network_policy": policy}}
    for path, body in (
        ("containers", {"network_policy": policy}),
        ("responses", {"model": "m", "input": "go", "tools": [auto]}),
    ):
        answer = httpx.post(f"{url}/v1/{path}", json=body, headers={"Authorization": "Bearer bob"})
        assert answer.status_code == 400
        assert said in answer.json()["error"]["message"]
        assert answer.json()["error"]["param"].endswith("network_policy")


def test_code_without_a_sandbox_needs_the_operators_word_and_is_shouted_about(serve, monkeypatch, caplog):
    monkeypatch.setattr(probe, "BACKENDS", ())  # a machine where nothing isolates
    with serve("ok") as url:
        with pytest.raises(openai.BadRequestError, match="python tool is off"):
            ask(url)
        assert "warning" not in httpx.get(f"{url}/health").json()
    assert "WITHOUT A SANDBOX" not in caplog.text
    with serve(python("6 * 7"), "ok", sandbox=SandboxConfig(allow_unsafe_code=True)) as url:
        _, [step] = ask(url)
        assert step["output"] == "42"
        assert "CODE RUNS WITHOUT A SANDBOX" in httpx.get(f"{url}/health").json()["warning"]
    assert "CODE RUNS WITHOUT A SANDBOX" in caplog.text
