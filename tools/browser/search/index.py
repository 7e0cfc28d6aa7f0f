"""Search in a folder of the operator's documents, by SQLite's full-text index. Needs no network.

The folder is looked through at the first search, and again when that was a while ago; only files that changed are read.
Documents are opened by ``docs://folder/path`` from the index: no path that a model writes reaches the disk.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import anyio
from anyio.to_thread import run_sync

from ...errors import ToolError
from ...files.beneath import Root
from ...files.directory import Directory
from ...files.text import read_bytes
from ...files.walk import walk
from ..extract import WIDTH, Text
from ..history import Page
from ..reader import PageReader
from ..specs import no_such_page
from .base import Hit, SearchBackend

_HTML = {".html", ".htm", ".xhtml"}
_TEXT = {".md", ".markdown", ".txt", ".rst", ".org", ".adoc", ".csv", ".json", ".log", ".yaml", ".yml"}
_LARGEST = 5 << 20
_MOST_FILES = 100_000
_AGAIN = 30.0  # seconds
_WORDS = 32  # of a query
_SCHEMA = """
CREATE TABLE files (
    id INTEGER PRIMARY KEY, path TEXT UNIQUE, stamp TEXT, title TEXT, summary TEXT, lines TEXT, links TEXT
);
CREATE VIRTUAL TABLE texts USING fts5 (title, body, tokenize = 'porter unicode61 remove_diacritics 2');
"""
_FIND = """
SELECT path, files.title, summary FROM texts JOIN files ON files.id = texts.rowid
WHERE texts MATCH ? ORDER BY bm25(texts, 4.0, 1.0), path LIMIT ?
"""


class DocumentIndex(SearchBackend):
    """The index of one folder; it lies in a temporary file until closed.

    Args:
        folder: what to index, with the folders below it. Links are not followed.
        reader: for HTML.
    """

    def __init__(self, folder: Path, reader: PageReader) -> None:
        self._root = Root(Directory(folder))
        self.site = f"docs://{quote(folder.resolve().name or 'documents', safe='')}/"
        self._reader = reader
        self._looking = anyio.Lock()
        self._looked = -_AGAIN
        self._temporary = tempfile.TemporaryDirectory(prefix="agenthost-index-")
        self._database = sqlite3.connect(Path(self._temporary.name, "index.sqlite"), check_same_thread=False)
        self._database.executescript(f"PRAGMA journal_mode = MEMORY; PRAGMA synchronous = OFF; {_SCHEMA}")
        self._in_use = threading.Lock()

    async def search(self, query: str, count: int) -> list[Hit]:
        await self._look()
        words = re.findall(r"\w+", query)[:_WORDS]
        if not words:
            return []
        match = " OR ".join(f'"{word}"' for word in words)
        rows = await run_sync(self._rows, _FIND, (match, count))
        return [Hit(title, self.site + quote(path), summary) for path, title, summary in rows]

    async def page(self, url: str) -> Page:
        """A document by the URL that a search gave.

        Raises:
            ToolError: the index has none there.
        """
        await self._look()
        parts = urlsplit(url)
        path = unquote(parts.path).lstrip("/")
        found = "SELECT title, lines, links FROM files WHERE path = ?"
        rows = await run_sync(self._rows, found, (path,)) if url.startswith(self.site) else []
        if not rows:
            raise ToolError(no_such_page(url))
        title, lines, links = rows[0]
        return Page(title, self.site + quote(path), json.loads(lines), json.loads(links))

    async def close(self) -> None:
        self._database.close()
        self._temporary.cleanup()
        self._root.directory.close()

    async def _look(self) -> None:
        """Bring the index up to date. Cut short by a deadline, it goes on where it was at the next search."""
        async with self._looking:
            if time.monotonic() - self._looked < _AGAIN:
                return
            present = await run_sync(self._files)
            known: dict[str, str] = dict(await run_sync(self._rows, "SELECT path, stamp FROM files", ()))
            gone = [path for path, stamp in known.items() if present.get(path) != stamp]
            await run_sync(self._forget, gone)
            for path in present:
                if known.get(path) != present[path]:
                    data = await run_sync(self._content, path)
                    if data is None:
                        continue
                    try:
                        text = await self._reader.read(data, self.site + quote(path), None, _kind(path))
                    except ToolError:  # not a page that anybody could read
                        text = Text("", [], [])
                    await run_sync(self._note, path, present[path], text)
            self._looked = time.monotonic()

    def _files(self) -> dict[str, str]:
        """Documents below the folder: what changes when they change, by path."""
        found: dict[str, str] = {}
        for path, entry in walk(self._root, skip=lambda path, _: "/." in f"/{path}"):
            if _kind(path) and entry.is_file(follow_symlinks=False):
                status = entry.stat(follow_symlinks=False)
                found[path] = f"{status.st_mtime_ns} {status.st_size} {status.st_ino}"
                if len(found) == _MOST_FILES:
                    break
        return found

    def _content(self, path: str) -> bytes | None:
        try:
            fd = self._root.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return read_bytes(fd, _LARGEST) if stat.S_ISREG(os.fstat(fd).st_mode) else None
        finally:
            os.close(fd)

    def _rows(self, statement: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        with self._in_use:
            return self._database.execute(statement, values).fetchall()

    def _forget(self, paths: Sequence[str]) -> None:
        with self._in_use, self._database:
            for path in paths:
                self._database.execute("DELETE FROM texts WHERE rowid = (SELECT id FROM files WHERE path = ?)", (path,))
                self._database.execute("DELETE FROM files WHERE path = ?", (path,))

    def _note(self, path: str, stamp: str, text: Text) -> None:
        title = text.title or _title(path, text.lines)
        values = (path, stamp, title, _summary(title, text.lines), json.dumps(text.lines), json.dumps(text.links))
        with self._in_use, self._database:
            insert = "INSERT INTO files (path, stamp, title, summary, lines, links) VALUES (?, ?, ?, ?, ?, ?)"
            number = self._database.execute(insert, values).lastrowid
            body = "\n".join(text.lines)
            self._database.execute("INSERT INTO texts (rowid, title, body) VALUES (?, ?, ?)", (number, title, body))


def _kind(path: str) -> str:
    """What a document is to the reader; empty for what is none."""
    ending = PurePosixPath(path).suffix.lower()
    return "html" if ending in _HTML else "text" if ending in _TEXT else ""


def _title(path: str, lines: list[str]) -> str:
    """A document's first heading, or its file's name."""
    for line in lines[:20]:
        if line.startswith("# "):
            return line[2:].strip()[:200]
    return PurePosixPath(path).name


def _summary(title: str, lines: list[str]) -> str:
    """The first line that says more than the title; one line, as the embedded model knows results."""
    return next((line for line in lines[:20] if line.strip() and line.lstrip("# ") != title), "")[:WIDTH]
