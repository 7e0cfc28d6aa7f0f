"""``agenthost serve``: the HTTP server, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from fastapi import FastAPI

from ...engine.garbage import freeze_loaded
from ..app import create_app
from ..config import ServerConfig
from ..http.drain import Drain
from ..http.keys import KeysError
from ..http.listen import bind, port_of
from ..observe import audit, logs
from ..openai.responses.service import ResponseService
from ..served import ServedModel
from ..settings import ConfigError
from ..store import StoreError
from .problems import reported

log = logging.getLogger("agenthost")

_KEEP_ALIVE = 75  # seconds; proxies close idle connections after 60, and must do so first
_LAST_WORDS = 10  # seconds in which requests that are stopped tell their clients, before they are cut off


def main(flags: Mapping[str, Any]) -> int:
    """Exit status: 0 after a requested stop, 1 when the model cannot be served, 2 for a bad configuration."""
    return reported("serve", lambda: _main(flags), StoreError, KeysError, OSError)


def _main(flags: Mapping[str, Any]) -> int:
    config = ServerConfig.load(flags, os.environ)
    logs.set_up(config.log_level, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    if config.audit_log:
        audit.write_to(Path(config.audit_log))
    if config.engine.node_rank:
        from ...engine.parallel.node import run_node

        run_node(config.engine)
        return 0
    try:
        return asyncio.run(_serve(config))
    except asyncio.CancelledError:  # told to stop before it served
        return 0


async def _serve(config: ServerConfig) -> int:
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in _bound(config)]
        app = create_app(config)
        server = _Server(app, config)
        loop, starting = asyncio.get_running_loop(), asyncio.current_task()
        assert starting is not None
        loop.add_signal_handler(signal.SIGTERM, starting.cancel)
        async with app.router.lifespan_context(app):
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.add_signal_handler(number, server.handle_exit, number, None)
            served: ServedModel = app.state.served
            watching = asyncio.create_task(_announce(served, server, config, port_of(listeners)))
            await server.serve(listeners)
            watching.cancel()
        return 1 if served.failure is not None else 0


def _bound(config: ServerConfig) -> list[socket.socket]:
    try:
        return bind(config.host, config.port)
    except OSError as error:
        raise ConfigError(f"cannot listen on port {config.port} of {config.host}: {error.strerror}") from error


def listening(app: FastAPI, config: ServerConfig) -> uvicorn.Config:
    """How ``app`` is served. uvicorn's own choice where httptools is installed has no limit of headers."""
    return uvicorn.Config(
        app, http="h11", lifespan="off", timeout_keep_alive=_KEEP_ALIVE, log_config=None,
        access_log=config.log_level == "debug", server_header=False,
        timeout_graceful_shutdown=config.drain_seconds + _LAST_WORDS,
    )  # fmt: skip


class _Server(uvicorn.Server):
    """uvicorn's, without its handling of signals and of the app's lifetime, which are the caller's.

    Requests that have not ended at the deadline of the app's :class:`Drain` are told why they end.
    """

    def __init__(self, app: FastAPI, config: ServerConfig) -> None:
        super().__init__(listening(app, config))
        self._drain: Drain = app.state.drain
        self._responses: ResponseService = app.state.responses

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(self._stop_in_time)
            await super().shutdown(sockets)
            group.cancel_scope.cancel()
        if self.force_exit:
            await self._stop_requests()

    async def _stop_in_time(self) -> None:
        await anyio.sleep_until(self._drain.begin())
        await self._stop_requests()

    async def _stop_requests(self) -> None:
        await self._responses.stop()  # first: its requests end by themselves then
        self._drain.cancel_requests()


async def _announce(served: ServedModel, server: uvicorn.Server, config: ServerConfig, port: int) -> None:
    """Say when the model is ready; stop the server when it never will be."""
    try:
        _, info = await served.ready()
    except Exception as error:
        log.error("cannot serve %s: %s", config.engine.model, error)
        server.should_exit = True
        return
    freeze_loaded()
    host = f"[{config.host}]" if ":" in config.host else config.host
    log.info(
        "ready: %s on %s (%s), context %d tokens, at http://%s:%d/v1",
        served.names[0], info.device, info.dtype, info.max_model_len, host, port,
    )  # fmt: skip
