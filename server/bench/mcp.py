"""MCP on this machine: our server beside the SDK's own, external tools beside direct calls, and idle sessions.

Starts `agenthost serve` with the embedded model, and the SDK's own server with a tool that does nothing. Calls go to
both in turn, from one client, in both eras of the protocol. Ours is `list_allowed_directories`, a real tool that only
answers, in a session. An external tool is called as the hosted loop calls it, and directly with the same library.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from typing import Any, cast

import anyio
import httpx2
import psutil
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ...engine.bench.report import Figure, Report, arguments, positive
from ...engine.bench.table import Percentiles, Table, Value
from ...tools import Registry, Sessions, ToolContext
from ...tools.remote import RemoteServers, ServerConfig
from .client import Endpoint
from .errors import ServerFailed
from .own_server import own_server

Call = Callable[[], Awaitable[object]]

_WARM = 20  # calls that are not counted
_ERAS = {"handshake": "legacy", "stateless": "2026-07-28"}
_UNITS = {"what": "", "calls": "", "ours": "ms", "other": "ms", "ratio": "", "added": "ms"}
_OPEN = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "bench", "version": "1"}},
}
_OPENED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
_ACCEPT = {"Accept": "application/json, text/event-stream"}


def main(words: Sequence[str]) -> int:
    """Exit status 0. Raises BenchError when a server could not be started."""
    parser = arguments("mcp", __doc__)
    parser.add_argument("--calls", type=positive, default=300, metavar="N", help="in each row")
    parser.add_argument("--sessions", type=positive, default=500, metavar="N", help="idle ones")
    options = parser.parse_args(words)
    with own_server("pocket", "--mcp-calls-per-second", "0") as endpoint, _sdk_server() as other:
        report = anyio.run(_measure, endpoint, other, options.calls, options.sessions)
    report.emit(options.json)
    return 0


async def _measure(endpoint: Endpoint, other: str, calls: int, sessions: int) -> Report:
    url = endpoint.url.removesuffix("/v1") + "/mcp"
    headers = {"Authorization": f"Bearer {endpoint.key}"}
    rows = [await _beside_the_sdk(era, url, headers, other, calls) for era in _ERAS]
    rows.append(await _external(other, calls))
    before, after = await _idle(url, headers, sessions)
    figures = [
        Figure("idle_sessions", (after - before) / 1e6, "MB", f"{sessions} connections with a handshake"),
        Figure("base", before / 1e6, "MB", "the front's memory before"),
    ]
    return Report("mcp", {"calls": calls, "sessions": sessions}, figures, [Table("calls", _UNITS, rows)])


async def _beside_the_sdk(era: str, url: str, headers: dict[str, str], other: str, calls: int) -> dict[str, Value]:
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(_client(stack, url, _ERAS[era], headers))
        theirs = await stack.enter_async_context(_client(stack, other, _ERAS[era]))
        first = await ours.call_tool("list_allowed_directories", {})
        session = {"session_id": (first.meta or {})["agenthost/session_id"]}
        found = await _in_turn(
            lambda: ours.call_tool("list_allowed_directories", session), lambda: theirs.call_tool("noop", {}), calls
        )
        return _row(f"no-op call, {era}", found, calls)


async def _external(other: str, calls: int) -> dict[str, Value]:
    async with AsyncExitStack() as stack:
        direct = await stack.enter_async_context(_client(stack, other, "2026-07-28"))
        servers = await stack.enter_async_context(RemoteServers([ServerConfig("bench", url=other)]))
        await servers.tried()
        registry = Registry.of(servers.tools())
        context = ToolContext(await (await stack.enter_async_context(Sessions())).create())
        found = await _in_turn(
            lambda: registry.call("bench__noop", {}, context), lambda: direct.call_tool("noop", {}), calls
        )
        return _row("external tool, beside a direct call", found, calls)


def _client(stack: AsyncExitStack, url: str, mode: str, headers: dict[str, str] | None = None) -> Client:
    http = httpx2.AsyncClient(headers=headers, timeout=60)
    stack.push_async_callback(http.aclose)
    return Client(cast(Any, streamable_http_client(url, http_client=http)), mode=mode, cache=None)


async def _in_turn(ours: Call, other: Call, calls: int) -> tuple[Percentiles, Percentiles]:
    """Milliseconds of each call, one of these and one of those, so that both see the same machine."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(calls + _WARM):
        for call, found in zip((ours, other), times, strict=True):
            begun = time.perf_counter()
            await call()
            if number >= _WARM:
                found.append(1000 * (time.perf_counter() - begun))
    return Percentiles.of(times[0]), Percentiles.of(times[1])


def _row(what: str, found: tuple[Percentiles, Percentiles], calls: int) -> dict[str, Value]:
    ours, other = found
    assert ours.p50 is not None
    assert other.p50 is not None
    ratio, added = ours.p50 / other.p50, ours.p50 - other.p50
    return {"what": what, "calls": calls, "ours": ours, "other": other, "ratio": ratio, "added": added}


async def _idle(url: str, headers: dict[str, str], sessions: int) -> tuple[int, int]:
    """Bytes of our server's memory before and after so many connections with a handshake."""
    process = _listener(url)
    async with httpx2.AsyncClient(headers={**headers, **_ACCEPT}, timeout=60) as http:
        before = process.memory_info().rss
        for _ in range(sessions):
            answer = await http.post(url, json=_OPEN)
            session = {"Mcp-Session-Id": answer.raise_for_status().headers["mcp-session-id"]}
            (await http.post(url, json=_OPENED, headers=session)).raise_for_status()
        return before, process.memory_info().rss


def _listener(url: str) -> psutil.Process:
    port = int(url.split(":")[2].split("/")[0])
    for child in psutil.Process().children(recursive=True):
        if any(
            connection.laddr.port == port for connection in child.net_connections() if connection.status == "LISTEN"
        ):
            return child
    raise RuntimeError(f"no child of this process listens on port {port}")


@contextmanager
def _sdk_server() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [sys.executable, "-m", "agenthost.server.bench.sdk_server", str(port)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            while not _listens(port):
                if process.poll() is not None:
                    raise ServerFailed("the SDK's own server ended before it listened")
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
