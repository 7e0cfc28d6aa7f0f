"""Connections go to an address that was checked, whatever names answer the next time."""

from __future__ import annotations

import errno
import shutil
import ssl
import subprocess
import zlib

import anyio
import httpx2
import pytest
from agenthost.tools.egress import connect
from agenthost.tools.egress.connect import Egress
from agenthost.tools.egress.errors import OverBudget, Refused, Unreachable
from agenthost.tools.egress.http import EgressTransport
from agenthost.tools.egress.policy import EgressPolicy, rules

pytestmark = pytest.mark.anyio


@pytest.fixture
def dialled(monkeypatch):
    """Addresses that connections were tried to. The internet is not there for tests, so none is made."""
    tried = []

    async def dial(address, port):
        tried.append((address, port))
        raise OSError(errno.ECONNREFUSED, "not here")

    monkeypatch.setattr(connect.anyio, "connect_tcp", dial)
    return tried


async def test_few_names_of_a_session_are_looked_up_at_once(monkeypatch):
    monkeypatch.setattr(connect, "_RESOLVE_SECONDS", 0.3)
    running, most = 0, 0

    async def slow(host, port):
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            await anyio.sleep(0.2)
        finally:
            running -= 1
        return ["8.8.8.8"]

    egress = Egress(resolver=slow)
    async with anyio.create_task_group() as group:
        for number in range(12):  # the last ones wait longer than a look-up may take, which counts from its beginning
            group.start_soon(egress.addresses, f"slow{number}.example", 443)
    assert most == connect._RESOLVED_AT_ONCE


async def test_a_connection_goes_to_the_address_that_was_checked(resolver, dialled):
    rebinding = resolver(evil=[["8.8.8.8"], ["127.0.0.1"]])
    egress = Egress(resolver=rebinding)
    with pytest.raises(Unreachable):
        await egress.connect("evil.example", 80)
    assert dialled == [("8.8.8.8", 80)]
    with pytest.raises(Refused):
        await egress.connect("evil.example", 80)
    assert dialled == [("8.8.8.8", 80)]


async def test_one_bad_answer_spoils_a_name(resolver, dialled):
    egress = Egress(resolver=resolver(evil=[["8.8.8.8", "127.0.0.1"]]))
    with pytest.raises(Refused):
        await egress.connect("evil.example", 80)
    assert dialled == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254", "64:ff9b::7f00:1", "fe80::1%1", "0.0.0.0"]
)
async def test_a_public_name_that_points_inside_is_refused(resolver, dialled, address):
    egress = Egress(resolver=resolver(evil=[[address]]))
    with pytest.raises(Refused) as refusal:
        await egress.connect("evil.example", 80)
    assert address not in str(refusal.value)
    assert dialled == []


async def test_a_name_that_does_not_resolve_is_unreachable(resolver):
    with pytest.raises(Unreachable, match="no host named"):
        await Egress(resolver=resolver()).connect("nowhere.example", 80)


async def test_a_resolver_that_never_answers_is_given_up(monkeypatch):
    monkeypatch.setattr(connect, "_RESOLVE_SECONDS", 0.01)

    async def never(host, port):
        await anyio.sleep_forever()
        return []

    with pytest.raises(Unreachable):
        await Egress(resolver=never).connect("slow.example", 80)


async def test_the_next_address_is_tried_when_one_does_not_answer(resolver, site, unused_port):
    policy = EgressPolicy(allow=rules([f"both.example:{site.port}"]))
    egress = Egress(policy, resolver(both=[["127.0.0.9", "127.0.0.1"]]))
    async with await egress.connect("both.example", site.port):
        pass


async def test_clients_are_held_to_the_policy(site, egress):
    url = site.html("/", "hello")
    async with httpx2.AsyncClient(transport=EgressTransport(egress), trust_env=False) as client:
        assert (await client.get(url)).text == "hello"
        assert egress.used > 100
    async with httpx2.AsyncClient(transport=EgressTransport(Egress()), trust_env=False) as client:
        for refused in (url, f"http://localhost:{site.port}/", f"http://2130706433:{site.port}/", "file:///etc/passwd"):
            with pytest.raises(Refused):
                await client.get(refused)
    assert site.paths() == ["/"]


async def test_every_redirect_is_checked_again(site, egress, resolver):
    egress = Egress(egress.policy, resolver(inner=[["127.0.0.1"]]))
    for number, to in enumerate(
        [
            f"http://inner.example:{site.port}/x",
            "http://127.1/",
            "http://[::ffff:7f00:1]/",
            "file:///etc/passwd",
            "ftp://x.example/",
        ]
    ):
        url = site.redirect(f"/{number}", to)
        async with httpx2.AsyncClient(
            transport=EgressTransport(egress), follow_redirects=True, trust_env=False
        ) as client:
            with pytest.raises((Refused, httpx2.UnsupportedProtocol)):
                await client.get(url)
    assert len(site.visits) == 5


@pytest.mark.parametrize("size", [1 << 10, 64 << 20])
async def test_the_body_of_a_redirect_is_not_unpacked(site, egress, size):
    site.html("/end", "there")
    site.pages["/a"] = (302, {"Location": "/end", "Content-Encoding": "deflate"}, zlib.compress(bytes(size), 1))
    transport = EgressTransport(egress)
    async with httpx2.AsyncClient(transport=transport, trust_env=False, follow_redirects=True) as client:
        answer = await client.get(f"{site.url}/a")
    assert answer.text == "there"
    assert answer.history[0].content == b""
    assert egress.used < 200_000
    assert site.connections == (1 if size < 65536 else 2)  # a short one leaves its connection usable


async def test_bytes_are_counted_and_run_out(site):
    url = site.html("/", "x" * 50_000)
    egress = Egress(EgressPolicy(allow=rules([site.rule]), max_bytes=20_000))
    async with httpx2.AsyncClient(transport=EgressTransport(egress), trust_env=False) as client:
        with pytest.raises(OverBudget):
            await client.get(url)
        with pytest.raises(OverBudget):
            await client.get(url)
    assert len(site.visits) == 1


async def test_a_server_that_is_gone_is_an_error_of_the_clients_kind(unused_port):
    egress = Egress(EgressPolicy(allow=rules([f"127.0.0.1:{unused_port}"])))
    async with httpx2.AsyncClient(transport=EgressTransport(egress), trust_env=False) as client:
        with pytest.raises(Unreachable):
            await client.get(f"http://127.0.0.1:{unused_port}/")


@pytest.fixture
def certified(site, tmp_path) -> ssl.SSLContext:
    """Makes the site an https one, with a certificate for localhost that only the context given back trusts."""
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    site.secure(context)
    return ssl.create_default_context(cafile=str(certificate))


async def test_certificates_are_checked_against_the_name_that_was_asked_for(site, certified):
    site.html("/", "hello")
    egress = Egress(EgressPolicy(allow=rules([f"localhost:{site.port}", site.rule])))
    for context, url, error in [
        (certified, f"https://localhost:{site.port}/", None),
        (certified, f"https://127.0.0.1:{site.port}/", httpx2.TransportError),
        (None, f"https://localhost:{site.port}/", httpx2.TransportError),
    ]:
        async with httpx2.AsyncClient(transport=EgressTransport(egress, context), trust_env=False) as client:
            if error is None:
                assert (await client.get(url)).text == "hello"
                assert (await client.get(url)).text == "hello"
                continue
            with pytest.raises(error):
                await client.get(url)
    assert len(site.visits) == 2
