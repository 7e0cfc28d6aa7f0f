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
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

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
from .request import Request, TokenOutput
from .scheduler.events import Load
from .text import TextAssembler, TextOutput
from .tokenizer import Tokenizer

log = logging.getLogger(__name__)

Status = Literal["starting", "ready", "restarting", "stopped"]

_MAX_STILLBIRTHS = 4  # an engine that dies so often in a row before it serves never will
_LONGEST_PAUSE = 5.0  # seconds between two starts
_LAST_WORDS = 50  # milliseconds that a dead process's last message may take to arrive


class Watch(Protocol):
    """Is told of one request while it lives. Called from the event loop for every token, so it must not take long."""

    def produced(self, output: TokenOutput) -> None: ...

    def ended(self) -> None:
        """By its last output, an error, or because it was given up. It may be said twice."""
        ...


class Watcher(Protocol):
    def watch(self, request: Request) -> Watch:
        """A request has been sent."""
        ...


class TokenStream:
    """The outputs of one accepted request, as an async iterator. Closing it early aborts the request."""

    def __init__(self, engine: AsyncEngine, request: Request) -> None:
        self.request = request
        self._engine = engine
        # One reader, and a writer in the same loop: less than asyncio.Queue does, for every token.
        self._items: deque[TokenOutput | EngineError | None] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False
        self._watch = engine.watcher.watch(request) if engine.watcher is not None else None

    def put(self, item: TokenOutput | EngineError | None) -> None:
        """For the engine: the next output, an error that ends the stream, or None for acceptance."""
        self._items.append(item)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
        watch = self._watch
        if watch is not None and item is not None:
            if isinstance(item, TokenOutput):
                watch.produced(item)
            if isinstance(item, EngineError) or item.finish_reason is not None:
                watch.ended()

    async def accepted(self) -> None:
        """For the engine: wait for the verdict."""
        if (arrival := self.arrival()) is not None:
            await arrival
        first = self._items.popleft()
        if isinstance(first, EngineError):
            self._ended = True
            raise first

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TokenOutput:
        if (arrival := self.arrival()) is not None:
            await arrival
        return self.take()

    def arrival(self) -> asyncio.Future[None] | None:
        """What the one reader awaits before :meth:`take`; None where that need not wait."""
        if self._items or self._ended:
            return None
        self._waiting = asyncio.get_running_loop().create_future()
        return self._waiting

    def take(self) -> TokenOutput:
        """The next output that has come. Raises StopAsyncIteration behind the last one, and EngineError."""
        if self._ended:
            raise StopAsyncIteration
        item = self._items.popleft()
        if isinstance(item, EngineError):
            self._ended = True
            raise item
        assert item is not None
        self._ended = item.finish_reason is not None
        return item

    async def aclose(self) -> None:
        """Give up what is left. Harmless when the output has ended."""
        self.close()

    def close(self) -> None:
        """The same, at once."""
        if not self._ended:
            self._ended = True
            self._engine.abort(self.request.id)
            if self._watch is not None:
                self._watch.ended()


class TextOutputs:
    """The outputs of one accepted request as text. Closing it early aborts the request."""

    def __init__(self, tokens: TokenStream, text: TextAssembler) -> None:
        self._tokens = tokens
        self._text = text

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TextOutput:
        if (arrival := self.arrival()) is not None:
            await arrival
        return self.take()

    def arrival(self) -> asyncio.Future[None] | None:
        """See :meth:`TokenStream.arrival`."""
        return self._tokens.arrival()

    def take(self) -> TextOutput:
        """See :meth:`TokenStream.take`."""
        output = self._text.take(self._tokens.take())
        if output.finish_reason is not None:
            self._tokens.close()  # a stop string may have been found in the middle
        return output

    async def aclose(self) -> None:
        self._tokens.close()


class AsyncEngine:
    """An engine process under supervision: when it dies, its requests end with EngineDied and a new one starts.

    An async context manager; leaving it ends the process.

    Args:
        config: what to run.
        on_loading: called while the process starts.

    Attributes:
        program: what Python runs as the engine process.
        load: how busy it was after its last step.
    """

    program: tuple[str, ...] = ("-m", "agenthost.engine.worker")

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
        stream = self._streams[request.id] = TokenStream(self, request)
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
        inbox, self._outbox = context.socket(zmq.PULL), context.socket(zmq.PUSH)
        addresses = [f"ipc://{scratch}/{name}" for name in ("to-engine", "to-front")]
        for socket, address in zip((self._outbox, inbox), addresses, strict=True):
            socket.set_hwm(0)
            socket.bind(address)
        process = self._process = await asyncio.create_subprocess_exec(
            sys.executable, *self.program, stdin=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(StartUp(self.config, *addresses, scratch=scratch)) + b"\n")
            receiver = asyncio.create_task(self._receive(inbox, process))
            try:
                code = await process.wait()
            finally:
                receiver.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await receiver
            while receiver.cancelled() and await inbox.poll(_LAST_WORDS):
                await self._handle(await inbox.recv())
            return code
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            self._process = self._outbox = None
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

    async def _handle(self, message: bytes) -> None:
        match decode_to_front(message):
            case Outputs() as outputs:
                self._deliver(outputs)
            case Ready(info):
                self._info = info
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
