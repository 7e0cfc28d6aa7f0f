"""The handle that the front holds on the engine process: start, supervise, submit, stream, abort.

Loads neither torch nor the model. One event loop owns it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import shutil
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import msgspec
import zmq
import zmq.asyncio

from .config import EngineConfig
from .errors import EngineDied, EngineError, InvalidRequest, from_wire
from .hub import resolve_model
from .progress import Progress
from .protocol import (
    Abort,
    EngineInfo,
    Error,
    Loading,
    Outputs,
    Ready,
    Refused,
    StartUp,
    Submit,
    decode_to_front,
    encode,
)  # fmt: skip
from .request import Request
from .scheduler.events import Load
from .streams import TextOutputs, TokenStream, Watcher
from .text import TextAssembler
from .tokenizer import Tokenizer

log = logging.getLogger(__name__)

Status = Literal["starting", "ready", "restarting", "stopped"]

_MAX_STILLBIRTHS = 4  # an engine that dies so often in a row before it serves never will
_LONGEST_PAUSE = 5.0  # seconds between two starts
_LAST_WORDS = 50  # milliseconds that a dead process's last message may take to arrive


class AsyncEngine:
    """An engine process under supervision: when it dies, its requests end with EngineDied and a new one starts.

    An async context manager; leaving it ends the process.

    Args:
        config: what to run.
        on_loading: called while the process starts.

    Attributes:
        program: what Python runs as the engine process.
        patience: seconds. A process that has requests and says nothing for so long hangs, and is replaced.
        restarts: how often a process was replaced.
        load: how busy it was after its last step; not at all once it has ended.
    """

    program: tuple[str, ...] = ("-P", "-m", "agenthost.engine.worker")
    patience: float = 300.0

    def __init__(self, config: EngineConfig, on_loading: Progress | None = None) -> None:
        self.config = config
        self.restarts = 0
        self.watcher: Watcher | None = None
        self.load = Load()
        self._on_loading = on_loading
        self._status: Status = "stopped"
        self._info: EngineInfo | None = None
        self._refusal: EngineError | None = None
        self._changed = asyncio.Condition()
        self._streams: dict[str, TokenStream] = {}
        self._numbers = itertools.count()
        self._heard = 0  # messages of the engine process
        self._outbox: zmq.asyncio.Socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._folder: Path | None = None
        self._tokenizer: Tokenizer | None = None

    @property
    def status(self) -> Status:
        return self._status

    @property
    def num_requests(self) -> int:
        """Requests that have not ended."""
        return len(self._streams)

    @property
    def pid(self) -> int | None:
        """The engine process, when there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, loaded at first use. Raises ModelNotFound."""
        if self._tokenizer is None:
            self._tokenizer = Tokenizer.load(resolve_model(self.config.model))
        return self._tokenizer

    async def __aenter__(self) -> Self:
        self._folder = Path(tempfile.mkdtemp(prefix="agenthost-"))  # only ours to enter: the sockets are in it
        self._status = "starting"
        self._supervisor = asyncio.create_task(self._supervise(), name="engine supervisor")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._supervisor is not None
        assert self._folder is not None
        self._supervisor.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._supervisor
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- requests -------------------------------------------------------------------------------------------------

    async def ready(self) -> EngineInfo:
        """Wait until the engine serves. Raises EngineError (ModelNotFound, ...) when it cannot."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._status in ("ready", "stopped"))
        if self._status == "stopped" or self._info is None:
            raise self._refusal or EngineDied("the engine is stopped.")
        return self._info

    async def submit(self, request: Request) -> TokenStream:
        """Send a request and wait until it is accepted: checked, its grammar compiled, queued.

        Raises InvalidRequest, ContextOverflow, Overloaded or EngineDied.
        """
        await self.ready()
        # A name of our own: what the engine still says of an aborted request must not reach one that reuses its id.
        request = msgspec.structs.replace(request, id=f"{next(self._numbers)}-{request.id}")
        try:
            message = encode(Submit(request))
        except (OverflowError, UnicodeError, TypeError) as error:
            raise InvalidRequest(f"the request cannot be sent to the engine: {error}") from error
        watch = self.watcher.watch(request) if self.watcher is not None else None
        stream = self._streams[request.id] = TokenStream(request, self.abort, watch)
        self._send(message)
        try:
            await stream.accepted()
        except asyncio.CancelledError:
            await stream.aclose()
            raise
        return stream

    async def submit_text(
        self,
        request: Request,
        *,
        stop: tuple[str, ...] = (),
        include_stop: bool = False,
        skip_special_tokens: bool = True,
    ) -> TextOutputs:
        """Like :meth:`submit`, with the output as text: stop strings applied, characters never cut."""
        info = await self.ready()
        text = TextAssembler(
            self.tokenizer,
            len(request.prompt),
            info.eos_token_ids,
            stop=stop,
            include_stop=include_stop,
            skip_special_tokens=skip_special_tokens,
        )
        return TextOutputs(await self.submit(request), text)

    def abort(self, request_id: str) -> None:
        """For the streams: stop a request. Unknown ids mean nothing."""
        if self._streams.pop(request_id, None) is not None:
            self._send(encode(Abort(request_id)))

    def _send(self, message: bytes) -> None:
        if self._outbox is not None:
            # Never blocks: the pipe has no high-water mark. The future is done at once.
            self._outbox.send(message)

    # -- supervision ----------------------------------------------------------------------------------------------

    async def _supervise(self) -> None:
        stillbirths = deaths = 0
        try:
            while self._refusal is None:
                begun = time.monotonic()
                code = await self._run()
                if self._refusal is not None:
                    break
                stillbirths = 0 if self._status == "ready" else stillbirths + 1
                await self._set_status("restarting")  # first: what is submitted from now on waits
                self.restarts += 1
                self._end_streams(EngineDied(f"the engine process ended (exit status {code}); it is being restarted."))
                deaths = deaths + 1 if time.monotonic() - begun < _LONGEST_PAUSE * 2 else 0
                if stillbirths > _MAX_STILLBIRTHS:
                    self._refusal = EngineDied(f"the engine process ended {stillbirths} times before it was ready.")
                    break
                log.error("the engine process ended (exit status %s); restarting", code)
                await asyncio.sleep(min(_LONGEST_PAUSE, 0.1 * 2**deaths) if deaths > 1 else 0)
        except asyncio.CancelledError:
            pass
        except Exception as error:
            log.exception("the engine's supervisor failed")
            self._refusal = EngineError(f"the engine cannot be started: {error}")
        self._end_streams(self._refusal or EngineDied("the engine is shutting down."))
        await self._set_status("stopped")

    async def _run(self) -> int:
        """One life of the engine process; its exit status."""
        assert self._folder is not None
        context = zmq.asyncio.Context()
        scratch = tempfile.mkdtemp(dir=self._folder)
        process = None
        try:
            inbox, self._outbox = context.socket(zmq.PULL), context.socket(zmq.PUSH)
            addresses = [f"ipc://{scratch}/{name}" for name in ("to-engine", "to-front")]
            for socket, address in zip((self._outbox, inbox), addresses, strict=True):
                socket.set_hwm(0)
                socket.bind(address)
            # In a process group of its own: the Ctrl-C of a terminal is for the front, which ends the engine.
            process = self._process = await asyncio.create_subprocess_exec(
                sys.executable, *self.program, stdin=asyncio.subprocess.PIPE, process_group=0
            )
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(StartUp(self.config, *addresses, scratch=scratch)) + b"\n")
            receiver = asyncio.create_task(self._receive(inbox, process))
            watchdog = asyncio.create_task(self._watch(process))
            try:
                code = await process.wait()
            finally:
                watchdog.cancel()
                receiver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await receiver
            while receiver.cancelled() and await inbox.poll(_LAST_WORDS):
                await self._handle(await inbox.recv())
            return code
        finally:
            if process is not None and process.returncode is None:
                process.kill()
                await process.wait()
            self._process = self._outbox = None
            self.load = Load()
            context.destroy(linger=0)
            shutil.rmtree(scratch, ignore_errors=True)

    async def _receive(self, inbox: zmq.asyncio.Socket, process: asyncio.subprocess.Process) -> None:
        try:
            while True:
                await self._handle(await inbox.recv())
        except Exception:  # no stream would ever end
            log.exception("what the engine process says cannot be handled; ending it")
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        """End a process that hangs, see :attr:`patience`."""
        while True:
            busy, heard = bool(self._streams), self._heard
            await asyncio.sleep(self.patience)
            if busy and self._streams and heard == self._heard:
                log.error("the engine process has said nothing for %.0f seconds; ending it", self.patience)
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                return

    async def _handle(self, message: bytes) -> None:
        self._heard += 1
        match decode_to_front(message):
            case Outputs() as outputs:
                self._deliver(outputs)
            case Ready(info):
                self._info = info
                if self._status == "restarting":
                    log.info("the engine serves again")
                await self._set_status("ready")
            case Loading(stage, done, total):
                if self._on_loading is not None:
                    self._on_loading(stage, done, total)
            case Refused(error):
                self._refusal = _exception(error)

    def _deliver(self, outputs: Outputs) -> None:
        self.load = outputs.load or self.load
        for request_id in outputs.accepted:
            if request_id in self._streams:
                self._streams[request_id].put(None)
        for request_id, output in outputs.produced:
            if request_id in self._streams:
                self._streams[request_id].put(output)
                if output.finish_reason is not None:
                    del self._streams[request_id]
        for request_id, error in outputs.failed:
            stream = self._streams.pop(request_id, None)
            if stream is not None:
                stream.put(_exception(error))

    def _end_streams(self, error: EngineError) -> None:
        for stream in self._streams.values():
            stream.put(error)
        self._streams.clear()

    async def _set_status(self, status: Status) -> None:
        async with self._changed:
            self._status = status
            self._changed.notify_all()


def _exception(error: Error) -> EngineError:
    return from_wire(error.kind, error.message, error.param)
