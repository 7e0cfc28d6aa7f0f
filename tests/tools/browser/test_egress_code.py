"""Code in a sandbox with a network: what gets out through the egress proxy, and that nothing else does."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Awaitable, Callable

import psutil
import pytest
from agenthost.tools import Session, ToolContext, probe
from agenthost.tools.code.network import CodeNetwork
from agenthost.tools.code.tool import PythonTool
from agenthost.tools.offer import default_tools
from agenthost.tools.sandbox.config import SandboxConfig

pytestmark = pytest.mark.anyio

Run = Callable[[str], Awaitable[str]]


@pytest.fixture(scope="module", params=["zygote", pytest.param("bubblewrap", marks=pytest.mark.slow)])
def networked(request):
    backend = probe(names=[request.param]).require()
    backend.warm_up(network=True)
    yield backend
    backend.close()


@pytest.fixture
async def run(networked, site, resolver, session: Session):
    """Code that may reach ``site.example`` and ``*.sub.example``, of which the first is trusted to be here."""
    answers = {"site": [["127.0.0.1"]], "other": [["127.0.0.1"]], "a.sub": [["127.0.0.1"]], "turns": [["10.0.0.9"]]}
    allowed = (f"site.example:{site.port}", "*.sub.example", f"turns.example:{site.port}")
    config = SandboxConfig(sandbox_allow_hosts=allowed)
    async with CodeNetwork(
        config, (f"site.example:{site.port}", f"other.example:{site.port}"), resolver(**answers)
    ) as network:
        tool = PythonTool(networked, network=network)

        async def run(code: str) -> str:
            result = await tool.call({"code": code}, ToolContext(session))
            return result.text

        yield run
        await session.close()


async def test_libraries_find_the_proxy_by_themselves(run: Run, site):
    site.html("/page", "hello")
    url = f"http://site.example:{site.port}/page"
    assert await run(f"import urllib.request; urllib.request.urlopen('{url}').read()") == "b'hello'"
    shell = f"""
import subprocess, sys
code = "import urllib.request; print(urllib.request.urlopen('{url}').status)"
subprocess.run([sys.executable, "-c", code]); None"""
    assert await run(shell) == "200"


async def test_pip_installs_what_can_then_be_imported(run: Run, site):
    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w") as archive:
        info = "greeting-1.0.dist-info"
        archive.writestr("greeting.py", "def greet(): return 'hello from a wheel'")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "greeting.py,,\n")
    name = "greeting-1.0-py3-none-any.whl"
    site.pages[f"/{name}"] = (200, {"Content-Type": "application/octet-stream"}, wheel.getvalue())
    site.html("/simple/greeting/", f'<a href="/{name}">{name}</a>')
    index = f"http://site.example:{site.port}/simple"
    installed = await run(f"""
import subprocess, sys
pip = [sys.executable, "-m", "pip", "install", "-q", "--trusted-host", "site.example", "--index-url", "{index}"]
subprocess.run([*pip, "greeting"], capture_output=True, text=True).stderr""")
    if "No module named pip" in installed:
        pytest.skip("this Python has no pip")
    assert await run("import greeting; greeting.greet()") == "'hello from a wheel'"
    assert "/simple/greeting/" in site.paths()


async def test_tls_goes_through_to_the_hosts_that_are_allowed(run: Run, site):
    before = site.connections
    answer = await run(f"""
import http.client
def connect(host, port):
    tunnel = http.client.HTTPConnection("127.0.0.1", 3128, timeout=10)
    tunnel.request("CONNECT", f"{{host}}:{{port}}")
    return tunnel.getresponse().status
[connect("site.example", {site.port}), connect("other.example", {site.port}), connect("site.example", 22),
    connect("127.0.0.1", {site.port}), connect("a.sub.example", 443), connect("turns.example", {site.port})]""")
    assert answer == "[200, 403, 403, 403, 403, 403]"
    assert site.connections == before + 1


@pytest.mark.parametrize(
    ("hosts", "said"),
    [
        (None, "hello"),
        (("site.example:{port}",), "hello"),
        (("a.sub.example", "elsewhere.example"), "is not among the hosts"),  # the second was allowed once
        ((), "no proxy"),
    ],
)
async def test_a_session_may_have_less_than_the_operator_allows(run: Run, session: Session, site, hosts, said):
    session.hosts = hosts and tuple(host.format(port=site.port) for host in hosts)
    site.html("/", "hello")
    code = f"""
import os, urllib.request, urllib.error
try:
    answer = urllib.request.urlopen("http://site.example:{site.port}/").read().decode()
except urllib.error.HTTPError as error:
    answer = error.read().decode()
except OSError:
    answer = "no proxy"
answer"""
    assert said in await run(code)


async def test_nothing_but_the_proxy_answers(run: Run, site):
    before = site.connections
    assert (
        await run(f"""
import errno, socket
through = []
for family, kind, address in [
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", {site.port})),
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.2", {site.port})),
    (socket.AF_INET, socket.SOCK_STREAM, ("169.254.169.254", 80)),
    (socket.AF_INET, socket.SOCK_STREAM, ("10.0.0.1", 80)),
    (socket.AF_INET, socket.SOCK_STREAM, ("93.184.216.34", 443)),
    (socket.AF_INET6, socket.SOCK_STREAM, ("::1", {site.port})),
    (socket.AF_INET6, socket.SOCK_STREAM, ("2606:4700::1111", 443)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.53", 53)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("8.8.8.8", 53)),
    (socket.AF_INET6, socket.SOCK_DGRAM, ("ff02::1", 5353)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("255.255.255.255", 9)),
]:
    try:
        s = socket.socket(family, kind); s.settimeout(2); s.connect(address); s.send(b"x")
        s.recv(1); through.append(address)
    except OSError as e:
        if isinstance(e, TimeoutError): through.append(("silence", address))
for family, kind, protocol in [
    (2, socket.SOCK_RAW, 1), (2, socket.SOCK_DGRAM, 1), (2, socket.SOCK_STREAM, 262), (2, socket.SOCK_STREAM, 132),
    (16, socket.SOCK_RAW, 0), (17, socket.SOCK_RAW, 3), (40, socket.SOCK_STREAM, 0), (38, 5, 0),
]:
    try: socket.socket(family, kind, protocol); through.append((family, kind, protocol))
    except OSError: pass
for name in ("example.com", "site.example", "localhost.localdomain"):
    try: socket.getaddrinfo(name, 80); through.append(name)
    except OSError: pass
through""")
        == "[]"
    )
    assert site.connections == before


async def test_interfaces_cannot_be_made_and_other_networks_not_entered(run: Run):
    assert (
        await run("""
import ctypes, fcntl, os, socket, struct
through = []
with socket.socket() as s:
    for number, name in ((0x8914, b"lo"), (0x8916, b"lo"), (0x890B, b"lo")):  # flags, address, route
        try: fcntl.ioctl(s, number, struct.pack("16sH22x", name, 0)); through.append(number)
        except OSError: pass
libc = ctypes.CDLL(None)
for flag in (0x40000000, 0x10000000):
    if libc.unshare(flag) == 0: through.append(flag)
try: socket.create_server(("127.0.0.1", 3128)); through.append("the proxy's place")
except OSError: pass
through""")
        == "[]"
    )


async def test_code_may_serve_itself(run: Run):
    code = """
import http.server, threading, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 8080), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(urllib.request.urlopen("http://127.0.0.1:8080/").status)
server.shutdown()"""
    assert (await run(code)).startswith("200")


async def test_two_sessions_do_not_meet_on_loopback(run: Run, networked, sessions):
    await run("import socket; s = socket.create_server(('127.0.0.1', 9000)); None")
    other = await sessions.create()
    async with CodeNetwork(SandboxConfig(sandbox_allow_hosts=("example.com",))) as network:
        code = "import socket; socket.create_connection(('127.0.0.1', 9000), 2)"
        result = await PythonTool(networked, network=network).call({"code": code}, ToolContext(other))
        assert "ConnectionRefusedError" in result.text
        await other.close()


async def test_many_connections_take_no_descriptors_of_the_server(run: Run):
    before = psutil.Process().num_fds()
    made = await run("""
import socket
held = []
try:
    for _ in range(200): held.append(socket.create_connection(("127.0.0.1", 3128), 1))
except OSError: pass
len(held)""")
    assert int(made) > 100
    assert psutil.Process().num_fds() - before < 80
    await run("held.clear()")


async def test_code_has_no_network_where_isolation_cannot_give_it_one():
    async with CodeNetwork(SandboxConfig(sandbox_allow_hosts=("example.com",))) as network:
        offer = default_tools(probe(names=["landlock"]), network=network)
        assert "python" in offer.registry.tools
        assert any("Code has no network" in sentence for sentence in offer.missing)
