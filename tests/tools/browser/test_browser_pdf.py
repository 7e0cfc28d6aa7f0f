"""PDFs as text: over HTTP and in Chromium, honest and hostile ones."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from agenthost.tools import ToolError
from agenthost.tools.browser.chromium.downloads import Downloads, WantedPage
from agenthost.tools.browser.reader import PageReader
from pypdf import PdfReader, PdfWriter

pytestmark = pytest.mark.anyio


class Downloaded:
    """A download as the browser tells of it."""

    def __init__(self, folder: Path, page: object, content: bytes) -> None:
        self.page = page
        self.suggested_filename = "prices.pdf"
        self._file = folder / "file"
        self._file.write_bytes(content)

    async def path(self) -> Path:
        return self._file

    async def delete(self) -> None:
        self._file.unlink()


HELVETICA = b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica>>"


def pdf(*pages: bytes, contents: bytes = b"", filter: bytes = b"", font: bytes = HELVETICA) -> bytes:
    """A PDF with a line of text on each page; ``contents`` are every page's drawing commands instead."""
    title = "Lamp 【prices】".encode("utf-16-be").hex().encode()
    objects = [b"<</Type /Catalog /Pages 2 0 R>>", b"", b"<</Title <FEFF%s>>>" % title]
    kids = []
    for page in pages:
        stream = contents or b"BT /F 12 Tf 72 700 Td (%s) Tj ET" % page
        number = len(objects) + 1
        kids.append(b"%d 0 R" % number)
        objects.append(
            b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents %d 0 R /Resources <</Font <</F %s>>>>>>"
            % (number + 1, font)
        )
        objects.append(b"<</Length %d %s>> stream\n%s\nendstream" % (len(stream), filter, stream))
    objects[1] = b"<</Type /Pages /Kids [%s] /Count %d>>" % (b" ".join(kids), len(kids))
    body = b"".join(b"%d 0 obj %s endobj\n" % (number, text) for number, text in enumerate(objects, start=1))
    return b"%PDF-1.4\n" + body + b"trailer <</Root 1 0 R /Info 3 0 R /Size 99>>\nstartxref\n0\n%%EOF\n"


@pytest.fixture
async def reader() -> AsyncIterator[PageReader]:
    reader = PageReader(seconds=8)
    yield reader
    await reader.close()


@pytest.mark.parametrize("kind", ["application/pdf", "application/octet-stream"])
async def test_a_pdf_reads_page_by_page(site, browse, kind):
    site.pages["/prices.pdf"] = (200, {"Content-Type": kind}, pdf(b"The desk lamp costs 12 euros.", b"Thanks!"))
    call = await browse()
    shown = await call("open", id=f"{site.url}/prices.pdf")
    assert not shown.is_error, shown.text
    for line in ("Lamp", "[page 1 of 2]", "The desk lamp costs 12 euros.", "[page 2 of 2]", "Thanks!"):
        assert line in shown.text
    assert "【prices】" not in shown.text
    assert "12 euros" in (await call("find", pattern="desk lamp")).text


async def test_chromium_hands_pdfs_to_the_reader(site, browse, session):
    site.pages["/prices.pdf"] = (200, {"Content-Type": "application/pdf"}, pdf(b"The desk lamp costs 12 euros."))
    call = await browse(browser="chromium")
    shown = await call("open", id=f"{site.url}/prices.pdf")
    assert "The desk lamp costs 12 euros." in shown.text
    assert (session.workspace / "downloads" / "prices.pdf").read_bytes().startswith(b"%PDF-")


async def test_of_downloads_only_the_pdf_that_is_waited_for_is_kept(session, tmp_path, monkeypatch):
    monkeypatch.setattr("agenthost.tools.browser.chromium.downloads.LARGEST_PDF", 10)
    downloads, asked, other = Downloads(session, anyio.Semaphore(1)), object(), object()

    async def kept(page: object, content: bytes) -> bytes | None:
        said = await downloads.save(cast(Any, Downloaded(tmp_path, page, content)), tmp_path)
        assert "was saved as" in said
        return downloads.wanted.pdf if downloads.wanted else None

    assert await kept(asked, b"%PDF-1.4") is None
    downloads.wanted = WantedPage(cast(Any, asked))
    assert await kept(other, b"%PDF-1.4") is None
    assert await kept(asked, b"no PDF") is None
    assert await kept(asked, b"%PDF-1.4") == b"%PDF-1.4"
    assert await kept(asked, b"%PDF-1.4 too large") is None


@pytest.mark.parametrize(
    ("encoding", "codec"),
    [
        (b"Identity-H", "utf-16-be"), (b"UniGB-UTF16-H", "utf-16-be"), (b"GBK-EUC-H", "gbk"),
        (b"90ms-RKSJ-H", "cp932"), (b"ETenms-B5-H", "cp950"),
    ],
)  # fmt: skip
async def test_fonts_of_all_scripts_are_read(reader, encoding, codec):
    inside = b"<</Type /Font /Subtype /CIDFontType2 /BaseFont /X>>"
    font = b"<</Type /Font /Subtype /Type0 /BaseFont /X /Encoding /%s /DescendantFonts [%s]>>" % (encoding, inside)
    drawn = b"BT /F 12 Tf <%s> Tj ET" % "中文".encode(codec).hex().encode()
    found = await reader.read(pdf(b"", contents=drawn, font=font), "http://x/", kind="pdf")
    assert found.lines == ["[page 1 of 1]", "中文"]


async def test_text_beside_an_inline_image_is_read(reader):
    drawn = b"BT /F 12 Tf (before) Tj ET BI /W 1 /H 1 /BPC 8 /CS /G ID x EI BT /F 12 Tf (, after) Tj ET"
    found = await reader.read(pdf(b"", contents=drawn), "http://x/", kind="pdf")
    assert "".join(found.lines[1:]) == "before, after"


async def test_a_page_that_cannot_be_read_hides_no_other(reader):
    begin = b">> stream\nBT /F 12 Tf 72 700 Td (two)"
    document = pdf(b"one", b"two", b"three").replace(begin, b"/Filter /Odd" + begin)
    found = await reader.read(document, "http://x/", kind="pdf")
    assert found.lines[1::2] == ["one", "[it cannot be read]", "three"]
    with pytest.raises(ToolError, match="cannot be read"):
        await reader.read(pdf(b"one", filter=b"/Filter /Odd"), "http://x/", kind="pdf")


async def test_a_locked_pdf_says_so(reader):
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf(b"hush"))))
    writer.encrypt("secret", algorithm="RC4-128")
    locked = io.BytesIO()
    writer.write(locked)
    with pytest.raises(ToolError, match="locked with a password"):
        await reader.read(locked.getvalue(), "http://x/", kind="pdf")


LOOP = b"""%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [2 0 R 2 0 R] /Count 2>> endobj
trailer <</Root 1 0 R>>
"""


@pytest.mark.parametrize(
    "document",
    [
        b"%PDF-1.7",
        b"%PDF-1.7\n" + bytes(1 << 20),
        pdf(b"whole")[:-200],
        LOOP,
        b"%PDF-1.4\n1 0 obj " + b"[" * 100_000 + b" endobj trailer <</Root 1 0 R>>",
        pdf(b"x", contents=zlib.compress(bytes(300 << 20), 1), filter=b"/Filter /FlateDecode"),
        pytest.param(pdf(b"x", contents=b"BT /F 12 Tf " + b"(a) Tj " * 300_000 + b" ET"), marks=pytest.mark.slow),
    ],
    ids=["empty", "zeros", "cut", "loop", "deep", "bomb", "long"],
)
async def test_a_hostile_pdf_ends_as_text_or_as_an_error(reader, document):
    began = time.monotonic()
    with suppress(ToolError):
        await reader.read(document, "http://x/", kind="pdf")
    assert time.monotonic() - began < 20
    again = await reader.read(pdf(b"still there"), "http://x/", kind="pdf")
    assert again.lines == ["[page 1 of 1]", "still there"]


async def test_a_pdf_that_is_too_large_is_refused(site, browse, monkeypatch):
    monkeypatch.setattr("agenthost.tools.browser.fetch.LARGEST_PDF", 1000)
    site.pages["/large.pdf"] = (200, {"Content-Type": "application/pdf"}, pdf(*[b"x"] * 50))
    shown = await (await browse())("open", id=f"{site.url}/large.pdf")
    assert "the PDF is larger than" in shown.text
