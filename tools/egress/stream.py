"""A connection that left this host, with its bytes counted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anyio.abc import ByteStream, SocketStream


class CountedStream(ByteStream):
    """Passes bytes on and tells ``count`` how many, both ways; what ``count`` raises ends the connection."""

    def __init__(self, stream: SocketStream, count: Callable[[int], None]) -> None:
        self._stream = stream
        self._count = count

    async def receive(self, max_bytes: int = 65536) -> bytes:
        data = await self._stream.receive(max_bytes)
        self._count(len(data))
        return data

    async def send(self, item: bytes) -> None:
        self._count(len(item))
        await self._stream.send(item)

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def aclose(self) -> None:
        await self._stream.aclose()

    @property
    def extra_attributes(self) -> Mapping[Any, Callable[[], Any]]:
        return self._stream.extra_attributes
