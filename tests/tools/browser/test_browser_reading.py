"""`search`, `open` and `find` as a model uses them, on a local site, with nothing of the network but this host."""

from __future__ import annotations

import gzip
import json

import anyio
import pytest
from agenthost.tools import ToolContext
from agenthost.tools.browser import fetch, specs
from agenthost.tools.browser.history import History, Page

pytestmark = pytest.mark.anyio


def shop(site) -> str:
    site.html("/lamp", "<title>Lux lamp</title><p>The price is $12.50.</p><p>Weight: 5 kg</p>")
    return site.html("/", "<title>Shop</title><h1>Our shop</h1><a href=/lamp>Lux lamp</a> <a href=/gone>Old</a>")


async def test_a_page_reads_as_the_embedded_model_was_taught(site, browse):
    call = await browse()
    url = shop(site)
    result = await call("open", id=url)
    links = f"【0†Lux lamp†127.0.0.1:{site.port}】 【1†Old†127.0.0.1:{site.port}】"
    assert result.text == f"[0] Shop ({url})\n**viewing lines [0 - 1] of 1**\n\nL0: # Our shop\nL1: {links}"
    assert not result.is_error
    result = await call("open", id=0)
    lines = ["The price is $12.50.", "Weight: 5 kg"]
    assert result.text == specs.page_text(1, "Lux lamp", f"{site.url}/lamp", lines, 0, 2)


async def test_links_are_taken_from_the_page_of_the_cursor(site, browse):
    call = await browse()
    url = shop(site)
    await call("open", id=url)
    await call("open", id="0")
    result = await call("open", id=0)
    assert result.text == f"Error: {specs.no_such_link(0)}"
    result = await call("open", id=0, cursor=0)
    assert result.text.startswith("[2] Lux lamp")
    assert (await call("open", id=0, cursor=9)).text.startswith("Error: there is no page 9.")
    assert (await call("open", id=-7, cursor=0)).text == f"Error: {specs.no_such_link(-7)}"


async def test_a_page_that_is_gone_reads_as_taught(site, browse, unused_port):
    call = await browse(allow_host=(site.rule, f"127.0.0.1:{unused_port}"))
    await call("open", id=shop(site))
    assert (await call("open", id=1)).text == f"Error: {specs.no_such_page(site.url + '/gone')}"
    gone = f"http://127.0.0.1:{unused_port}/"
    assert (await call("open", id=gone)).text == f"Error: {specs.no_such_page(gone)}"
    assert (
        await call("open", id="no-such-host.invalid")
    ).text == f"Error: {specs.no_such_page('no-such-host.invalid')}"


async def test_an_address_may_lack_its_scheme(site, browse):
    call = await browse()
    shop(site)
    assert (await call("open", id=f"127.0.0.1:{site.port}/lamp")).text.startswith("[0] Lux lamp (http://")


async def test_without_a_page_there_is_nothing_to_find(browse):
    call = await browse()
    for arguments in ({"id": 3}, {"id": -1}):
        assert (await call("open", **arguments)).text == f"Error: {specs.NO_PAGE}"
    assert (await call("find", pattern="x")).text == f"Error: {specs.NO_PAGE}"


async def test_a_long_page_is_shown_in_parts(site, browse):
    call = await browse()
    url = site.html("/long", "".join(f"<p>line {number}</p>" for number in range(200)))
    assert "**viewing lines [0 - 59] of 199**" in (await call("open", id=url)).text
    result = await call("open", id=-1, loc=60)
    assert result.text.startswith(f"[0] {url} ({url})\n**viewing lines [60 - 119] of 199**\n\nL60: line 60\n")
    assert "[190 - 194]" in (await call("open", id=-1, loc=190, num_lines=5)).text
    assert "[0 - 199]" in (await call("open", id=-1, num_lines=10**9)).text
    assert "only 200 lines" in (await call("open", id=-1, loc=200)).text
    assert "[0 - 59]" in (await call("open", id=-1, loc=-5)).text


async def test_find_tells_lines_whatever_the_case_and_across_line_ends(site, browse):
    call = await browse()
    long = "the quick brown fox jumps over the lazy dog " * 4
    url = site.html("/", f"<p>A Needle here</p><p>{long}</p><p>x</p><p>y</p><p>last needle</p>")
    await call("open", id=url)
    result = await call("find", pattern="needle")
    assert result.text.startswith("# 【0†match at L0】\nA Needle here\n")
    assert result.text.endswith("\n\n# 【1†match at L6】\nlast needle")
    assert "match at L1】" in (await call("find", pattern="fox  jumps over the lazy dog the quick brown fox")).text
    assert (await call("find", pattern="absent")).text == specs.NO_RESULTS
    assert (await call("find", pattern="  ")).is_error


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("file:///etc/passwd", "only http and https"),
        ("http://localhost:1/", "port 1"),
        ("http://localhost/", "not on the public internet"),
        ("http://169.254.169.254/latest/meta-data", "not on the public internet"),
        ("http://[::1]/", "not on the public internet"),
        ("http://2130706433/", "not on the public internet"),
        ("http://u:p@example.com/", "user name"),
        ("docs://other/x", "only http and https"),
        ("http://x y/", "spaces"),
    ],
)
async def test_what_may_not_be_opened_says_why(browse, url, reason):
    result = await (await browse())("open", id=url)
    assert result.is_error
    assert result.text.startswith(f"Error: could not open {url}: ")
    assert reason in result.text


async def test_redirects_are_followed_and_checked(site, browse, resolver):
    call = await browse(resolver=resolver(inner=[["127.0.0.1"]]))
    shop(site)
    assert f"({site.url}/lamp)" in (await call("open", id=site.redirect("/a", "/lamp"))).text
    for to in ("file:///etc/passwd", "http://inner.example/", "http://0x7f.1/", "//[::1]/"):
        visits = len(site.visits)
        assert (await call("open", id=site.redirect("/r", to))).is_error
        assert len(site.visits) == visits + 1
    assert "circles" in (await call("open", id=site.redirect("/loop", "/loop"))).text


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        ({"Content-Type": "text/plain"}, b"a\nb", "L0: a\nL1: b"),
        ({"Content-Type": "application/json"}, b'{"a": 1}', 'L0: {"a": 1}'),
        ({}, b"<p>html", "L0: html"),
        ({"Content-Type": "text/html"}, b"", "L0: (this page has no text)"),
        ({"Content-Type": "image/png"}, b"\x89PNG", "it is image/png, not text"),
        ({}, b"\0\0", "binary data, not text"),
        ({"Content-Type": "text/html", "Content-Encoding": "gzip"}, gzip.compress(b"<p>packed", mtime=0), "L0: packed"),
        ({"Content-Type": "text/html", "Content-Encoding": "br"}, b"x", "packed as 'br'"),
        ({"Content-Type": "text/html", "Content-Encoding": "gzip"}, b"no gzip", "could not open"),
    ],
)
async def test_what_a_server_sends_is_read_or_refused(site, browse, headers, body, expected):
    call = await browse()
    site.pages["/x"] = (200, headers, body)
    assert expected in (await call("open", id=f"{site.url}/x")).text


async def test_a_large_page_is_cut_and_a_bomb_does_not_go_off(site, browse, monkeypatch):
    monkeypatch.setattr(fetch, "LARGEST_PAGE", 100_000)
    call = await browse()
    bomb = gzip.compress(b"<p>" + b"x " * (20 << 20), compresslevel=1)
    site.pages["/bomb"] = (200, {"Content-Type": "text/html", "Content-Encoding": "gzip"}, bomb)
    result = await call("open", id=f"{site.url}/bomb", num_lines=1)
    assert not result.is_error
    last = int(result.text.split(" of ", 1)[1].split("*")[0])
    assert "cut here]" in (await call("open", id=-1, loc=last)).text
    assert last < 2_000


async def test_an_error_of_the_server_is_told(site, browse):
    site.pages["/500"] = (503, {}, b"busy")
    assert "the server answered 503" in (await (await browse())("open", id=f"{site.url}/500")).text


async def test_sessions_share_nothing(site, browse, sessions):
    call = await browse()
    site.pages["/c"] = lambda visit: (200, {"Set-Cookie": "a=1"}, visit.headers.get("cookie", "none").encode())
    await call("open", id=f"{site.url}/c")
    assert "L0: a=1" in (await call("open", id=f"{site.url}/c")).text
    other = ToolContext(await sessions.create())
    assert (await call.registry.call("open", {"id": -1}, other)).text == f"Error: {specs.NO_PAGE}"
    assert "L0: none" in (await call.registry.call("open", {"id": f"{site.url}/c"}, other)).text


async def test_many_calls_at_once_are_served(site, browse):
    call = await browse()
    url = shop(site)
    failed = []

    async def one():
        result = await call("open", id=url)
        if result.is_error:
            failed.append(result.text)

    async with anyio.create_task_group() as tasks:
        for _ in range(200):
            tasks.start_soon(one)
    assert failed == []


def test_old_pages_are_forgotten():
    history = History()
    for number in range(100):
        history.add(Page(str(number), "u", ["x"], []))
    assert history.show(99).startswith("[99]")
    assert history.show(68).startswith("[68]")
    with pytest.raises(Exception, match="Use -1 for the current one, or 68 to 99"):
        history.show(67)


async def test_wide_lines_do_not_flood_the_model(site, browse):
    call = await browse()
    row = "<td>cell " + "w" * 90
    url = site.html("/", f"<table>{('<tr>' + row * 4) * 300}</table>")
    assert len((await call("open", id=url)).text) < 8_000
    assert len((await call("open", id=-1, num_lines=300)).text) < 30_000


# --- search ---


def results(text: str) -> list[str]:
    return [line for line in text.split("\n") if "【" in line]


async def test_a_folder_of_documents_is_searched_and_read(tmp_path, browse):
    docs = tmp_path / "hand book"
    (docs / "pets").mkdir(parents=True)
    (docs / "lamp.md").write_text("# Lux lamp\n\nThe price of the lamp is $12.50.\n")
    (docs / "pets" / "dog.html").write_text("<title>Dogs</title><p>Dogs are walking. <a href='cat.html'>Cats</a>")
    (docs / "pets" / "cat.html").write_text("<p>Cats sleep.")
    (docs / ".secret.md").write_text("lamp password")
    (docs / "link.md").symlink_to("/etc/passwd")
    (docs / "binary.bin").write_bytes(b"lamp")
    call = await browse(search_index=str(docs))
    result = await call("search", query="price of a LAMP?")
    assert result.text == (
        "[0] price of a LAMP? (search://price+of+a+LAMP%3F)\n**viewing lines [0 - 1] of 1**\n\n"
        "L0: 【0†Lux lamp†hand%20book】\nL1: The price of the lamp is $12.50."
    )
    opened = await call("open", id=0)
    assert opened.text.startswith("[1] Lux lamp (docs://hand%20book/lamp.md)\n")
    assert "L1: The price of the lamp is $12.50." in opened.text
    assert results((await call("search", query="walked dog")).text) == ["L0: 【0†Dogs†hand%20book】"]
    await call("open", id=0)
    assert "L0: Cats sleep." in (await call("open", id=0)).text
    assert (await call("search", query="root")).text == specs.NO_RESULTS
    for url in (
        "docs://hand%20book/../../etc/passwd",
        "docs://hand%20book//etc/passwd",
        "docs://hand%20book/.secret.md",
    ):
        assert (await call("open", id=url)).text == f"Error: {specs.no_such_page(url)}"


@pytest.mark.parametrize("query", ['"', "a AND", "NEAR(", "*", "col:x", "x' OR 1=1 --", "-", "lamp\0", "🙂", "a" * 999])
async def test_a_query_is_words_and_nothing_else(tmp_path, browse, query):
    (tmp_path / "a.txt").write_text("lamp and near col x")
    result = await (await browse(search_index=str(tmp_path)))("search", query=query)
    assert not result.is_error


@pytest.mark.parametrize("query", ["", "   ", "x" * 1001])
async def test_a_query_without_words_or_end_is_refused(tmp_path, browse, query):
    assert (await (await browse(search_index=str(tmp_path)))("search", query=query)).is_error


async def test_documents_that_change_are_read_again(tmp_path, browse, monkeypatch):
    from agenthost.tools.browser.search import index

    monkeypatch.setattr(index, "_AGAIN", -1.0)
    (tmp_path / "a.md").write_text("apple")
    (tmp_path / "b.md").write_text("banana")
    call = await browse(search_index=str(tmp_path))
    assert results((await call("search", query="apple")).text) == [f"L0: 【0†a.md†{tmp_path.name}】"]
    (tmp_path / "a.md").write_text("cherry tree")
    (tmp_path / "b.md").unlink()
    (tmp_path / "c.md").write_text("apple")
    assert results((await call("search", query="apple")).text) == [f"L0: 【0†c.md†{tmp_path.name}】"]
    assert (await call("search", query="banana")).text == specs.NO_RESULTS
    assert results((await call("search", query="cherry")).text) == [f"L0: 【0†a.md†{tmp_path.name}】"]


async def test_topn_limits_the_results(tmp_path, browse):
    for number in range(30):
        (tmp_path / f"{number}.txt").write_text("apple")
    call = await browse(search_index=str(tmp_path))
    assert len(results((await call("search", query="apple")).text)) == 5
    assert len(results((await call("search", query="apple", topn=20)).text)) == 20
    assert (await call("search", query="apple", topn=51)).is_error


# The services themselves cannot be reached from tests: the local site stands for them, answering as they document.
FOUND = {"title": "A <b>lamp</b>", "url": "https://shop.example/lamp", "content": "Cheap &amp; <em>bright</em>【x】"}
BAD = [{"title": "x", "url": "file:///etc/passwd"}, {"url": "javascript:x"}, {"title": "no address"}]


def answering(site, path, content):
    site.pages[path] = (200, {"Content-Type": "application/json"}, json.dumps(content).encode())


async def test_searxng_is_asked_through_the_egress_policy(site, browse):
    answering(site, "/search", {"results": [FOUND, *BAD]})
    call = await browse(search_url=site.url, allow_host=())
    result = await call("search", query="cheap lamp", topn=3)
    assert result.text.endswith("L0: 【0†A lamp†shop.example】\nL1: Cheap & bright〔x〕")
    assert site.visits[0].path == "/search?q=cheap+lamp&format=json"
    assert (await call("open", id=f"{site.url}/search")).is_error  # the operator trusts it for searching only


async def test_brave_and_tavily_are_asked_as_they_document(site, monkeypatch):
    from agenthost.tools.browser.search.web import Brave, Tavily

    answering(site, "/res/v1/web/search", {"web": {"results": [{**FOUND, "description": FOUND["content"]}]}})
    brave = Brave("secret", url=site.url)
    (hit,) = await brave.search("cheap lamp", 3)
    assert (hit.title, hit.url, hit.snippet) == ("A lamp", "https://shop.example/lamp", "Cheap & bright【x】")
    assert site.visits[0].path == "/res/v1/web/search?q=cheap+lamp&count=3"
    assert site.visits[0].headers["x-subscription-token"] == "secret"
    await brave.close()
    answering(site, "/search", {"results": [FOUND]})
    tavily = Tavily("secret", url=site.url)
    assert [hit.title for hit in await tavily.search("cheap lamp", 50)] == ["A lamp"]
    assert json.loads(site.visits[1].body) == {"query": "cheap lamp", "max_results": 20}
    assert site.visits[1].headers["authorization"] == "Bearer secret"
    await tavily.close()


def test_large_pages_are_forgotten_sooner():
    history = History()
    for number in range(12):
        history.add(Page(str(number), "u", ["x" * 1000] * 1000, ["l"] * 1000))
    assert history.show(11).startswith("[11]")
    assert history.show(6).startswith("[6]")
    with pytest.raises(Exception, match="or 5 to 11"):
        history.show(4)
    history.add(Page("huge", "u", ["x" * 9_000_000], []))
    assert history.show().startswith("[12]")
    with pytest.raises(Exception, match="12 to 12"):
        history.show(11)


async def test_long_titles_are_cut_before_they_are_read(site):
    from agenthost.tools.browser.search.web import Tavily

    answering(site, "/search", {"results": [{**FOUND, "title": "<b>A</b> " + "<" * 1_000_000}]})
    tavily = Tavily("secret", url=site.url)
    (hit,) = await tavily.search("cheap lamp", 1)
    assert hit.title.startswith("A <<<")
    assert len(hit.title) < 2000
    await tavily.close()


@pytest.mark.parametrize(
    "answer", [(500, {}, b""), (200, {}, b"<html>"), (200, {}, b"{}"), (200, {}, b"[1]"), (302, {"Location": "/"}, b"")]
)
async def test_a_search_service_that_fails_is_told(site, browse, answer):
    site.pages["/search"] = answer
    result = await (await browse(search_url=site.url))("search", query="x")
    assert result.is_error
    assert result.text.startswith("Error: the search service SearXNG ")
    assert site.url not in result.text


async def test_a_search_service_that_is_gone_is_told(browse, unused_port):
    result = await (await browse(search_url=f"http://127.0.0.1:{unused_port}"))("search", query="x")
    assert "does not answer" in result.text


# --- what is offered ---


async def test_tools_are_offered_as_configured(browse, tmp_path):
    names = {
        (): ["open", "find"],
        ("search_index",): ["search", "open", "find"],
    }
    for given, offered in names.items():
        call = await browse(**dict.fromkeys(given, str(tmp_path)))
        assert list(call.registry.tools) == offered
        for spec in call.registry.specs():
            assert spec in specs.BROWSER_SPECS
    assert list((await browse(browser="off")).registry.tools) == []
    assert list((await browse(browser="off", search_index=str(tmp_path))).registry.tools) == ["search", "open", "find"]


@pytest.mark.parametrize(
    "configuration",
    [
        {"allow_host": ("a b",)},
        {"search_index": "/no/such/folder"},
        {"search_url": "ftp://x"},
        {"search_url": "nothing"},
    ],
)
async def test_a_configuration_that_cannot_work_is_said_at_once(browse, configuration):
    from agenthost.tools.errors import BrowserUnavailable

    with pytest.raises(BrowserUnavailable):
        await browse(**configuration)
