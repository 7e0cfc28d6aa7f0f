"""A grammar process as the engine sees it, and one sequence's place in its grammar. See ``grammar_compiler``."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import tempfile
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..errors import InvalidRequest
from ..request import Grammar
from . import grammar_compiler as compiler

if TYPE_CHECKING:
    from .grammar import GrammarService

_PATIENCE = 5.0  # seconds by the clock for an answer; a process that runs is ended by its own timer long before


class GrammarState:
    """One sequence's place in a grammar. Close it when the sequence ends."""

    def __init__(self, compiled: CompiledGrammar, number: int, words: int) -> None:
        self._compiled = compiled
        self._number = number
        self._pending = 0
        self._error: InvalidRequest | None = None
        self._mask = np.zeros(words, np.int32)
        self._ended = False

    def accept(self, *tokens: int) -> None:
        """Tell what the sequence goes on with. Does not wait; what the grammar refuses shows in :meth:`fill`."""
        if self._error is None:
            self._send(compiler.ACCEPT, tokens)

    @property
    def ready(self) -> bool:
        """Whether :meth:`fill` would not wait."""
        if self._pending and self._error is None:
            self._compiled.service.pump(0)
        return not self._pending or self._error is not None

    @property
    def is_terminated(self) -> bool:
        """Whether the grammar is complete and nothing may follow: a stop id was accepted, or there is none. Waits."""
        self._wait()
        return self._ended

    def fill(self, bitmask: torch.Tensor, row: int) -> None:
        """Write what may come next into ``bitmask[row]``; ``bitmask`` is (rows, words) int32 on the CPU.

        Waits for the grammar process, which answers or is ended by its limits. Raises InvalidRequest when the grammar
        cannot go on.
        """
        self._wait()
        if self._error is not None:
            raise self._error
        if self._ended:
            raise InvalidRequest("The grammar is complete, and nothing may follow.", "grammar")
        bitmask[row] = torch.from_numpy(self._mask)

    def close(self) -> None:
        """Leave the grammar; its process goes when no other sequence wants it. May be repeated."""
        if self._compiled.states.pop(self._number, None) is not None:
            self._send(compiler.CLOSE, (), answered=False)
            self.fail("The grammar's state is closed.")
            self._compiled.service.pump(0)  # a grammar may wait for this one's place

    def start(self, stop_token_ids: Sequence[int]) -> None:
        self._send(compiler.OPEN, stop_token_ids)

    def take(self, status: int, body: bytes) -> None:
        """An answer of the grammar process."""
        self._pending -= 1
        if status == compiler.MASK:
            self._mask[:] = np.frombuffer(body, np.int32)
        elif status == compiler.ENDED:
            self._ended = True
        else:
            self.fail(body.decode())

    def fail(self, reason: str) -> None:
        self._error = self._error or InvalidRequest(reason, "grammar")

    def _wait(self) -> None:
        begun = time.monotonic()
        while not self.ready:
            self._compiled.service.pump(0.1)
            self._compiled.lose_patience(begun)

    def _send(self, operation: int, tokens: Sequence[int], *, answered: bool = True) -> None:
        if answered:
            self._pending += 1
        request = compiler.REQUEST.pack(operation, self._number, len(tokens))
        self._compiled.send(request + struct.pack(f"={len(tokens)}i", *tokens))


class CompiledGrammar:
    """A grammar process, as the engine sees it."""

    def __init__(self, service: GrammarService, grammar: Grammar, attempt: int) -> None:
        self.service = service
        self.grammar = grammar
        self.attempt = attempt
        self.started = time.monotonic()
        self.states: dict[int, GrammarState] = {}
        self.closed = False
        self.socket, self._theirs = socket.socketpair()
        self.socket.setblocking(False)
        self._received = bytearray()
        self._heard = 0.0
        self._numbers = itertools.count()

    def launch(self, control: socket.socket) -> None:
        """Have the compiler process fork this grammar's process. Raises OSError when there is no such process."""
        with self._theirs, tempfile.TemporaryFile() as source:
            source.write(self.grammar.source.encode())
            source.flush()
            kind = bytes([compiler.KINDS.index(self.grammar.kind)])
            socket.send_fds(control, [kind], [self._theirs.fileno(), source.fileno()])

    def open(self, stop_token_ids: Sequence[int], words: int) -> GrammarState:
        number = next(self._numbers)
        state = self.states[number] = GrammarState(self, number, words)
        if self.closed:
            state.fail("The grammar's process has ended. Send the request again.")
        else:
            state.start(stop_token_ids)
        return state

    def send(self, data: bytes) -> None:
        """Where the socket is full, take the answers that its other end waits to get rid of."""
        begun = time.monotonic()
        while data and not self.closed:
            try:
                data = data[self.socket.send(data) :]
            except BlockingIOError:
                self.service.pump(0.01)
                self.lose_patience(begun)
            except OSError:
                self.close("The grammar's process does not answer")

    def lose_patience(self, begun: float) -> None:
        """Close when there was no answer to anybody for too long since a wait has begun."""
        if time.monotonic() - max(begun, self._heard) > _PATIENCE:
            self.close("The grammar takes too long to follow")

    def receive(self) -> tuple[list[tuple[int, int, bytes]], bool]:
        """The complete answers that have come, each (status, matcher, body), and whether the process has ended."""
        ended = False
        with contextlib.suppress(BlockingIOError):
            while chunk := self._receive_chunk():
                self._received += chunk
                self._heard = time.monotonic()
            ended = True
        answers: list[tuple[int, int, bytes]] = []
        while len(self._received) >= compiler.REPLY.size:
            status, number, size = compiler.REPLY.unpack_from(self._received)
            end = compiler.REPLY.size + size
            if len(self._received) < end:
                break
            answers.append((status, number, bytes(self._received[compiler.REPLY.size : end])))
            del self._received[:end]
        return answers, ended

    def _receive_chunk(self) -> bytes:
        try:
            return self.socket.recv(2**18)
        except ConnectionError:
            return b""

    def close(self, reason: str = "The grammar's process was ended") -> None:
        """End the process: it reads the end of its socket, or its timer expires."""
        if not self.closed:
            self.closed = True
            self.service.forget(self)
            self.socket.close()
            for state in self.states.values():
                state.fail(f"{reason}.")
