"""A local web site that remembers who came, and doors of an egress proxy."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from agenthost.tools import Registry, Session, ToolContext, ToolResult
from agenthost.tools.browser.browsing import Browsing
from agenthost.tools.browser.config import BrowserConfig
from agenthost.tools.egress.connect import Egress, Resolver, system_resolver
from agenthost.tools.egress.policy import EgressPolicy, rules
from agenthost.tools.egress.proxy import EgressProxy

Browse = Callable[..., Awaitable["Caller"]]
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Caller:
    """``await caller(tool, **arguments)`` as an agent of one session."""

    registry: Registry
    session: Session

    async def __call__(self, name: str, /, **arguments: object) -> ToolResult:
        return await self.registry.call(name, arguments, ToolContext(self.session))


@pytest.fixture
def caller(session: Session) -> Callable[[Browsing], Caller]:
    """Calls the tools of something entered already."""
    return lambda browsing: Caller(Registry.of(browsing.tools), session)


@dataclass
class Visit:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Site:
    """Pages by path; ``visits`` and ``connections`` show who came, also by what is no HTTP."""

    port: int = 0
    pages: dict[str, Answer | Callable[[Visit], Answer]] = field(default_factory=dict)
    visits: list[Visit] = field(default_factory=list)
    connections: int = 0
    server: ThreadingHTTPServer | None = None

    def secure(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on."""
        assert self.server
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)

    def clear(self) -> None:
        self.pages.clear()
        self.visits.clear()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rule(self) -> str:
        return f"127.0.0.1:{self.port}"

    def html(self, path: str, text: str, **headers: str) -> str:
        """Put a page up; gives its URL."""
        self.pages[path] = (200, {"Content-Type": "text/html; charset=utf-8", **headers}, text.encode())
        return self.url + path

    def redirect(self, path: str, to: str) -> str:
        self.pages[path] = (302, {"Location": to}, b"")
        return self.url + path

    def paths(self) -> list[str]:
        return [visit.path for visit in self.visits]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    site: Site

    def get_request(self):
        self.site.connections += 1
        return super().get_request()

    def handle_error(self, request, client_address):
        pass  # clients go away in these tests


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _answer(self):
        assert isinstance(self.server, _Server)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        visit = Visit(self.command, self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        self.server.site.visits.append(visit)
        page = self.server.site.pages.get(self.path.partition("?")[0], (404, {}, b"not here"))
        status, headers, content = page(visit) if callable(page) else page
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def log_message(self, format, *args):
        pass


@contextmanager
def running() -> Iterator[Site]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.site = Site(server.server_address[1], server=server)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.site
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    """A site on 127.0.0.1."""
    with running() as site:
        yield site


@pytest.fixture(scope="module")
def lasting_site() -> Iterator[Site]:
    """The same for all tests of a module, as long as something that may reach it."""
    with running() as site:
        yield site


@pytest.fixture
async def browse(site: Site, session: Session) -> AsyncIterator[Browse]:
    """``await browse(**configuration)`` gives ``call(tool, **arguments)``, with the site allowed."""
    async with AsyncExitStack() as stack:

        async def start(resolver: Resolver = system_resolver, **configuration) -> Caller:
            config = BrowserConfig(**{"browser": "text", "allow_host": (site.rule,), **configuration})
            browsing = await stack.enter_async_context(Browsing(config, resolver))
            stack.push_async_callback(session.close)
            return Caller(Registry.of(browsing.tools), session)

        yield start


@pytest.fixture
def egress(site: Site) -> Egress:
    """A way out that may reach the site."""
    return Egress(EgressPolicy(allow=rules([site.rule])))


@pytest.fixture
async def proxy() -> AsyncIterator[EgressProxy]:
    async with EgressProxy() as proxy:
        yield proxy


def names(**answers: list[list[str]]) -> Resolver:
    """A resolver that knows hosts below ``.example``: it gives their answers one by one, as rebinding servers do."""

    async def resolve(host: str, port: int) -> Sequence[str]:
        if not host.endswith(".example"):
            return await system_resolver(host, port)
        found = answers.get(host.removesuffix(".example"), [[]])
        return found.pop(0) if len(found) > 1 else found[0]

    return resolve


@pytest.fixture
def resolver() -> Callable[..., Resolver]:
    return names


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
