"""Runs inside the browser's network namespace: a bridge to the egress proxy, and Chromium as its child.

The namespace has a loopback interface and nothing else. The bridge listens on it; the loopback address that a browser
context was told as its proxy says whose door it is: ``127.0.1.7`` leads to the socket ``127.0.1.7`` in the folder of
doors. Imports nothing of agenthost, because it runs with the system's Python.

    inside.py DOORS PORT PROGRAM [ARGUMENT...]     with the debugging pipe on descriptors 3 and 4
"""

from __future__ import annotations

import asyncio
import os
import sys

_CHUNK = 65536


async def main(doors: str, port: int, command: list[str]) -> int:
    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door = os.path.join(doors, writer.get_extra_info("sockname")[0])
        try:
            far_reader, far_writer = await asyncio.open_unix_connection(door)
        except OSError:
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        finally:
            writer.close()
            far_writer.close()

    server = await asyncio.start_server(bridge, "0.0.0.0", port)
    async with server:
        browser = await asyncio.create_subprocess_exec(*command, pass_fds=(3, 4))
        for fd in (3, 4):
            os.close(fd)
        return await browser.wait()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(_CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except OSError:
        writer.transport.abort()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])))
