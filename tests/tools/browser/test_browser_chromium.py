"""A real Chromium: what it shows, what it must not reach, and that it survives what pages do to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress

import anyio
import psutil
import pytest
from agenthost.tools import Registry, ToolContext
from agenthost.tools.browser import specs
from agenthost.tools.browser.browsing import Browsing
from agenthost.tools.browser.chromium import launch, snapshot
from agenthost.tools.browser.chromium.launch import find
from agenthost.tools.browser.chromium.tabs import MOST_TABS, Tabs
from agenthost.tools.browser.config import BrowserConfig

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def browsing(lasting_site) -> AsyncIterator[Browsing]:
    """One browser for these tests, as for the sessions of a server."""
    config = BrowserConfig(browser="chromium", browser_control=True, allow_host=(lasting_site.rule,))
    async with Browsing(config) as browsing:
        yield browsing


@pytest.fixture
def site(lasting_site):
    lasting_site.clear()
    return lasting_site


@pytest.fixture
async def chrome(caller, session, browsing):
    """``await chrome(tool, **arguments)``."""
    yield caller(browsing)
    await session.close()


def browsers() -> list[psutil.Process]:
    return [child for child in psutil.Process().children(recursive=True) if "chrom" in " ".join(_words(child))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def ref(text: str, words: str) -> str:
    """The reference of the first element in a snapshot whose line has these words."""
    line = next(line for line in text.split("\n") if words in line and "[ref=" in line)
    return line.split("[ref=")[1].split("]")[0]


async def test_a_page_is_read_after_its_scripts_ran(site, chrome):
    url = site.html("/", "<title>Made</title><p id=a></p><script>a.innerHTML = 'by <a href=/x>script</a>'</script>")
    host = f"127.0.0.1:{site.port}"
    assert (await chrome("open", id=url)).text == specs.page_text(0, "Made", url, [f"by 【0†script†{host}】"], 0, 1)
    assert (await chrome("open", id=0)).text == f"Error: {specs.no_such_page(site.url + '/x')}"
    assert (await chrome("find", pattern="SCRIPT")).text.startswith("# 【0†match at L0】")


async def test_it_runs_without_rights_and_with_its_own_sandbox(site, chrome):
    assert find().isolated
    await chrome("browser_navigate", url=site.html("/", "<p>x"))
    processes = browsers()
    renderer = next(process for process in processes if "--type=renderer" in " ".join(process.cmdline()))
    assert all("--no-sandbox" not in process.cmdline() for process in processes)
    for process in (renderer, next(p for p in processes if p.name().startswith("python3"))):
        assert os.geteuid() != 0 or process.uids().real != 0
        assert os.readlink(f"/proc/{process.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert "AGENTHOST" not in " ".join(process.environ())
    status = dict(line.split(":\t") for line in _read(f"/proc/{renderer.pid}/status") if ":\t" in line)
    assert status["Seccomp"] == "2"


async def test_pages_are_limited_and_the_first_to_go(site, chrome):
    await chrome("browser_navigate", url=site.html("/", "<p>x"))
    installation = find()
    for process in browsers():
        (data,) = (line.split()[4] for line in _read(f"/proc/{process.pid}/limits") if line.startswith("Max data"))
        assert int(data) <= launch._LARGEST_PROCESS
        groups = _read(f"/proc/{process.pid}/cgroup")
        for name in installation.cgroups.controllers if installation.cgroups else ():
            if name in ("memory", "pids"):
                assert any(
                    f"/agenthost-{os.getpid()}-" in line for line in groups if f":{name}:" in line or "::" in line
                )
        assert int(_read(f"/proc/{process.pid}/oom_score_adj")[0]) > 0


def _read(path: str) -> list[str]:
    with open(path) as file:
        return file.read().splitlines()


@contextmanager
def canary() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this host that notes whatever connects to it, by any protocol."""
    came: list[bytes] = []
    with socket.create_server(("0.0.0.0", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(0.2)
                    try:
                        came.append(connection.recv(100))
                    except OSError:
                        came.append(b"")

        thread = threading.Thread(target=listen)
        thread.start()
        try:
            yield server.getsockname()[1], came
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


VECTORS = """
<img src="http://127.0.0.1:{port}/img"><iframe src="http://localhost:{port}/iframe"></iframe>
<link rel=prefetch href="http://127.0.0.1:{port}/prefetch"><link rel=preconnect href="http://127.0.0.1:{port}/">
<link rel=dns-prefetch href="//rebind.example"><link rel=stylesheet href="http://0x7f000001:{port}/css">
<script src="http://2130706433:{port}/decimal"></script><img src="http://0177.0.0.1:{port}/octal">
<img src="http://[::ffff:127.0.0.1]:{port}/mapped"><img src="http://[::1]:{port}/six"><img src="http://0:{port}/zero">
<img src="http://127.1:{port}/short"><img src="http://rebind.example:{port}/rebind"><img src="http://inner.example/name">
<img src="{site}/redirect"><iframe src="{site}/redirect"></iframe><iframe src="file:///etc/passwd"></iframe>
<object data="http://127.0.0.1:{port}/object"></object><video src="http://127.0.0.1:{port}/video"></video>
<form id=f method=post target=_blank action="http://127.0.0.1:{port}/form"></form>
<script>
const to = "127.0.0.1:{port}", done = [];
const tried = (name, work) => done.push(Promise.resolve().then(work).catch(() => 0));
tried("fetch", () => fetch(`http://${{to}}/fetch`, {{mode: "no-cors"}}));
tried("redirected", () => fetch("{site}/redirect", {{mode: "no-cors"}}));
tried("beacon", () => navigator.sendBeacon(`http://${{to}}/beacon`, "x"));
const until = (made) => new Promise(end => {{ made.onerror = made.onclose = made.onopen = end; }});
tried("socket", () => until(new WebSocket(`ws://${{to}}/ws`)));
tried("socket by name", () => until(new WebSocket("ws://rebind.example:{port}/ws")));
tried("secure socket", () => until(new WebSocket(`wss://${{to}}/wss`)));
tried("events", () => until(new EventSource(`http://${{to}}/sse`)));
tried("worker", () => new Promise(end => {{
  const w = new Worker(URL.createObjectURL(new Blob([`fetch("http://${{to}}/worker").finally(() => postMessage(1))`])));
  w.onmessage = w.onerror = end; }}));
tried("rtc", () => new Promise(async end => {{
  const turn = {{urls: `turn:${{to}}?transport=tcp`, username: "a", credential: "b"}};
  const c = new RTCPeerConnection({{iceServers: [{{urls: `stun:${{to}}`}}, turn]}});
  c.createDataChannel("x"); c.onicegatheringstatechange = () => c.iceGatheringState == "complete" && end();
  await c.setLocalDescription(await c.createOffer()); setTimeout(end, 1500); }}));
tried("open", () => {{ window.open(`http://${{to}}/window`); }});
Promise.all(done).then(() => {{ document.body.append("all was tried"); f.submit(); }});
</script>"""


@pytest.fixture(params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["bubblewrap", "no bubblewrap"])
def isolated(request, monkeypatch) -> bool:
    """Chromium in a network namespace of its own, and where none can be had."""
    if not request.param:
        which = shutil.which
        monkeypatch.setattr(
            launch.shutil, "which", lambda name, **more: None if name == "bwrap" else which(name, **more)
        )
    assert find().isolated is request.param
    return request.param


async def test_no_way_out_but_the_policys(site, browse, resolver, isolated):
    with canary() as (port, came):
        rebinding = resolver(rebind=[["8.8.8.8"], ["127.0.0.1"]], inner=[["127.0.0.1"]])
        call = await browse(resolver=rebinding, browser="chromium", browser_control=True)
        site.redirect("/redirect", f"http://127.0.0.1:{port}/redirected")
        url = site.html("/", VECTORS.format(port=port, site=site.url))
        await call("browser_navigate", url=url)
        renderer = next(process for process in browsers() if "--type=renderer" in " ".join(_words(process)))
        assert os.geteuid() != 0 or renderer.uids().real != 0
        own_network = os.readlink(f"/proc/{renderer.pid}/ns/net") != os.readlink("/proc/self/ns/net")
        assert own_network or not isolated
        result = await call("browser_wait_for", text="all was tried")
        assert "all was tried" in result.text
        result = await call("browser_snapshot")
        assert "root:" not in result.text
        for target in (
            f"http://127.0.0.1:{port}/",
            "file:///etc/passwd",
            f"http://localhost:{port}/",
            "chrome://version",
        ):
            assert (await call("browser_navigate", url=target)).is_error
            assert (await call("open", id=target)).is_error
        await call("browser_close")
    assert came == []
    assert "/redirect" in site.paths()  # it did run


async def test_a_frame_that_never_comes_hides_nothing(site, chrome):
    site.html("/inner", "<p>inside</p>")
    url = site.html(
        "/", "<p>before</p><iframe src=file:///etc/passwd></iframe><iframe src=/inner></iframe><p>after</p>"
    )
    seen = (await chrome("browser_navigate", url=url)).text
    assert all(word in seen for word in ("before", "inside", "after"))
    assert "inside" in (await chrome("browser_snapshot")).text


async def test_a_form_is_filled_and_sent(site, chrome):
    url = site.html(
        "/",
        "<form action=/sent><label>Name <input name=n></label><label>More <input type=checkbox name=m></label>"
        "<select name=s aria-label=Color><option>red<option>blue</select><button>Send</button></form>",
    )
    site.html("/sent", "<h1>Thanks</h1>")
    seen = (await chrome("browser_navigate", url=url)).text
    fields = [
        {"target": ref(seen, "Name"), "type": "textbox", "value": "Ada"},
        {"target": ref(seen, "checkbox"), "type": "checkbox", "value": "true"},
        {"target": ref(seen, "combobox"), "type": "combobox", "value": "blue"},
    ]
    assert "Ada" in (await chrome("browser_fill_form", fields=fields)).text
    await chrome("browser_type", target=ref(seen, "Name"), text="Bob", slowly=True)
    await chrome("browser_select_option", target=ref(seen, "combobox"), values=["red"])
    await chrome("browser_hover", target=ref(seen, "button"))
    assert "Thanks" in (await chrome("browser_click", element="Send", target=ref(seen, "button"))).text
    assert site.paths()[-1] == "/sent?n=BobAda&m=on&s=red"
    assert "combobox" in (await chrome("browser_navigate_back")).text
    assert (await chrome("browser_find", text="send")).text.startswith('- button "Send" [ref=')


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("browser_click", {"target": "e999"}, "no element e999"),
        ("browser_click", {"target": "css=body"}, "no reference"),
        ("browser_click", {"target": "e1 >> xpath=//*"}, "no reference"),
        ("browser_navigate", {"url": "file:///etc/passwd"}, "only http and https"),
        ("browser_navigate", {"url": "javascript:alert(1)"}, "only http and https"),
        ("browser_navigate", {"url": "http://localhost:1/"}, "port 1"),
        ("browser_tabs", {"action": "select", "index": 7}, "Give the index"),
        ("browser_press_key", {"key": "NoSuchKey"}, "Unknown key"),
        ("browser_wait_for", {}, "nothing to wait for"),
    ],
)
async def test_what_cannot_be_done_is_told(chrome, tool, arguments, said):
    result = await chrome(tool, **arguments)
    assert result.is_error
    assert said in result.text


async def test_a_large_snapshot_is_cut(site, chrome):
    url = site.html("/", "".join(f"<button>Button number {n}</button>" for n in range(3000)))
    text = (await chrome("browser_navigate", url=url)).text
    assert len(text) < snapshot.SHOWN + 500
    assert "cut here" in text
    assert "[ref=" in (await chrome("browser_find", text="number 2999")).text


async def test_a_picture_is_given_and_saved(site, chrome, session):
    await chrome("browser_navigate", url=site.html("/", "<body style='height: 90000px'><h1>Tall</h1>"))
    for arguments in ({}, {"fullPage": True}, {"type": "jpeg"}):
        result = await chrome("browser_take_screenshot", **arguments)
        (media,), (file,) = result.media, result.files
        assert media.data[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0")
        assert (session.workspace / file.path).read_bytes() == media.data
        assert (session.workspace / file.path).stat().st_uid == session.workspace.stat().st_uid


async def test_downloads_land_in_the_workspace(site, chrome, session):
    headers = {"Content-Type": "application/zip", "Content-Disposition": 'attachment; filename="../../a b.zip"'}
    site.pages["/file"] = (200, headers, b"PK content")
    result = await chrome("open", id=f"{site.url}/file")
    assert result.is_error
    assert "saved as downloads/" in result.text
    seen = (await chrome("browser_navigate", url=site.html("/", "<a href=/file>Get it</a>"))).text
    told = (await chrome("browser_click", target=ref(seen, "Get it"))).text
    with anyio.fail_after(30):
        while "saved as downloads/" not in told:  # the browser tells of a download when it wants
            told += (await chrome("browser_snapshot")).text
    saved = list((session.workspace / "downloads").iterdir())
    assert len(saved) == 2
    assert {file.read_bytes() for file in saved} == {b"PK content"}
    assert not list(session.workspace.parent.glob("*.zip"))


async def test_tabs_and_windows_are_few(site, chrome):
    url = site.html("/", "<title>One</title><script>for (let i = 0; i < 9; i++) open('/none')</script>")
    await chrome("browser_tabs", action="new", url=site.html("/two", "<title>Two</title>"))
    assert "0 (current): Two" in (await chrome("browser_tabs", action="list")).text
    await chrome("browser_tabs", action="new", url=url)
    assert "1 (current): One" in (await chrome("browser_tabs", action="list")).text
    listed = (await chrome("browser_tabs", action="list")).text
    assert sum("(http" in line or "(about" in line or "(chrome" in line for line in listed.split("\n")) <= MOST_TABS
    await chrome("browser_tabs", action="select", index=0)
    assert "Page: Two" in (await chrome("browser_snapshot")).text
    answers = [await chrome("browser_tabs", action="new") for _ in range(MOST_TABS)]
    assert "tabs already" in answers[-1].text
    await chrome("browser_tabs", action="close")
    assert not (await chrome("browser_tabs", action="new")).is_error


async def test_a_dialog_does_not_hold_the_page(site, chrome):
    url = site.html("/", "<p>before</p><script>alert('stop'); document.body.append('after')</script>")
    text = (await chrome("browser_navigate", url=url)).text
    assert "alert that was dismissed: 'stop'" in text
    assert "after" in text


async def test_a_page_that_never_stops_does_not_stop_the_tools(site, chrome, monkeypatch):
    monkeypatch.setattr("agenthost.tools.browser.chromium.tabs._NAVIGATION", 1_000.0)
    busy = site.html("/busy", "<script>for (;;);</script>")
    assert (await chrome("open", id=busy)).is_error
    assert "L0: fine" in (await chrome("open", id=site.html("/", "<p>fine"))).text


async def test_a_dead_renderer_is_survived(site, chrome):
    url = site.html("/", "<p>fine")
    await chrome("browser_navigate", url=url)
    for process in browsers():
        if "--type=renderer" in " ".join(_words(process)):
            process.kill()
    await chrome("browser_snapshot")
    assert "fine" in (await chrome("browser_navigate", url=url)).text


async def test_a_dead_browser_is_survived(site, chrome):
    url = site.html("/", "<p>fine")
    await chrome("browser_navigate", url=url)
    living = browsers()
    for process in living:
        with suppress(psutil.NoSuchProcess):
            if process.name() == "bwrap":
                process.kill()
    await asyncio.to_thread(psutil.wait_procs, living, timeout=10)  # the others die with it, a moment later
    result = await chrome("browser_snapshot")
    assert result.is_error or "empty" in result.text
    assert "fine" in (await chrome("browser_navigate", url=url)).text
    assert "L0: fine" in (await chrome("open", id=url)).text


async def test_sessions_have_their_own_cookies_in_one_browser(site, chrome, sessions):
    site.pages["/c"] = lambda visit: (
        200, {"Set-Cookie": "a=1", "Content-Type": "text/html"}, visit.headers.get("cookie", "none").encode(),
    )  # fmt: skip
    await chrome("open", id=f"{site.url}/c")
    assert "L0: a=1" in (await chrome("open", id=f"{site.url}/c")).text
    other = await sessions.create()
    result = await chrome.registry.call("open", {"id": f"{site.url}/c"}, ToolContext(other))
    assert "L0: none" in result.text
    assert sum(process.name() == "bwrap" for process in browsers()) <= 2  # one browser: bwrap and its pid 1
    await other.close()


async def test_nothing_is_left_of_it(site, session):
    url = site.html("/", "<p>x")
    config = BrowserConfig(browser="chromium", allow_host=(site.rule,))
    before = browsers()
    async with Browsing(config) as browsing:
        registry = Registry.of(browsing.tools)
        with anyio.move_on_after(0.4):  # a call that is cut short while the browser starts
            await registry.call("open", {"id": url}, ToolContext(session))
        assert not (await registry.call("open", {"id": url}, ToolContext(session))).is_error
        await session.keep(Tabs, lambda: pytest.fail("there are tabs")).close()
    _, alive = psutil.wait_procs(browsers(), timeout=5)
    assert [process for process in alive if process not in before] == []


async def test_without_chromium_pages_are_still_read(site, browse, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    call = await browse(browser="chromium", browser_control=True)
    assert list(call.registry.tools) == ["open", "find"]
    assert "L0: plain" in (await call("open", id=site.html("/", "<p>plain"))).text
