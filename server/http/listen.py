"""Binds the server's port ahead of everything else: what keeps it from listening is found before the model starts."""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any

_MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # what addresses of a family that is switched off give


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of ``host``, on ``port`` or, for 0, on a free one. None of them listens yet.

    Raises OSError.
    """
    bound: list[socket.socket] = []
    missing: OSError | None = None
    with contextlib.ExitStack() as on_failure:
        for family, kind, protocol, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            place = address if not bound else (address[0], port_of(bound), *address[2:])
            try:
                bound.append(on_failure.enter_context(_bound(family, kind, protocol, place)))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
                missing = error
        if not bound and missing is not None:
            raise missing
        on_failure.pop_all()
    return bound


def port_of(bound: list[socket.socket]) -> int:
    return bound[0].getsockname()[1]


def _bound(family: int, kind: int, protocol: int, place: Any) -> socket.socket:
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        opened.bind(place)
    except BaseException:
        opened.close()
        raise
    return opened
