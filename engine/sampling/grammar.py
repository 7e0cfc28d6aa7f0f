"""Grammars in the engine process: compile them elsewhere, ask what may come next, mask the logits.

The engine itself never runs xgrammar. Each grammar lives in a process of its own (see ``grammar_compiler``), reached by
a socket; what it does to that process is an error of the requests that use it, not of the engine. The exchange
overlaps with the model: a token is sent as soon as it is known, the mask for the next one is wanted a forward later.

What xgrammar 0.2 does not enforce, and lets pass: ``not``, ``if``, ``uniqueItems``, ``contains``, ``dependent*``,
``$anchor``, unknown formats, several schemas in ``allOf``, lookaround in a pattern. ``oneOf`` is read as ``anyOf``, and
``minLength`` and ``maxLength`` are left out on purpose (``grammar_schema`` says why): validate what was written. It is
narrower than JSON Schema in that declared properties come in their order, an object with declared properties has no
others unless ``additionalProperties`` says so, and a pattern matches the whole string.

A structural tag is ``{"type": "structural_tag", "format": FORMAT}``. The formats of use for tool calls::

    {"type": "any_text", "excludes": ["<tool_call>"]}
    {"type": "json_schema", "json_schema": SCHEMA}
    {"type": "tag", "content": FORMAT,
     "begin": '<tool_call>\\n{"name": "NAME", "arguments": ', "end": "}\\n</tool_call>"}
    {"type": "triggered_tags", "triggers": ["<tool_call>"], "tags": [TAG, ...],
     "at_least_one": false, "stop_after_first": false}                          free text, calls after the trigger
    {"type": "tags_with_separator", "separator": "\\n", "tags": [TAG, ...],
     "at_least_one": true, "stop_after_first": false}                           calls and nothing else

A trigger is the beginning of ``begin`` of its tags. Text is matched by its bytes, so a trigger matches whether it is
one added token or several. ``at_least_one`` in triggered tags leaves no room for text before the first call.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import subprocess
import time
from collections import OrderedDict, deque
from collections.abc import Sequence

import numpy as np
import torch

from ..cores import usable_cores
from ..errors import EngineError, InvalidRequest, Overloaded
from ..hub import resolve_model
from ..models.config import ModelConfig
from ..request import Grammar
from . import grammar_compiler as compiler
from .grammar_compiler import CompilerConfig
from .grammar_limits import check_grammar
from .grammar_process import CompiledGrammar, GrammarState

MAX_COMPILING = 2
"""Grammars compiled at the same time."""
MAX_QUEUED = 256
"""Grammars that may wait to be compiled; a request with one more is refused as overloaded."""
MAX_PROCESSES = 64
"""Compiled grammars kept. One that no request uses makes room for the next; while all are in use the next waits."""
MAX_REFUSALS = 256
"""Refused grammars remembered, so that sending them again costs nothing."""

_ATTEMPTS = 2  # a grammar process may be killed by chance
_START_SECONDS = 60.0  # loading xgrammar from a cold disk
_PATIENCE = 5.0  # seconds beyond a grammar process's own limits, for a compiler process that never forked it
_MOST_THREADS = 8
_WORD_BITS = 32

log = logging.getLogger(__name__)


class GrammarService:
    """Compiles grammars and keeps the compiled ones. One thread calls everything; nothing but ``fill`` waits.

    The compiler process starts with :meth:`start`, or with the first grammar.
    """

    @classmethod
    def for_model(cls, model: str) -> GrammarService:
        """The service for a model that :func:`resolve_model` finds. Raises ModelNotFound."""
        folder = resolve_model(model)
        threads = max(1, min(_MOST_THREADS, usable_cores() // 2))
        vocab_size = ModelConfig.load(folder).vocab_size
        return cls(CompilerConfig(folder=str(folder), vocab_size=vocab_size, threads=threads))

    def __init__(self, config: CompilerConfig) -> None:
        self._config = config
        self._words = -(-config.vocab_size // _WORD_BITS)
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._compiler: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._compiler_ready = False
        self._failed_starts = 0
        self._queue: deque[tuple[Grammar, int]] = deque()  # with the number of attempts already made
        self._compiling: dict[Grammar, CompiledGrammar] = {}
        self._compiled: OrderedDict[Grammar, CompiledGrammar] = OrderedDict()  # the least recently used first
        self._refused: OrderedDict[Grammar, InvalidRequest] = OrderedDict()
        self._done: list[tuple[Grammar, CompiledGrammar | EngineError]] = []

    # -- what the scheduler calls ---------------------------------------------------------------------------------

    def start(self, launched: compiler.Launched | None = None) -> None:
        """Take over a compiler process, or start one. Grammars may be submitted at once."""
        self._compiler, self._control = launched or compiler.launch(self._config)
        self._control.setblocking(False)
        self._compiler_ready = False
        self._selector.register(self._control, selectors.EVENT_READ)

    def submit(self, grammar: Grammar) -> None:
        """Have a grammar compiled; :meth:`poll` will tell. Equal grammars are compiled once."""
        known = self._compiled.get(grammar) or self._refused.get(grammar)
        if known is None and grammar not in self._compiling and all(grammar != queued for queued, _ in self._queue):
            try:
                check_grammar(grammar)
                if len(self._queue) >= MAX_QUEUED:
                    raise Overloaded(f"{MAX_QUEUED} grammars wait to be compiled. Try again later.")
            except EngineError as error:
                known = error
            else:
                self._queue.append((grammar, 0))
                self._launch_queued()
        if known is not None:
            self._tell(grammar, known)

    def poll(self) -> list[tuple[Grammar, CompiledGrammar | EngineError]]:
        """The grammars that are ready, and those that are refused: InvalidRequest says why."""
        self.pump(0)
        done, self._done = self._done, []
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        return done

    def fileno(self) -> int:
        """Readable when there may be something to poll."""
        return self._selector.fileno()  # pyright: ignore[reportAttributeAccessIssue]  # epoll and kqueue have one

    def state(self, compiled: CompiledGrammar, stop_token_ids: Sequence[int]) -> GrammarState:
        """A sequence's place at the beginning of a grammar that :meth:`poll` has just given.

        ``stop_token_ids`` end the output: they are allowed where the grammar is complete, and nowhere else.
        """
        if compiled.grammar in self._compiled:
            self._compiled.move_to_end(compiled.grammar)
        return compiled.open(stop_token_ids, self._words)

    def bitmask(self, rows: int) -> torch.Tensor:
        """(rows, words) int32 that allows everything."""
        return torch.full((rows, self._words), -1, dtype=torch.int32)

    def close(self) -> None:
        """End all processes. May be repeated."""
        for process in [*self._compiling.values(), *self._compiled.values()]:
            process.close()
        self._queue.clear()
        self._stop_compiler()
        if self._selector.get_map():
            self._selector.close()
            self._wake.close()
            self._waker.close()

    # -- events ---------------------------------------------------------------------------------------------------

    def pump(self, seconds: float) -> None:
        """Take in what the processes have sent; wait at most so long for the first of it."""
        for key, _ in self._selector.select(seconds):
            if isinstance(key.data, CompiledGrammar):
                if key.data.closed:  # by what came before it in this round
                    continue
                answers, ended = key.data.receive()
                for status, number, body in answers:
                    self._answered(key.data, status, number, body)
                if ended:
                    key.data.close("The grammar takes too much time or memory to follow")
            elif key.fileobj is self._control:
                self._hear_compiler()
        for process in list(self._compiling.values()):
            self._check_overdue(process)
        self._launch_queued()

    def forget(self, process: CompiledGrammar) -> None:
        """A process is closing: drop it, and see to the grammar that it leaves uncompiled."""
        self._selector.unregister(process.socket)
        grammar = process.grammar
        if self._compiled.get(grammar) is process:
            del self._compiled[grammar]
        elif self._compiling.get(grammar) is process:
            del self._compiling[grammar]
            limit = self._config.compile_seconds
            if not self._compiler_ready:  # not the grammar's fault
                self._queue.appendleft((grammar, process.attempt - 1))
            elif process.attempt < _ATTEMPTS and time.monotonic() - process.started < limit:
                self._queue.appendleft((grammar, process.attempt))
            else:
                memory = self._config.memory_bytes // 2**20
                reason = f"cannot be compiled within {limit:g} seconds and {memory} MiB. Make it smaller or less deep."
                self._tell(grammar, InvalidRequest(f"The grammar {reason}", "grammar"))

    def _answered(self, process: CompiledGrammar, status: int, number: int, body: bytes) -> None:
        grammar = process.grammar
        if status == compiler.COMPILED:
            del self._compiling[grammar]
            self._compiled[grammar] = process
            self._tell(grammar, process)
        elif status == compiler.REFUSED:
            del self._compiling[grammar]
            error = InvalidRequest(f"The grammar cannot be compiled: {body.decode()}.", "grammar")
            self._refused[grammar] = error
            if len(self._refused) > MAX_REFUSALS:
                self._refused.popitem(last=False)
            self._tell(grammar, error)
            process.close()
        elif (state := process.states.get(number)) is not None:
            state.take(status, body)

    def _tell(self, grammar: Grammar, result: CompiledGrammar | EngineError) -> None:
        self._done.append((grammar, result))
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    # -- the compiler process -------------------------------------------------------------------------------------

    def _launch_queued(self) -> None:
        while self._queue and len(self._compiling) < MAX_COMPILING and self._make_room():
            if self._control is None:
                if self._failed_starts >= _ATTEMPTS:
                    self._refuse_all()
                    break
                self.start()
            assert self._control is not None
            grammar, attempts = self._queue.popleft()
            process = CompiledGrammar(self, grammar, attempts + 1)
            self._compiling[grammar] = process
            self._selector.register(process.socket, selectors.EVENT_READ, process)
            try:
                process.launch(self._control)
            except OSError:  # nobody listens: the grammar is queued again, for a new compiler process
                self._stop_compiler()
                process.close()

    def _make_room(self) -> bool:
        """Whether one more process may start, after ending an idle one if need be."""
        if len(self._compiled) + len(self._compiling) < MAX_PROCESSES:
            return True
        told = {id(result) for _, result in self._done}
        idle = next((p for p in self._compiled.values() if not p.states and id(p) not in told), None)
        if idle is not None:
            idle.close()
        return idle is not None

    def _hear_compiler(self) -> None:
        assert self._control is not None
        try:
            word = self._control.recv(1)
        except BlockingIOError:
            return
        except ConnectionError:
            word = b""
        if word == compiler.READY:
            self._compiler_ready = True
            self._failed_starts = 0
            for process in self._compiling.values():
                process.started = time.monotonic()
        else:
            log.error("the grammar compiler ended; a new one starts with the next grammar")
            self._stop_compiler()

    def _check_overdue(self, process: CompiledGrammar) -> None:
        """The kernel ends a process that compiles too long; this is for a compiler process that never forked it."""
        limit = self._config.compile_seconds + _PATIENCE if self._compiler_ready else _START_SECONDS
        if time.monotonic() - process.started > limit:
            self._stop_compiler()
            process.close()

    def _stop_compiler(self) -> None:
        if self._control is not None and self._compiler is not None:
            self._selector.unregister(self._control)
            self._control.close()
            self._compiler.kill()
            self._compiler.wait()
            self._control = self._compiler = None
            self._failed_starts += not self._compiler_ready

    def _refuse_all(self) -> None:
        self._failed_starts = 0
        while self._queue:
            grammar, _ = self._queue.popleft()
            self._tell(grammar, EngineError("Grammars are not available: their compiler does not start. See the log."))


def apply_bitmask(logits: torch.Tensor, bitmask: torch.Tensor) -> None:
    """Set the logits of tokens that are not allowed to -inf, in place.

    Args:
        logits: (rows, vocabulary), any floating dtype and device.
        bitmask: (rows, words) int32 on the CPU; bit t % 32 of word t // 32 allows token t.
    """
    vocabulary = logits.shape[-1]
    if bitmask.shape[-1] * _WORD_BITS < vocabulary:
        raise ValueError(f"a bitmask of {bitmask.shape[-1]} words does not cover {vocabulary} logits")
    if logits.device.type == "cpu":
        bits = np.unpackbits(bitmask.numpy().view(np.uint8), axis=-1, count=vocabulary, bitorder="little")
        refused = ~torch.from_numpy(bits).view(torch.bool)
    else:
        shifts = torch.arange(_WORD_BITS, dtype=torch.int32, device=logits.device)
        bits = (bitmask.to(logits.device, non_blocking=True).unsqueeze(-1) >> shifts) & 1
        refused = (bits == 0).flatten(-2)[:, :vocabulary]
    logits.masked_fill_(refused, -torch.inf)
