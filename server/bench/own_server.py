"""A server for one benchmark: ``agenthost serve`` on a free port, stopped at the end."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import httpx2

from .client import Endpoint
from .errors import ServerFailed

_GRACE = 20.0  # seconds that a server has to stop
_LAST_LINES = 5


@contextmanager
def own_server(model: str, *flags: str) -> Iterator[Endpoint]:
    """Serve ``model``, with ``flags`` and the settings of ``AGENTHOST_*`` variables; yields when it is ready.

    Raises ServerFailed.
    """
    key, port = secrets.token_hex(16), _free_port()
    where = ("--host", "127.0.0.1", "--port", str(port))
    command = [sys.executable, "-m", "agenthost.server.cli", "serve", model, *where, "--log-level", "error", *flags]
    with tempfile.TemporaryFile() as log, tempfile.TemporaryDirectory(prefix="agenthost-bench-") as state:
        # The key is not on the command line, which others can read.
        environment = {**os.environ, "AGENTHOST_API_KEY": key, "AGENTHOST_STATE_DIR": state}
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait_until_ready(f"http://127.0.0.1:{port}/health", process, log)
            yield Endpoint(f"http://127.0.0.1:{port}/v1", key=key)
        finally:
            process.terminate()
            try:
                process.wait(_GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: IO[bytes]) -> None:
    """As long as the server lives, it may load: large models take minutes."""
    with httpx2.Client(trust_env=False) as client:
        while process.poll() is None:
            try:
                if client.get(url).status_code == 200:
                    return
            except httpx2.HTTPError:
                pass  # it does not listen yet
            time.sleep(0.05)
    log.seek(0)
    said = log.read().decode("utf-8", "replace").strip().splitlines()[-_LAST_LINES:]
    raise ServerFailed("\n".join(("the server ended before it was ready:", *said)))
