"""A page's HTML, or a PDF's text, as numbered lines with numbered links.

Runs as a program of its own (see `reader`): it gets hostile input into parsers written in C and Rust, so it gives up
every right before the first page, and whoever started it kills it when a page takes too long. So it imports nothing of
agenthost.
"""

from __future__ import annotations

import codecs
import encodings
import importlib
import io
import json
import logging
import pkgutil
import re
import resource
import secrets
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

if TYPE_CHECKING:
    from pypdf import PdfReader

WIDTH = 80  # columns
_LONGEST_ROW = 400  # of a table or of code, which are not wrapped
_LINK_TEXT = 80
_TITLE = 200
_LONGEST_URL = 4096
_MOST_LINES = 20_000
_MOST_LINKS = 2_000
_DEEPEST = 2_000
_MEMORY = 1 << 30
_NOBODY = 65_534
_PDF_SECONDS = 6.0  # less than whoever waits for an answer has patience

HEADER = struct.Struct(">II")
"""Before a request: lengths of the arguments of `extract` as JSON, and of the page. Before answers: of the JSON, 0."""


@dataclass(frozen=True)
class Text:
    """A page as text.

    Args:
        lines: at most `WIDTH` columns each, tables and code aside. A link reads ``【id†text†domain】``.
        links: URLs by link number.
    """

    title: str
    lines: list[str]
    links: list[str]


_BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_DECLARED = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_NO_TEXT = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"}


class TooComplex(Exception):
    """A page that no reader of pages should have to parse."""


def extract(page: bytes, url: str, charset: str | None = None, kind: str = "html") -> Text:
    """Read a page.

    Args:
        url: where it is, for its links.
        charset: what the server said.
        kind: ``html``, ``text`` or ``pdf``.

    Raises:
        TooComplex: elements are nested too deep.
    """
    if kind == "pdf":
        return _pdf(page)
    text = decode(page, charset, sniff=kind == "html")
    if kind == "text":
        return Text("", plain_lines(text), [])
    return _html(text, url)


def decode(page: bytes, charset: str | None, *, sniff: bool) -> str:
    """Text of bytes: by their byte order mark, by what the server or the page says, else UTF-8 or Windows-1252."""
    for mark, name in _BYTE_ORDER_MARKS.items():
        if page.startswith(mark):
            return page[len(mark) :].decode(name, "replace")
    declared = _DECLARED.search(page, 0, 2048) if sniff else None
    for name in (charset, declared and declared[1].decode("ascii")):
        if name and (decoded := _decoded(page, name)) is not None:
            return decoded
    try:
        return page.decode("utf-8")
    except UnicodeDecodeError:
        return page.decode("cp1252", "replace")


def _decoded(page: bytes, name: str) -> str | None:
    name = name.strip().lower()
    name = {"iso-8859-1": "cp1252", "latin1": "cp1252", "us-ascii": "cp1252", "gb2312": "gb18030"}.get(name, name)
    try:
        return None if codecs.lookup(name).name in _NO_TEXT else page.decode(name, "replace")
    except (LookupError, ValueError):
        return None


def plain_lines(text: str) -> list[str]:
    """Lines of a text file, without empty ones. Only very long ones are divided: the layout may mean something."""
    lines = (line.expandtabs(4).rstrip() for line in _safe(text).splitlines())
    return _cut(piece for line in lines for piece in _pieces(line, _LONGEST_ROW))


def _pdf(document: bytes) -> Text:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(document))
    if reader.is_encrypted and not reader.decrypt(""):
        raise TooComplex("it is locked with a password")
    title = " ".join(_safe(str((reader.metadata or {}).get("/Title") or "")).split())[:_TITLE]
    return Text(title, _cut(_pdf_lines(reader)), [])


def _pdf_lines(reader: PdfReader) -> Iterator[str]:
    """Page by page, as many as there is time for. Raises what keeps all of them from being read."""
    began, count, spoilt = time.monotonic(), len(reader.pages), 0
    for number, page in enumerate(reader.pages, start=1):
        if time.monotonic() - began > _PDF_SECONDS:
            yield f"[pages {number} to {count} are not shown: reading them takes too long]"
            return
        yield f"[page {number} of {count}]"
        try:
            text = page.extract_text()
        except Exception as error:  # pypdf raises anything for what is odd in a page
            spoilt += 1
            if spoilt == count or isinstance(error, MemoryError):
                raise
            text = "[it cannot be read]"
        yield from (piece for line in plain_lines(text) for piece in wrap(line))


def _html(html: str, url: str) -> Text:
    # Loaded here: who only wants decode or plain_lines needs none of it.
    from html_to_markdown import ConversionOptions, PreprocessingOptions, convert
    from selectolax.lexbor import LexborHTMLParser

    _check_depth(html)
    tree = LexborHTMLParser(html)
    found = tree.css_first("title")
    title = " ".join(_safe(found.text()).split())[:_TITLE] if found else ""
    base = tree.css_first("base[href]")
    if base:
        url = _joined(url, base.attributes.get("href") or "")
    for node in tree.css("script,style,template,noscript,svg,iframe,video,audio,object,canvas,head"):
        node.decompose()
    for node in tree.css("[hidden],[aria-hidden=true]"):
        node.decompose()
    mark = secrets.token_hex(4)  # so that no page can write a link mark itself
    links: list[str] = []
    texts: list[str] = []
    numbers: dict[str, int] = {}
    for anchor in tree.css("a[href]"):
        target = _link(url, anchor.attributes.get("href") or "")
        images = " ".join(image.attributes.get("alt") or "" for image in anchor.css("img[alt]"))
        label = " ".join(_safe(f"{anchor.text(separator=' ')} {images}").split())[:_LINK_TEXT]
        if target is None or not label or len(links) >= _MOST_LINKS:
            anchor.unwrap()
            continue
        number = numbers.setdefault(target, len(links))
        if number == len(links):
            links.append(target)
        anchor.replace_with(f"{mark}:{len(texts)}:")
        texts.append(f"【{number}†{label}†{urlsplit(target).netloc}】")
    tree.unwrap_tags(
        ["strong", "em", "b", "i", "u", "s", "mark", "del", "ins", "small", "font", "sup", "sub", "abbr", "summary"]
    )
    options = ConversionOptions(
        extract_metadata=False,
        compact_tables=True,
        autolinks=False,
        skip_images=True,
        preprocessing=PreprocessingOptions(enabled=False),
    )
    markdown = _safe(convert(tree.html or "", options).content or "")
    marked = re.compile(f"{mark}:(\\d+):")
    return Text(title, _cut(_wrapped(marked.sub(lambda match: texts[int(match[1])], markdown))), links)


def _link(base: str, href: str) -> str | None:
    """Where a link leads, None if nowhere else: a place in the page, a script, a mail."""
    if href.startswith("#"):
        return None
    try:
        target = _joined(base, href.strip()).partition("#")[0]
        parts = urlsplit(target)
    except ValueError:
        return None
    known = parts.scheme in ("http", "https", "docs")
    return target if known and len(target) <= _LONGEST_URL and target.isprintable() else None


def _joined(base: str, href: str) -> str:
    scheme, _, rest = base.partition("://")
    if scheme == "docs" and "://" not in href:  # urljoin joins only what it knows
        return f"docs://{urljoin(f'http://{rest}', href).removeprefix('http://')}"
    return urljoin(base, href)


def _safe(text: str) -> str:
    """Without what could pass for a link mark, and without characters that are not seen."""
    return text.translate(_UNSEEN)


_HIDDEN = (
    (0x00, 0x08), (0x0E, 0x1F), (0x7F, 0x9F), (0xAD, 0xAD), (0x200B, 0x200B), (0x200E, 0x200F), (0x202A, 0x202E),
    (0x2060, 0x206F), (0xFEFF, 0xFEFF), (0xFFF9, 0xFFFB), (0xE0000, 0xE007F),
)  # fmt: skip
_UNSEEN: dict[int, str] = {
    **{point: "" for first, last in _HIDDEN for point in range(first, last + 1)},
    **dict.fromkeys((0x0B, 0x0C, 0x0D, 0x2028, 0x2029), "\n"),
    **{0xA0: " ", ord("【"): "〔", ord("】"): "〕"},
}


def _wrapped(markdown: str) -> Iterator[str]:
    """Lines of at most `WIDTH` columns; code and tables keep theirs. A link is never divided."""
    in_code = False
    for line in markdown.splitlines():
        if line.startswith("```"):
            in_code = not in_code
        elif in_code or line.startswith("|"):
            if not re.fullmatch(r"[|\s:-]*", line):
                yield from _pieces(line.rstrip(), _LONGEST_ROW)
        elif line.strip():
            yield from wrap(line)


def wrap(line: str) -> Iterator[str]:
    """A paragraph in lines of at most `WIDTH` columns, links whole."""
    current = ""
    for word in _WORDS.findall(line):
        if current and len(current) + 1 + len(word) > WIDTH:
            yield current
            current = ""
        if len(word) > WIDTH and not word.startswith("【"):
            *full, word = _pieces(f"{current} {word}" if current else word, WIDTH)
            yield from full
            current = ""
        current = f"{current} {word}" if current else word
    if current:
        yield current


_WORDS = re.compile(r"[^\s【]*【[^】]{1,400}】[^\s【]*|\S+")


def _pieces(line: str, width: int) -> list[str]:
    return [line[start : start + width] for start in range(0, len(line), width)]


def _cut(lines: Iterable[str]) -> list[str]:
    shown = list(islice(lines, _MOST_LINES + 1))
    if len(shown) > _MOST_LINES:
        shown[-1] = "[the page goes on, but no more of it is kept]"
    return shown


_TAGS = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)")
# Without an end tag that must be written, so that counting tags says nothing about depth.
_LOOSE = re.compile(
    "area|base|br|col|embed|hr|img|input|link|meta|source|track|wbr|p|li|dt|dd|tr|td|th|thead|tbody|tfoot|option|"
    "optgroup|colgroup|html|head|body|rp|rt",
    re.IGNORECASE,
)


def _check_depth(html: str) -> None:
    depth = 0
    for end, name in _TAGS.findall(html):
        if _LOOSE.fullmatch(name):
            continue
        depth = max(0, depth - 1) if end else depth + 1
        if depth > _DEEPEST:
            raise TooComplex("its elements are nested too deep")


_SMALL_PDF = b"""%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [3 0 R] /Count 1>> endobj
3 0 obj <</Type /Page /Parent 2 0 R /Contents 4 0 R /Resources <</Font <</F 5 0 R>>>>>> endobj
4 0 obj <</Length 24>> stream
BT /F 12 Tf (a) Tj ET   \nendstream endobj
5 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj
trailer <</Root 1 0 R>>
startxref
0
%%EOF
"""


def _load(package: ModuleType) -> None:
    """Import all of a package: pages name encodings, and what a document has in it decides what its parser needs."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        with suppress(ImportError):  # it is for another system, or for something that is not installed
            importlib.import_module(module.name)


def _lock(seccomp: bytes) -> None:
    """Give up what a parser does not need: files, sockets, processes, other users' things."""
    import ctypes
    import os

    for limit, value in (
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),  # for new ones: this process cannot open anything any more
    ):
        resource.setrlimit(limit, (value, value))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)

    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))

    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(38, 1, 0, 0, 0) or prctl(22, 2, ctypes.byref(Program(len(seccomp) // 8, seccomp)), 0, 0):
        raise OSError(ctypes.get_errno(), "cannot lock the page reader")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while len(header := requests.read(HEADER.size)) == HEADER.size:
        arguments, page = (requests.read(size) for size in HEADER.unpack(header))
        try:
            answer = asdict(extract(page, **json.loads(arguments)))
        except TooComplex as error:
            answer = {"problem": str(error)}
        except (MemoryError, RecursionError):
            answer = {"problem": "it is too large"}
        except Exception as error:
            answer = {"problem": f"its text cannot be read ({type(error).__name__})"}
        encoded = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
        answers.write(HEADER.pack(len(encoded), 0) + encoded)
        answers.flush()


if __name__ == "__main__":
    logging.disable()  # of what is odd about a PDF
    # What is imported late must be imported before the door closes.
    _load(encodings)
    if sys.argv[2] == "pdf":
        import pypdf

        _load(pypdf)
        extract(_SMALL_PDF, "http://localhost/", kind="pdf")
    else:
        extract(b"<p>a page</p>", "http://localhost/")
    _lock(bytes.fromhex(sys.argv[1]))
    sys.meta_path.clear()  # so that a module that is missing now is an ImportError, not one of opening files
    _serve(sys.stdin.buffer, sys.stdout.buffer)
