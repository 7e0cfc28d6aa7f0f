"""Workspace files as MCP resources: who sees which, what reading gives, and news of changes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import anyio
import mcp.types as types
import pytest
from agenthost.server.mcp import resources
from agenthost.server.mcp.server import create_server
from agenthost.server.mcp.uris import parse, workspace_uri
from agenthost.server.mcp.visits import Visits
from agenthost.tools import Registry, Session, Sessions, default_tools, probe
from agenthost.tools.files.walk import walk
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError

pytestmark = pytest.mark.anyio
ERAS = pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sessions():
    async with Sessions() as sessions:
        yield sessions


@pytest.fixture
async def own(sessions) -> Session:
    return await sessions.create()


@pytest.fixture(scope="module")
def registry() -> Iterator[Registry]:
    verdict = probe()
    yield default_tools(verdict, files="full").registry
    if verdict.backend is not None:
        verdict.backend.close()


@pytest.fixture
def server(registry, sessions, own):
    return create_server(registry, Visits(sessions, own))


def write(session: Session, path: str, data: bytes) -> str:
    (session.workspace / path).parent.mkdir(parents=True, exist_ok=True)
    (session.workspace / path).write_bytes(data)
    return workspace_uri(session.id, path)


@ERAS
async def test_files_are_listed_and_read_by_their_uris(server, own, mode):
    uris = {write(own, "a ü.txt", b"text"), write(own, "deep/b.bin", b"\x00\xff"), write(own, "c.csv", b"x,y\n1,2\n")}
    async with Client(server, mode=mode) as client:
        listed = (await client.list_resources()).resources
        read = {resource.uri: (await client.read_resource(resource.uri)).contents[0] for resource in listed}
    assert {resource.uri for resource in listed} == uris
    assert [(resource.name, resource.size) for resource in listed if resource.mime_type == "text/csv"] == [("c.csv", 8)]
    text = read[workspace_uri(own.id, "a ü.txt")]
    assert isinstance(text, types.TextResourceContents)
    assert text.text == "text"
    blob = read[workspace_uri(own.id, "deep/b.bin")]
    assert isinstance(blob, types.BlobResourceContents)
    assert blob.blob == "AP8="


@pytest.mark.parametrize(
    "path", ["nothing.txt", "../escape", "%2e%2e/escape", "/etc/passwd", "folder", "link", "pipe", "a\0b", ""]
)
@ERAS
async def test_what_is_no_file_of_the_workspace_is_not_found(server, own, mode, path):
    (own.workspace / "folder").mkdir()
    (own.workspace / "link").symlink_to("/etc/passwd")
    os.mkfifo(own.workspace / "pipe")
    uri = f"workspace:///{own.id}/{path}"
    async with Client(server, mode=mode) as client:
        with anyio.fail_after(5), pytest.raises(MCPError) as failure:
            await client.read_resource(uri)
    assert failure.value.error.code == (-32002 if mode == "legacy" else -32602)
    assert failure.value.error.data == {"uri": uri}


async def test_sessions_of_others_are_neither_listed_nor_read(server, sessions, own):
    others = await sessions.create("somebody else")
    uri = write(others, "secret.txt", b"secret")
    write(own, "mine.txt", b"mine")
    async with Client(server) as client:
        assert [resource.name for resource in (await client.list_resources()).resources] == ["mine.txt"]
        with pytest.raises(MCPError):
            await client.read_resource(uri)


async def test_long_lists_come_in_pages(server, own):
    for number in range(450):
        write(own, f"{number:03}.txt", b"")
    async with Client(server) as client:
        seen, cursor = [], None
        while True:
            page = await client.list_resources(cursor=cursor)
            seen += [resource.name for resource in page.resources]
            if (cursor := page.next_cursor) is None:
                break
        assert seen == [f"{number:03}.txt" for number in range(450)]
        with pytest.raises(MCPError, match="Invalid cursor"):
            await client.list_resources(cursor="-1")


async def test_a_page_looks_at_no_more_sessions_than_it_shows(sessions, own, monkeypatch):
    for number in range(resources.PAGE + 1):
        write(own, f"{number:03}.txt", b"x")
    walked = []
    monkeypatch.setattr(resources, "walk", lambda root: walked.append(root) or walk(root))
    page, more = resources._page([own, await sessions.create()], 0)
    assert ([page[0].size, len(page)], more, walked) == ([1, resources.PAGE], True, [own.files])


async def test_a_large_file_is_refused_with_advice(server, own):
    uri = write(own, "large.bin", b"")
    os.truncate(own.workspace / "large.bin", 20_000_000)
    async with Client(server) as client:
        with pytest.raises(MCPError, match="Read parts of it with a tool"):
            await client.read_resource(uri)


@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_a_subscriber_with_a_handshake_hears_of_changes(server, own):
    uri = workspace_uri(own.id, "a.txt")
    heard = anyio.Event()

    async def listen(message) -> None:
        if isinstance(message, types.ResourceUpdatedNotification) and message.params.uri == uri:
            heard.set()

    async with Client(server, mode="legacy", message_handler=listen) as client:
        await client.subscribe_resource(uri)
        await client.call_tool("python", {"code": "open('a.txt', 'w').write('by code')"})
        with anyio.fail_after(20):
            await heard.wait()
        await client.unsubscribe_resource(uri)


async def test_a_listener_without_a_handshake_hears_only_of_what_it_may_read(server, sessions, own):
    mine = write(own, "a.txt", b"one")
    others = await sessions.create("somebody else")
    secret = write(others, "secret.txt", b"one")
    async with (
        Client(server, mode="2026-07-28") as client,
        client.listen(resource_subscriptions=[secret, mine]) as news,
    ):
        write(others, "secret.txt", b"changed")
        write(own, "a.txt", b"changed")
        with anyio.fail_after(20):
            event = await anext(aiter(news))
    assert event == ResourceUpdated(uri=mine)


async def test_prompts_are_those_that_the_tools_can_do(server):
    async with Client(server) as client:
        assert [prompt.name for prompt in (await client.list_prompts()).prompts] == ["analyse_file"]
        got = await client.get_prompt("analyse_file", {"path": "x.csv", "session_id": "abc"})
        content = got.messages[0].content
        assert isinstance(content, types.TextContent)
        assert "x.csv" in content.text
        assert "session_id abc" in content.text
        with pytest.raises(MCPError, match="Missing arguments for analyse_file: path"):
            await client.get_prompt("analyse_file", {})
        with pytest.raises(MCPError, match="Unknown prompt"):
            await client.get_prompt("research", {"question": "x"})


@pytest.mark.parametrize("path", ["a", "a/b c", "ä%20#?", "\udcff", "..", "a//b"])
def test_uris_and_paths_are_each_others_inverse(path):
    assert parse(workspace_uri("id", path)) == ("id", path)


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "workspace:///", "workspace:///id", "workspace:///id/", "x", ""])
def test_other_uris_are_none_of_ours(uri):
    assert parse(uri) is None
