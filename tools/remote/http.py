"""HTTP clients for external servers: what their requests pass through."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import httpx2

from ..egress.connect import Egress
from ..egress.http import EgressTransport
from ..egress.policy import EgressPolicy
from .config import ServerConfig

if TYPE_CHECKING:
    from .login import Login

Waiting = Callable[[], AbstractContextManager[None]]
"""Entered while a person is waited for, so that no time limit of the connection runs."""

HttpClient = Callable[[ServerConfig, Waiting], httpx2.AsyncClient]

_TIMEOUT = httpx2.Timeout(30.0, read=300.0)


def trusted_client(login: Login | None = None) -> HttpClient:
    """For the servers of the operator's own configuration. The SDK follows redirects on the same origin only.

    Args:
        login: how to log in where a server wants it; None for not at all.
    """

    def make(config: ServerConfig, waiting: Waiting) -> httpx2.AsyncClient:
        auth = None if login is None else login.auth(config, waiting)
        return httpx2.AsyncClient(headers=dict(config.headers), timeout=_TIMEOUT, auth=auth)

    return make


def egress_client(policy: EgressPolicy) -> HttpClient:
    """For servers that requests name: every connection passes ``policy``, and nobody logs in."""

    def make(config: ServerConfig, waiting: Waiting) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=EgressTransport(Egress(policy)),
            headers=dict(config.headers),
            timeout=_TIMEOUT,
            trust_env=False,
        )

    return make
