"""What is stored survives a restart, belongs to its owner, and goes when its time is over."""

import asyncio
import glob
import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from agenthost.engine import EngineConfig
from agenthost.server.chat.transcript import Hidden, Turn, ids_of
from agenthost.server.config import ServerConfig
from agenthost.server.store import Store, StoreError
from agenthost.server.store import schema as store_schema
from agenthost.server.store.containers import Containers, StoredContainer
from agenthost.server.store.conversations import Conversations
from agenthost.server.store.files import Files, StoredFile
from agenthost.server.store.responses import Responses, StoredResponse
from agenthost.server.store.turns import Turns


def run_with(work, url):
    async def run():
        async with Store(url) as store:
            return await work(store)

    return asyncio.run(run())


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL server of our own, reached by a socket in its folder."""
    found = [*glob.glob("/usr/lib/postgresql/*/bin"), os.path.dirname(shutil.which("initdb") or "")]
    programs = next((folder for folder in found if folder and os.path.exists(f"{folder}/pg_ctl")), None)
    if programs is None or importlib.util.find_spec("psycopg") is None:
        pytest.skip("PostgreSQL and psycopg are not installed")
    folder = tempfile.mkdtemp(prefix="agenthost-pg-")  # its name is short, as sockets' must be
    prefix = []
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        shutil.chown(folder, "postgres")
        prefix = ["runuser", "-u", "postgres", "--"]

    def program(*words):
        subprocess.run([*prefix, f"{programs}/{words[0]}", *words[1:]], check=True, stdout=subprocess.DEVNULL, cwd="/")

    program("initdb", "-D", f"{folder}/data", "-A", "trust", "-U", "postgres")
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    program("pg_ctl", "-D", f"{folder}/data", "-o", options, "-l", f"{folder}/log", "-w", "start")
    yield f"postgresql+psycopg://postgres@/{{}}?host={folder}"
    program("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "-w", "stop")
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def with_store(request):
    """Runs work on a store that is new."""
    if request.param == "sqlite":
        return lambda work: run_with(work, "sqlite://")
    template, name = request.getfixturevalue("postgres"), f"t{secrets.token_hex(8)}"
    engine = sa.create_engine(template.format("postgres"), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return lambda work: run_with(work, template.format(name))


def response(name, previous=None, owner="ada", created=None, status="completed"):
    body = {"id": name, "status": status}
    stored = StoredResponse(name, owner, body, [{"id": f"in-{name}"}], [{"id": f"out-{name}"}], previous)
    return replace(stored, created=created or time.time())


def test_a_chain_is_read_back_oldest_first_and_by_its_owner_only(with_store):
    async def work(store):
        responses = Responses(store)
        for one in (response("a"), response("b", "a"), response("c", "b")):
            await responses.put(one)
        assert [one.id for one in await responses.history("c", "ada") or ()] == ["a", "b", "c"]
        assert await responses.history("c", "bob") is None
        assert await responses.get("c", "bob") is None
        assert not await responses.delete("c", "bob")

    with_store(work)


def test_items_are_found_by_however_many_ids(with_store):
    async def work(store):
        responses = Responses(store)
        for name in ("a", "b"):
            await responses.put(response(name))
        found = await responses.find_items(["out-a", *map(str, range(300_000)), "out-b", "in-a"], "ada")
        assert found == {"out-a": {"id": "out-a"}, "out-b": {"id": "out-b"}}
        assert await responses.find_items(["out-a"], "bob") == {}

    with_store(work)


def test_what_is_deleted_is_removed_once_nothing_continues_it(with_store):
    async def work(store):
        responses, turns = Responses(store), Turns(store)
        await responses.put(response("a"))
        await responses.put(response("b", "a"))
        await turns.keep_turn(b"1" * 20, Turn(None, ids_of([1])), "a")
        assert await responses.delete("a", "ada")
        assert await responses.get("a", "ada") is None
        assert [one.id for one in await responses.history("b", "ada") or ()] == ["a", "b"]
        assert await turns.find_turns([b"1" * 20])
        assert await responses.delete("b", "ada")
        count = sa.select(sa.func.count()).select_from(store_schema.responses)
        assert await store.run(lambda connection: connection.execute(count).scalar_one()) == 0
        assert not await turns.find_turns([b"1" * 20])

    with_store(work)


def test_conversations_and_files_are_kept(with_store, tmp_path):
    async def work(store):
        conversations, files = Conversations(store), Files(store, tmp_path)
        await conversations.create("c", "ada", {"a": "b"}, [{"id": "i1"}])
        await conversations.append("c", [{"id": "i2", "x": "é"}])
        assert [item["id"] for item in await conversations.items("c")] == ["i1", "i2"]
        assert await conversations.delete_item("c", "i1")
        assert not await conversations.update("c", "bob", {})
        assert not await conversations.delete("c", "bob")
        assert await conversations.delete("c", "ada")
        assert await conversations.items("c") == []
        now = time.time()
        for name, expires in (("f", None), ("g", now - 1)):
            await files.add(StoredFile(name, "ada", name, "batch", 3, now, expires), b"abc")
        assert await files.total("ada") == 3
        assert [file.id for file in await files.list("ada")] == ["f"]
        assert await files.expire() == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == ["f"]

    with_store(work)


def test_containers_are_forgotten_when_they_have_been_over_for_long(with_store):
    async def work(store):
        containers, now = Containers(store), time.time()
        for name, minutes, last in (("old", 10, now - 4000), ("over", 10, now - 2000), ("lives", 1000, now - 4000)):
            await containers.add(StoredContainer(name, "ada", name, name, minutes, last, last))
        assert await containers.expire(now - 3000) == 1
        assert {one.id for one in await containers.list("ada")} == {"over", "lives"}

    with_store(work)


def test_old_responses_go_unless_a_newer_one_continues_them(with_store):
    async def work(store):
        responses = Responses(store)
        chain = [response("a", created=1.0), response("b", "a", created=2.0), response("c", "b", created=3.0)]
        for one in (response("old", created=1.0), response("older", "old", created=2.0), *chain, response("d", "c")):
            await responses.put(one)
        assert await responses.expire(time.time() - 60) == 2
        assert await responses.get("old", "ada") is None
        assert [one.id for one in await responses.history("d", "ada") or ()] == ["a", "b", "c", "d"]

    with_store(work)


def test_turns_come_back_with_all_that_they_continue(with_store):
    async def work(store):
        turns = Turns(store)
        hidden = Hidden([{"role": "tool", "content": "x"}], {"role": "assistant", "content": "y"})
        first, second = (
            Turn(None, ids_of([1, 70_000]), "thought"),
            Turn(b"1" * 20, ids_of([3]), "", hidden),
        )
        assert await turns.keep_turn(b"1" * 20, first, "r1")
        assert await turns.keep_turn(b"2" * 20, second, "r2")
        assert not await turns.keep_turn(b"2" * 20, second, "r2")
        assert await turns.find_turns([b"0" * 20, b"1" * 20, b"2" * 20]) == {b"1" * 20: first, b"2" * 20: second}

    with_store(work)


def test_an_older_schema_is_migrated_and_a_newer_one_refused(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/a.db"
    run_with(lambda store: Responses(store).put(response("a")), url)

    def add_column(connection):
        connection.execute(sa.text("ALTER TABLE responses ADD COLUMN colour TEXT"))

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        store_schema.migrate(connection, (*store_schema.MIGRATIONS, add_column))
        assert "colour" in [column["name"] for column in sa.inspect(connection).get_columns("responses")]
        assert connection.execute(sa.text("SELECT id FROM responses")).scalar_one() == "a"
    engine.dispose()
    with pytest.raises(StoreError, match="newer agenthost"):
        run_with(lambda store: asyncio.sleep(0), url)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/no/such/place.db", "nodatabase://x/y"])
def test_a_store_that_cannot_be_used_says_so(url):
    with pytest.raises(StoreError, match=r"store|database URL"):
        run_with(lambda store: asyncio.sleep(0), url)


def test_a_password_is_not_shown():
    with pytest.raises(StoreError) as problem:
        run_with(lambda store: asyncio.sleep(0), "postgresql+psycopg://ada:secret@127.0.0.1:1/x")
    assert "secret" not in str(problem.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [("nonsense", "--store-url is not a database URL"), ("sqlite:///{file}", "file is not a database")],
)
def test_what_is_no_database_is_named_on_one_line(url, said, tmp_path):
    file = tmp_path / "x.db"
    file.write_bytes(b"text " * 1000)
    with pytest.raises(StoreError, match=said) as problem:
        run_with(lambda store: asyncio.sleep(0), url.format(file=file))
    assert "\n" not in str(problem.value)


def test_postgresql_without_its_driver_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=r"agenthost\[postgres\]"):
        run_with(lambda store: asyncio.sleep(0), "postgresql+psycopg://ada@127.0.0.1:1/x")


@pytest.fixture
def restarting(model_folder, make_engine, make_server, tmp_path):
    """Starts servers one after the other on the same state."""

    def start(script):
        texts = list(script)
        engine = make_engine(model_folder, lambda request: texts.pop(0))
        config = ServerConfig(
            engine=EngineConfig(model=str(model_folder)),
            served_model_name=("m",),
            state_dir=str(tmp_path / "state"),
            drain_seconds=0,
        )
        return engine, make_server(config, engine)

    return start


def connect(url):
    return openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0)


def test_a_restart_loses_nothing_and_goes_on_token_for_token(restarting):
    before, serving = restarting(["Hi Ada.", "noted"])
    with serving as url, connect(url) as client:
        conversation = client.conversations.create()
        first = client.responses.create(model="m", input="I am Ada.")
        client.responses.create(model="m", input="remember", conversation=conversation.id)
        file = client.files.create(file=("data.csv", b"a,b\n"), purpose="user_data")
    after, serving = restarting(["Ada.", "yes"])
    with serving as url, connect(url) as client:
        assert client.responses.retrieve(first.id).output_text == "Hi Ada."
        assert client.files.content(file.id).read() == b"a,b\n"
        client.responses.create(model="m", input="Who?", previous_response_id=first.id)
        client.responses.create(model="m", input="still?", conversation=conversation.id)
    for one, other, said in zip(before.requests, after.requests, ("Hi Ada.", "noted"), strict=True):
        written = [*one.prompt, *before.tokenizer.encode(said), before.tokenizer.eos_token_ids[0]]
        assert other.prompt[: len(written)] == written


def test_what_ran_when_the_server_stopped_has_failed(with_store):
    async def work(store):
        responses = Responses(store)
        await responses.put(response("a", status="in_progress"))
        await responses.put(response("b"))
        assert await responses.end_interrupted({"code": "server_error", "message": "stopped"}) == 1
        a, b = await responses.get("a", "ada"), await responses.get("b", "ada")
        assert a is not None
        assert b is not None
        assert (a.body["status"], a.body["error"]["message"]) == ("failed", "stopped")
        assert b.body["status"] == "completed"
        assert await responses.end_interrupted({}) == 0

    with_store(work)


def test_work_in_the_background_ends_with_the_server(restarting):
    engine, serving = restarting(["An answer without end."])
    engine.gate = lambda: asyncio.Event().wait()
    with serving as url, connect(url) as client:
        response_id = client.responses.create(model="m", input="go", background=True).id
    _, serving = restarting([])
    with serving as url, connect(url) as client:
        assert client.responses.retrieve(response_id).status == "failed"


def test_the_stream_of_what_was_interrupted_ends(restarting, tmp_path):
    async def interrupt(store):
        responses = Responses(store)
        stored = await responses.get(response_id, "local")
        assert stored is not None
        await responses.put(replace(stored, body={**stored.body, "status": "failed"}, events=None))

    _, serving = restarting(["hello"])
    with serving as url, connect(url) as client:
        response_id = client.responses.create(model="m", input="go", background=True).id
        list(client.responses.retrieve(response_id, stream=True))
        run_with(interrupt, f"sqlite:///{tmp_path}/state/agenthost.db")
        last: Any
        [last] = client.responses.retrieve(response_id, stream=True, starting_after=3)
        assert (last.type, last.sequence_number, last.response.id) == ("response.failed", 4, response_id)
