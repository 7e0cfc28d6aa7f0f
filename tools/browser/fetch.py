"""Gets pages over HTTP without a browser."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from email.message import Message

import anyio
import httpx2

from ..egress.connect import Egress
from ..egress.errors import EgressError, Unreachable
from ..egress.http import EgressTransport
from ..egress.target import Target
from ..errors import ToolError
from .specs import no_such_page

LARGEST_PAGE = 5 << 20  # bytes, after unpacking
LARGEST_PDF = 32 << 20  # of which a part cannot be read
PDF, PDF_START = "application/pdf", b"%PDF-"
_SECONDS = 25.0
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; agenthost)",
    "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5",
    "Accept-Language": "en,*;q=0.5",
    "Accept-Encoding": "gzip",
}
_TEXT_TYPES = ("json", "xml", "javascript", "yaml", "toml", "csv")


@dataclass(frozen=True)
class Fetched:
    """A page as it came.

    Args:
        url: where it really was, after redirects.
        kind: ``html``, ``text`` or ``pdf``.
        complete: False if it was larger than `LARGEST_PAGE`.
    """

    url: str
    kind: str
    charset: str | None
    body: bytes
    complete: bool


class Fetcher:
    """One session's HTTP client: it keeps cookies and connections until closed."""

    def __init__(self, egress: Egress) -> None:
        self.client = httpx2.AsyncClient(
            transport=EgressTransport(egress), headers=_HEADERS, follow_redirects=True, max_redirects=10,
            timeout=15.0, trust_env=False,
        )  # fmt: skip

    async def fetch(self, url: str) -> Fetched:
        """Get a page. An address without ``https://`` is tried with it, then with ``http://``.

        Raises:
            ToolError: there is no such page, it is nothing to read, or the policy forbids it.
        """
        if "://" in url:
            return await self._fetch(url, url)
        try:
            return await self._fetch(f"https://{url}", url)
        except _NoAnswer:
            return await self._fetch(f"http://{url}", url)

    async def close(self) -> None:
        await self.client.aclose()

    async def _fetch(self, url: str, named: str) -> Fetched:
        try:
            with anyio.fail_after(_SECONDS):
                async with self.client.stream("GET", Target.parse(url).url) as response:
                    return await _read(response, named)
        except Unreachable as error:
            raise _NoAnswer(no_such_page(named)) from error
        except EgressError as error:
            raise ToolError(f"could not open {named}: {error}") from error
        except httpx2.TooManyRedirects as error:
            raise ToolError(f"could not open {named}: it redirects in circles. Use another page.") from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise ToolError(f"could not open {named}: it took too long. Try again, or use another page.") from error
        except (httpx2.HTTPError, httpx2.InvalidURL, zlib.error, UnicodeError, ValueError) as error:
            raise _NoAnswer(no_such_page(named)) from error


class _NoAnswer(ToolError):
    """No server spoke HTTP there."""


async def _read(response: httpx2.Response, named: str) -> Fetched:
    if response.status_code in (404, 410):
        raise ToolError(no_such_page(named))
    if response.status_code >= 400:
        raise ToolError(
            f"could not open {named}: the server answered {response.status_code}. "
            "Check the address or search for another page."
        )
    header = Message()
    header["Content-Type"] = response.headers.get("content-type", "")
    media = header.get_content_type() if response.headers.get("content-type") else ""
    largest = LARGEST_PDF if media == PDF else LARGEST_PAGE
    body, complete = await _body(response, named, largest)
    charset = header.get_content_charset()
    kind = _kind(media, body, named)
    if kind == "pdf" and not complete:
        raise ToolError(f"could not open {named}: the PDF is larger than {largest >> 20} MiB. Use another page.")
    return Fetched(str(response.url), kind, charset, body, complete)


def _kind(media: str, body: bytes, named: str) -> str:
    if media in ("text/html", "application/xhtml+xml"):
        return "html"
    if media == PDF or (media in ("", "application/octet-stream") and body.startswith(PDF_START)):
        return "pdf"
    if media.startswith("text/") or any(media.endswith(kind) for kind in _TEXT_TYPES):
        return "text"
    if not media and b"\0" not in body[:1024]:
        return "html" if body.lstrip()[:1] == b"<" else "text"
    raise ToolError(f"could not open {named}: it is {media or 'binary data'}, not text. Use another page.")


async def _body(response: httpx2.Response, named: str, largest: int) -> tuple[bytes, bool]:
    """The unpacked body, at most ``largest`` bytes of it, and whether that is all."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise ToolError(f"could not open {named}: it is packed as {encoding[:40]!r}. Use another page.")
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS) if "gzip" in encoding else None
    body = bytearray()
    async for part in response.aiter_raw():
        body += unpack.decompress(part, largest + 1 - len(body)) if unpack else part
        if len(body) > largest:
            return bytes(body[:largest]), False
    return bytes(body), True
