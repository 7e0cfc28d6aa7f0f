"""``agenthost serve``: the HTTP server, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from ...engine import EngineError
from ...engine.garbage import freeze_loaded
from ..app import create_app
from ..config import ServerConfig
from ..http.keys import KeysError
from ..observe import audit, logs
from ..served import ServedModel
from ..settings import ConfigError

log = logging.getLogger("agenthost")

_KEEP_ALIVE = 75  # seconds; proxies close idle connections after 60, and must do so first


def main(flags: Mapping[str, Any]) -> int:
    """Exit status: 0 after a requested stop, 1 when the model cannot be served, 2 for a bad configuration."""
    try:
        config = ServerConfig.load(flags, os.environ)
    except ConfigError as error:
        print(f"agenthost serve: {error}", file=sys.stderr)
        return 2
    logs.set_up(config.log_level, "%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        if config.audit_log:
            audit.write_to(Path(config.audit_log))
        if config.engine.node_rank:
            from ...engine.parallel.node import run_node

            run_node(config.engine)
            return 0
        return asyncio.run(_serve(config))
    except (EngineError, KeysError, OSError) as error:
        print(f"agenthost serve: {error}", file=sys.stderr)
        return 2


async def _serve(config: ServerConfig) -> int:
    app = create_app(config)
    server = uvicorn.Server(listening(app, config))
    served: ServedModel = app.state.served
    watching = asyncio.create_task(_announce(served, server, config))
    # uvicorn raises the signal again once it has stopped in good order, and that is no failure.
    signal.signal(signal.SIGTERM, lambda *_: None)
    await server.serve()
    watching.cancel()
    if not server.started:
        return 1
    return 1 if served.failure is not None else 0


def listening(app: FastAPI, config: ServerConfig) -> uvicorn.Config:
    """How ``app`` is served. uvicorn's own choice where httptools is installed has no limit of headers."""
    return uvicorn.Config(
        app, host=config.host, port=config.port, http="h11", timeout_keep_alive=_KEEP_ALIVE, log_config=None,
        access_log=config.log_level == "debug", server_header=False, timeout_graceful_shutdown=config.drain_seconds,
    )  # fmt: skip


async def _announce(served: ServedModel, server: uvicorn.Server, config: ServerConfig) -> None:
    """Say when the model is ready; stop the server when it never will be."""
    await served.started.wait()
    try:
        _, info = await served.ready()
    except Exception as error:
        log.error("cannot serve %s: %s", config.engine.model, error)
        server.should_exit = True
        return
    freeze_loaded()
    log.info(
        "ready: %s on %s (%s), context %d tokens, at http://%s:%d/v1",
        served.names[0], info.device, info.dtype, info.max_model_len, config.host, config.port,
    )  # fmt: skip
