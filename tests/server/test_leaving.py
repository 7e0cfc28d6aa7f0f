"""A client that leaves at whatever moment leaves nothing behind: no container, no session, no generation."""

import asyncio
import itertools
import json
import tempfile
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import anyio
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.app import create_app
from agenthost.server.chat.transcript import Transcript
from agenthost.server.config import ServerConfig
from agenthost.server.state import State

from .conftest import ScriptedEngine

SAID: Any = [{"role": "user", "content": "go"}]
REQUESTS: dict[str, Any] = {
    "/v1/responses": {"input": "go", "tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    "/v1/chat/completions": {"messages": SAID, "hosted_tools": ["python"]},
    "/v1/messages": {"model": "m", "messages": SAID, "max_tokens": 9},
    "/v1/completions": {"prompt": "go", "n": 2},
}


def scope_of(path):
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    return {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "path": path,
        "raw_path": path.encode(), "query_string": b"", "headers": headers, "scheme": "http",
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1234),
    }  # fmt: skip


async def leave(app, path, body, moment):
    """Send a request and be gone when the answer's message of type ``moment`` is sent."""
    asked = [{"type": "http.request", "body": json.dumps({**body, "stream": True}).encode(), "more_body": False}]
    gone = anyio.Event()

    async def receive():
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message["type"] == moment and not gone.is_set():
            gone.set()
            if moment == "http.response.start":
                raise OSError("the connection is closed")
            await anyio.sleep_forever()  # as a socket that takes nothing more

    with anyio.CancelScope():
        await app(scope_of(path), receive, send)


@asynccontextmanager
async def running(model_folder):
    engine = ScriptedEngine(model_folder, lambda request: "a long answer " * 50)
    engine.gate = lambda: asyncio.sleep(0.01)
    app = create_app(ServerConfig(engine=EngineConfig(model=str(model_folder)), served_model_name=("m",)), engine)
    async with app.router.lifespan_context(app):
        yield app, engine


def test_nothing_stays_when_a_client_leaves_as_the_answer_begins(model_folder):
    async def run():
        async with running(model_folder) as (app, engine):
            for path, moment in product(REQUESTS, ("http.response.start", "http.response.body")):
                engine.requests.clear()
                await leave(app, path, REQUESTS[path], moment)
                assert len(app.state.hands.sessions) == 0, (path, moment)
                assert {request.id for request in engine.requests} <= set(engine.aborted), (path, moment)
            assert await app.state.kept.containers.list("local") == []

    asyncio.run(run())


ENDS = {
    "/v1/responses": (b"event: response.failed\n", b"data: [DONE]"),
    "/v1/chat/completions": (b'"code":"server_stopping"', b"data: [DONE]"),
    "/v1/messages": (b"event: error\n", b"The server is stopping."),
    "/v1/completions": (b'"code":"server_stopping"', b"data: [DONE]"),
}


async def ask(app, path, body):
    """The status and the whole body of an answer."""
    asked = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]
    sent = []

    async def receive():
        return asked.pop() if asked else await anyio.sleep_forever()

    async def send(message):
        sent.append(message)

    await app(scope_of(path), receive, send)
    assert not sent[-1].get("more_body", False)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("stream", [True, False])
def test_what_runs_at_the_end_of_the_servers_patience_is_told_that_it_stops(model_folder, stream):
    async def run():
        all_wait, waiting, answers = anyio.Event(), itertools.count(1), {}

        async def gate():
            if next(waiting) == len(ENDS) + 1:  # one of them wants two answers
                all_wait.set()
            await anyio.sleep_forever()

        async with running(model_folder) as (app, engine):
            engine.gate = gate

            async def answer(path):
                answers[path] = await ask(app, path, {**REQUESTS[path], "stream": stream})

            async with anyio.create_task_group() as group:
                for path in ENDS:
                    group.start_soon(answer, path)
                await all_wait.wait()
                await app.state.responses.stop()
                app.state.drain.cancel_requests()
        for path, (said, last) in ENDS.items():
            status, text = answers[path]
            assert status == (200 if stream else 503), path
            assert b"The server is stopping." in text, path
            if stream:
                assert said in text, path
                assert last in text.splitlines(keepends=True)[-2], path

    asyncio.run(run())


def test_a_background_response_that_cannot_be_stored_leaves_no_container(model_folder, monkeypatch):
    async def refuse(*_):
        raise OSError("the disk is full")

    async def run():
        async with running(model_folder) as (app, _):
            monkeypatch.setattr(app.state.kept.responses, "put", refuse)
            body = {**REQUESTS["/v1/responses"], "background": True}
            assert (await ask(app, "/v1/responses", body))[0] == 500
            assert len(app.state.hands.sessions) == 0

    asyncio.run(run())


def test_a_place_for_what_is_kept_lasts_as_long_as_the_server(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    async def run():
        state = State(None, transcript=Transcript())
        assert not list(tmp_path.iterdir()), "nothing is made before it is needed"
        async with state:
            assert len(list(tmp_path.iterdir())) == 1
        assert not list(tmp_path.iterdir())

    asyncio.run(run())
