"""The proxy's doors: what clients get through them, and what hostile ones do not."""

from __future__ import annotations

import os
import stat

import anyio
import httpx2
import psutil
import pytest
from agenthost.tools.egress import exchange
from agenthost.tools.egress.connect import Egress
from agenthost.tools.egress.policy import EgressPolicy, rules
from agenthost.tools.egress.proxy import Door, EgressProxy

pytestmark = pytest.mark.anyio


@pytest.fixture
async def door(proxy: EgressProxy, egress: Egress) -> Door:
    return await proxy.open_loopback(egress)


def client(door: Door, **options) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(proxy=f"http://127.0.0.1:{door.port}", trust_env=False, timeout=10, **options)


async def raw(door: Door, data: bytes) -> bytes:
    """Everything that comes back for some bytes."""
    answer = b""
    async with await anyio.connect_tcp("127.0.0.1", door.port) as stream:
        await stream.send(data)
        with anyio.fail_after(10):
            try:
                async for part in stream:
                    answer += part
                    if b"Connection: close" not in answer and answer.endswith(b"\r\n\r\n"):
                        return answer
            except anyio.BrokenResourceError:
                pass
    return answer


async def test_requests_pass_as_they_are(site, door):
    def echo(visit):
        return 201, {"X-Kept": "yes", "Connection": "X-Hop", "X-Hop": "1", "Alt-Svc": "h3"}, visit.body[::-1]

    site.pages["/echo"] = echo
    async with client(door) as http:
        for body in (b"hello", b"x" * 200_000):
            answer = await http.post(f"{site.url}/echo?a=b%20c", content=body, headers={"X-Mine": "1"})
            assert (answer.status_code, answer.content) == (201, body[::-1])
            assert answer.headers["x-kept"] == "yes"
            assert not {"x-hop", "alt-svc"} & set(answer.headers)
        assert (await http.head(f"{site.url}/echo")).status_code == 201
        assert (await http.get(f"{site.url}/none")).status_code == 404

        async def parts():
            yield b"a"
            yield b"b"

        assert (await http.post(f"{site.url}/echo", content=parts())).content == b"ba"
    first = site.visits[0]
    assert first.path == "/echo?a=b%20c"
    assert first.headers["host"] == f"127.0.0.1:{site.port}"
    assert first.headers["x-mine"] == "1"
    assert not {"proxy-connection", "proxy-authorization"} & set(first.headers)


async def test_many_clients_are_served_together(site, door):
    url = site.html("/", "x" * 10_000)
    async with client(door) as http:
        sizes = []

        async def get():
            sizes.append(len((await http.get(url)).content))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(get)
    assert sizes == [10_000] * 100


@pytest.mark.parametrize(
    "target",
    [
        "http://localhost:{port}/", "http://127.0.0.2:{port}/", "http://2130706434:{port}/", "http://0x7f.0.0.2:{port}/",
        "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://0:{port}/", "http://169.254.169.254/latest/",
        "file:///etc/passwd", "ftp://127.0.0.1/", "http://u:p@127.0.0.1:{port}/", "https://127.0.0.1:{port}/", "/", "*",
    ],
)  # fmt: skip
async def test_what_the_policy_refuses_is_not_asked(site, door, target):
    line = f"GET {target.format(port=site.port)} HTTP/1.1\r\nHost: 127.0.0.1:{site.port}\r\n\r\n"
    answer = await raw(door, line.encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert b"x-agenthost-egress: refused" in answer
    assert site.connections == 0


async def test_the_host_header_cannot_say_another_host(site, door):
    site.html("/", "hello")
    answer = await raw(door, f"GET {site.url}/ HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n".encode())
    assert b" 200 " in answer
    assert site.visits[0].headers["host"] == f"127.0.0.1:{site.port}"


@pytest.mark.parametrize(
    "target",
    ["localhost:{port}", "127.0.0.2:{port}", "[::1]:{port}", "169.254.169.254:80", "127.0.0.1:22", "x", "127.0.0.1:"],
)
async def test_tunnels_to_what_the_policy_refuses_are_not_made(site, door, target):
    answer = await raw(door, f"CONNECT {target.format(port=site.port)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert site.connections == 0


async def test_a_tunnel_carries_bytes_both_ways_until_one_side_ends(proxy, unused_port):
    async def double(stream):
        async with stream:
            async for part in stream:
                await stream.send(part * 2)

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=unused_port)
    door = await proxy.open_loopback(Egress(EgressPolicy(allow=rules([f"127.0.0.1:{unused_port}"]))))
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, double)
        async with await anyio.connect_tcp("127.0.0.1", door.port) as stream:
            await stream.send(f"CONNECT 127.0.0.1:{unused_port} HTTP/1.1\r\nHost: x\r\n\r\nearly".encode())
            got = b""
            while not got.endswith(b"earlyearly"):
                got += await stream.receive()
            assert got.startswith(b"HTTP/1.1 200 ")
            await stream.send(b"x" * 100_000)
            await stream.send_eof()
            rest = 0
            async for part in stream:
                rest += len(part)
            assert rest == 200_000
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize(
    "request_",
    [
        b"garbage\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"POST http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"GET http://127.0.0.1/ HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 100_000,
        b"GET http://127.0.0.1/\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
async def test_a_request_that_cannot_be_read_is_answered_so(door, site, request_):
    assert (await raw(door, request_)).startswith(b"HTTP/1.1 400 ")
    assert site.connections == 0


async def test_a_length_beside_chunks_does_not_smuggle_a_request(site, door):
    site.pages["/"] = lambda visit: (200, {}, visit.body)
    smuggled = f"GET {site.url}/smuggled HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    head = f"POST {site.url}/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n".encode()
    await raw(door, head + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled))
    assert site.paths() == ["/"]
    assert site.visits[0].body == smuggled


async def test_a_body_beyond_the_budget_breaks_off_visibly(site, proxy):
    url = site.html("/", "x" * 500_000)
    door = await proxy.open_loopback(Egress(EgressPolicy(allow=rules([site.rule]), max_bytes=100_000)))
    async with client(door) as http:
        with pytest.raises(httpx2.RemoteProtocolError):
            await http.get(url)
        assert (await http.get(url)).status_code == 429


async def test_a_silent_client_is_let_go(door, monkeypatch):
    monkeypatch.setattr(exchange, "_HEAD_SECONDS", 0.05)
    assert await raw(door, b"GET http://127.0.0.1/ HTTP/1.1\r\n") == b""


async def test_a_server_that_is_gone_is_a_bad_gateway(proxy, unused_port):
    door = await proxy.open_loopback(Egress(EgressPolicy(allow=rules([f"127.0.0.1:{unused_port}"]))))
    async with client(door) as http:
        answer = await http.get(f"http://127.0.0.1:{unused_port}/")
    assert answer.status_code == 502
    assert answer.headers["x-agenthost-egress"] == "failed"


async def test_a_unix_door_is_for_one_user_and_goes_away(site, proxy, egress, tmp_path):
    path = tmp_path / "door"
    door = await proxy.open_unix(path, egress, uid=os.geteuid())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    url = site.html("/", "hello")
    async with await anyio.connect_unix(path) as stream:
        await stream.send(f"GET {url} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        async for part in stream:
            answer += part
    assert answer.endswith(b"hello")
    async with await anyio.connect_unix(path) as stream:  # an open connection does not keep a door open
        await door.close()
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await stream.receive()
    assert not path.exists()


async def test_each_door_has_its_own_budget(site, proxy, egress):
    url = site.html("/", "hello")
    one, other = await proxy.open_loopback(egress), await proxy.open_loopback(Egress(egress.policy))
    async with client(one) as http:
        await http.get(url)
    assert one.egress.used > 0
    assert other.egress.used == 0


async def test_nothing_is_left_open(site, egress):
    url = site.html("/", "hello")
    async with EgressProxy() as proxy:
        door = await proxy.open_loopback(egress)
        async with client(door) as http:
            await http.get(url)
            with pytest.raises(httpx2.ProxyError):
                await http.get(f"https://localhost:{site.port}/")
    connections = psutil.Process().net_connections(kind="all")
    assert not [c for c in connections if c.raddr and c.raddr[1] in (site.port, door.port)]
    assert not [c for c in connections if c.laddr and c.laddr[1] == door.port and c.status == psutil.CONN_LISTEN]
