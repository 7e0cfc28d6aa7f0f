"""The engine process: ``python -m agenthost.engine.worker``, started by :class:`AsyncEngine` only.

One thread does everything: read the inbox, step the scheduler, send what happened. It sleeps when there is no work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import zmq

from .errors import EngineError, InvalidRequest
from .garbage import freeze_loaded
from .helpers import start_helpers
from .parent import begin
from .protocol import (
    Abort,
    Error,
    Loading,
    Outputs,
    Ready,
    Refused,
    StartUp,
    Submit,
    ToFront,
    decode_to_engine,
    encode,
)  # fmt: skip

if TYPE_CHECKING:
    from .engine import Engine
    from .progress import Progress, Stage

Sender = Callable[[ToFront], None]

_PROGRESS_INTERVAL = 0.1  # seconds
_PATIENCE = 500  # milliseconds between looks at grammars that may be overdue
_HEARTBEAT = 5.0  # seconds of work after which something is said, if there is nothing to say


def main() -> None:
    start_up = begin("engine", StartUp)
    context = zmq.Context()
    inbox, outbox = context.socket(zmq.PULL), context.socket(zmq.PUSH)
    for socket, address in ((inbox, start_up.inbox), (outbox, start_up.outbox)):
        socket.set_hwm(0)  # the scheduler bounds what waits; a slow front must not stop a step
        socket.connect(address)

    def send(message: ToFront) -> None:
        outbox.send(encode(message))

    try:
        engine = _build(start_up, _reporter(send))
    except EngineError as error:
        send(Refused(Error.of(error)))
        context.destroy(linger=1000)
        return
    freeze_loaded()
    send(Ready(engine.info))
    _serve(engine, inbox, send)


def _build(start_up: StartUp, progress: Progress) -> Engine:
    """The engine. Its grammar compiler and further ranks start first: all load torch side by side."""
    helpers = start_helpers(start_up.config, Path(start_up.scratch))
    from .engine import build_engine

    return build_engine(start_up.config, progress, helpers)


def _serve(engine: Engine, inbox: zmq.Socket, send: Sender) -> None:
    scheduler, told, spoken = engine.scheduler, None, 0.0
    poller = zmq.Poller()
    poller.register(inbox, zmq.POLLIN)
    poller.register(engine.grammars.fileno(), zmq.POLLIN)
    while True:
        if not scheduler.has_work:
            poller.poll(_PATIENCE if scheduler.is_compiling else None)
        while inbox.poll(0):
            message = inbox.recv()
            try:
                decoded = decode_to_engine(message)
            except msgspec.ValidationError as error:  # a caller's wrong type, say a fraction among the token ids
                send(_unreadable(message, error))
                continue
            match decoded:
                case Submit(request):
                    scheduler.submit(request)
                case Abort(id):
                    scheduler.abort(id)
        events, load = scheduler.step(), scheduler.load
        now = time.monotonic()
        if events or load != told or now - spoken > _HEARTBEAT:
            told, spoken = load, now
            send(Outputs.of(events, told))


def _unreadable(message: bytes, error: msgspec.ValidationError) -> Outputs:
    """The refusal of a request whose fields have wrong types."""
    request = msgspec.msgpack.decode(message)["request"]
    return Outputs(failed=[(request["id"], Error.of(InvalidRequest(f"the request is malformed: {error}")))])


def _reporter(send: Sender) -> Progress:
    """Progress messages, not more often than a reader can see."""
    last = 0.0

    def report(stage: Stage, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _PROGRESS_INTERVAL or done == total:
            last = time.monotonic()
            send(Loading(stage, done, total))

    return report


if __name__ == "__main__":
    main()
