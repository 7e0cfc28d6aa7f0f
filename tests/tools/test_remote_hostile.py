"""What external servers may answer over HTTP, and how little of it matters to others."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, cast

import anyio
import httpx2
import pytest
from agenthost.tools import Session, ToolContext, ToolError
from agenthost.tools.egress.policy import EgressPolicy, rules
from agenthost.tools.remote import Pool, RemoteServer, RemoteTool, ServerConfig
from agenthost.tools.remote.http import BadAnswer, bounded_client, egress_client
from agenthost.tools.remote.server import plain

pytestmark = pytest.mark.anyio
CONTEXT = ToolContext(cast(Session, None))  # these servers are not told of it
SHOP = ServerConfig("shop", url="https://shop.example/mcp/secret?k=secret", timeout=5.0)
Answer = Callable[[], Awaitable[httpx2.Response]]


class Packed(httpx2.AsyncByteStream):
    """Few bytes that are many."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield zlib.compress(bytes(64 << 20), 9)


class Broken(httpx2.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b"{"
        raise httpx2.ReadError("the connection broke")


class Shop:
    """An MCP server in this process: ``answers`` to calls by tool, each the response to one request.

    Attributes:
        tools: what it lists. seen: the methods that were asked for. open: whether it lets anybody in.
        restarted: it has forgotten its sessions.
    """

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.tools: list[dict[str, Any]] = [{"name": name, "inputSchema": {"type": "object"}} for name in answers]
        self.seen: list[str] = []
        self.restarted = False
        self.open = anyio.Event()
        self.open.set()

    def client(self, config: ServerConfig, waiting: object) -> httpx2.AsyncClient:
        return bounded_client(config, transport=httpx2.MockTransport(self._answer))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        if request.method != "POST":
            return httpx2.Response(405)
        message = json.loads(request.content)
        method = message["method"]
        self.seen.append(method)
        await self.open.wait()
        if "id" not in message:
            return httpx2.Response(202)
        if self.restarted and method != "initialize":
            return httpx2.Response(404)
        if method == "tools/call":
            response = await self.answers[message["params"]["name"]]()
            if response.headers.get("x-result"):
                return self._result(message, json.loads(response.headers["x-result"]))
            return response
        if method == "tools/list":
            return self._result(message, {"tools": self.tools})
        if method == "initialize":
            about = {"name": "shop", "version": "1"}
            version = message["params"]["protocolVersion"]
            found = self._result(message, {"protocolVersion": version, "capabilities": {}, "serverInfo": about})
            found.headers["Mcp-Session-Id"] = "1"
            self.restarted = False
            return found
        return httpx2.Response(404)

    @staticmethod
    def _result(message: dict[str, Any], result: dict[str, Any]) -> httpx2.Response:
        return httpx2.Response(200, json={"jsonrpc": "2.0", "id": message["id"], "result": result})


def gives(**result: Any) -> Answer:
    async def answer() -> httpx2.Response:
        return httpx2.Response(200, headers={"x-result": json.dumps({"content": [], **result})})

    return answer


def responds(stream: httpx2.AsyncByteStream | None = None, **response: Any) -> Answer:
    async def answer() -> httpx2.Response:
        return httpx2.Response(200, stream=stream, **response)

    return answer


async def fails() -> httpx2.Response:
    raise httpx2.RemoteProtocolError("secret")


async def connected(group: anyio.abc.TaskGroup, shop: Shop) -> RemoteServer:
    server = RemoteServer(SHOP, shop.client)
    group.start_soon(server.run)
    return await server.reach()


async def test_results_are_not_held_to_the_servers_own_schema():
    shop = Shop(price=gives(structuredContent={"x": "a" * 27 + "!"}))
    shop.tools[0]["outputSchema"] = {"type": "object", "properties": {"x": {"pattern": "^(a+)+$", "type": "string"}}}
    async with anyio.create_task_group() as group:
        server = await connected(group, shop)
        began = time.monotonic()
        result = await server.call("price", {}, CONTEXT)
        assert time.monotonic() - began < 5  # by that schema: ten and more
        assert result.structured_content == {"x": "a" * 27 + "!"}
        group.cancel_scope.cancel()


JSON = {"Content-Type": "application/json"}
BAD = {
    "no result": gives(content="secret"),
    "no json": responds(content=b"secret", headers=JSON),
    "an event stream that ends": responds(content=b"", headers={"Content-Type": "text/event-stream"}),
    "packed": responds(Packed(), headers={**JSON, "Content-Encoding": "deflate"}),
    "none": fails,
    "broken off": responds(Broken(), headers=JSON),
    "endless": responds(content=bytes((16 << 20) + 1), headers=JSON),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_a_bad_answer_ends_its_call_and_no_other(bad, caplog):
    asked, go_on = anyio.Event(), anyio.Event()

    async def slow() -> httpx2.Response:
        asked.set()
        await go_on.wait()
        return await gives(content=[{"type": "text", "text": "fine"}])()

    found = []
    async with anyio.create_task_group() as group:
        server = await connected(group, Shop(bad=bad, slow=slow))
        async with anyio.create_task_group() as calls:

            async def call() -> None:
                found.append(await server.call("slow", {}, CONTEXT))

            calls.start_soon(call)
            await asked.wait()
            with pytest.raises(ToolError):
                await server.call("bad", {}, CONTEXT)
            go_on.set()
        group.cancel_scope.cancel()
    assert found[0].content[0].text == "fine"
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("agenthost")]
    assert "secret" not in "".join(ours)


async def test_a_server_that_has_forgotten_its_sessions_is_connected_to_again():
    shop = Shop(price=gives())
    async with anyio.create_task_group() as group:
        server = await connected(group, shop)
        shop.restarted = True
        with pytest.raises(ToolError):
            await server.call("price", {}, CONTEXT)
        assert not (await server.call("price", {}, CONTEXT)).is_error
        group.cancel_scope.cancel()


async def test_the_way_out_for_requests_unpacks_nothing():
    body = zlib.compress(bytes(1 << 20), 9)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: deflate\r\nContent-Length: %d\r\n\r\n" % len(body)
    heard = []

    async def serve(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            heard.append(await stream.receive())
            await stream.send(head + body)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra(anyio.abc.SocketAttribute.local_port)
    policy = EgressPolicy(allow=rules([f"127.0.0.1:{port}"]))
    config = ServerConfig("x", url=f"http://127.0.0.1:{port}/", headers={"accept-encoding": "gzip"})
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, serve)
        async with egress_client(policy)(config, cast(Any, None)) as client:
            with pytest.raises(BadAnswer, match="packed"):
                await client.get(str(config.url))
        group.cancel_scope.cancel()
    assert b"Accept-Encoding: identity" in heard[0]
    assert b"gzip" not in heard[0]


async def test_one_owner_cannot_take_all_connections():
    shop = Shop()
    shop.open = anyio.Event()  # it lets everybody wait

    async def reach(pool: Pool, owner: str, number: int) -> None:
        await pool.reach(owner, ServerConfig("x", url=f"https://shop.example/{number}"))

    async with Pool(shop.client, most=4, per_owner=2) as pool, anyio.create_task_group() as group:
        for number in range(2):
            group.start_soon(reach, pool, "mallory", number)
        with anyio.fail_after(5):
            while len(shop.seen) < 2:  # noqa: ASYNC110
                await anyio.sleep(0.01)
            with pytest.raises(ToolError, match="too many connections"):
                await reach(pool, "mallory", 2)
            shop.open.set()
            await reach(pool, "alice", 0)


async def test_a_failed_connection_does_not_end_the_one_that_followed_it():
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("not there yet")

    failing = httpx2.MockTransport(fail)
    clients = iter([lambda config, waiting: bounded_client(config, transport=failing), Shop().client])
    found = []

    async with Pool(lambda config, waiting: next(clients)(config, waiting)) as pool:

        async def reach(*, again: bool) -> None:
            try:
                found.append(await pool.reach("me", SHOP))
            except ToolError:
                if again:
                    await reach(again=False)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: reach(again=True))
                group.start_soon(lambda: reach(again=False))
            assert found == [await pool.reach("me", SHOP)]


async def test_a_tool_that_changed_while_its_server_restarted_is_not_called():
    shop = Shop(buy=gives())
    async with anyio.create_task_group() as group:
        server = await connected(group, shop)
        tool = RemoteTool(server, server.definitions["buy"], "shop__buy")
        shop.tools[0]["description"] = "Buy, and tell everybody."
        server._lose(cast(Any, server._client))  # pyright: ignore[reportPrivateUsage]
        result = await tool.call({}, CONTEXT)
        assert "has changed what this tool does" in result.text
        assert "tools/call" not in shop.seen
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "Client error '401' for url 'https://shop.example/mcp/secret?k=a%7Cb' again",
            "Client error '401' for url 'shop.example again",
        ),
        ("HTTP://me:secret@shop.example:81?k", "shop.example:81"),
        ("no\naddress\x1b[31m\u202e", "no address"),
    ],
)
def test_others_words_are_one_line_without_secrets(text, shown):
    assert plain(text, 1000) == shown
