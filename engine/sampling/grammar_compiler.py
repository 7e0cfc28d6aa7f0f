"""Where grammars are compiled and matched: ``python -m agenthost.engine.sampling.grammar_compiler``.

A grammar comes from a stranger, and xgrammar can be made to take minutes or gigabytes of it: to compile it, and to
match it too (an ambiguous rule costs the cube of the text's length, inside one call that nothing can interrupt). So
every grammar gets a process of its own, which compiles it, then answers which tokens may come next, under limits that
the kernel enforces: a timer and an address-space limit. What goes wrong in there ends that process and nothing else.

The processes are forked from this one, which has loaded xgrammar and the vocabulary and otherwise only waits for the
next grammar. It ends with the engine: its control socket closes.

Compiled grammars are never sent to the engine. xgrammar 0.2 serialises the whole automaton again for every rule: 25
tools, compiled in 30 ms, become 72 MB of JSON that takes 5 s to write and 1 s to read.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import msgspec

from ..garbage import freeze_loaded
from ..request import GrammarKind
from .grammar_schema import MAX_WHITESPACE, prepare_schema, prepare_structural_tag

if TYPE_CHECKING:
    import numpy as np
    import xgrammar

    from .grammar_vocabulary import Vocabulary

KINDS: tuple[GrammarKind, ...] = get_args(GrammarKind)
READY = b"R"

REQUEST = struct.Struct("=III")
"""Engine to grammar process: operation, matcher, number of int32 token ids that follow."""
OPEN, ACCEPT, CLOSE = range(3)

REPLY = struct.Struct("=III")
"""Grammar process to engine: status, matcher, number of bytes that follow (a bitmask row, or the reason in UTF-8)."""
COMPILED, REFUSED, MASK, ENDED, FAILED = range(5)

_COMPILE_NICENESS = 10
_STACK_BYTES = 64 * 2**20  # the parser recurses
_XGRAMMAR_PREFIX = re.compile(r"^(\[[\d:]+\] \S+\.(cc|h):\d+: )?(Check failed: \(.*?\) is false: )?")

log = logging.getLogger(__name__)


class CompilerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a grammar process knows and may use.

    Attributes:
        folder: holds tokenizer.json.
        vocab_size: width of the model's logits.
        compile_seconds: time by the clock for compiling one grammar.
        memory_bytes: address space that compiling and matching may add to the process.
        step_seconds: CPU time for one step of one matcher (accept, and the mask of what may follow).
        grace_seconds, token_seconds: CPU time of one matcher in all, plus so much for each token it accepted.
        threads: compile threads.
    """

    folder: str
    vocab_size: int
    compile_seconds: float = 5.0
    memory_bytes: int = 512 * 2**20
    step_seconds: float = 0.5
    grace_seconds: float = 0.5
    token_seconds: float = 0.002
    threads: int = 1


Launched = tuple["subprocess.Popen[bytes]", socket.socket]
"""A compiler process, and our end of its control socket."""


def launch(config: CompilerConfig) -> Launched:
    """Start the compiler process, which takes some seconds to load xgrammar. Importing this module loads little."""
    ours, theirs = socket.socketpair()
    package_path = "-P"  # the working directory is no place for modules
    command = [sys.executable, package_path, "-m", __name__, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            [*command, msgspec.json.encode(config).decode()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # A process that forks must have no threads, and NumPy would start some.
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
        )
    return process, ours


def serve(control: socket.socket, config: CompilerConfig) -> None:
    """Fork a grammar process for every pair of descriptors (its socket, its source) that comes; return at the end."""
    _load_xgrammar()
    from .grammar_vocabulary import load_vocabulary

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the engine, and this process ends with it
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps
    vocabulary = load_vocabulary(config.folder, config.vocab_size)
    freeze_loaded()
    control.sendall(READY)
    while True:
        kind, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not kind:
            return
        try:
            child = os.fork()
        except OSError as error:  # the engine sees its socket close
            log.error("no grammar process could be started: %s", error)
            child = -1
        if child == 0:
            try:
                control.close()
                _Process(socket.socket(fileno=descriptors[0]), descriptors[1], KINDS[kind[0]], vocabulary, config).run()
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


@dataclass
class _Matcher:
    """One sequence's place in the grammar; a mask of the tokens it may ever use; the CPU seconds it has left."""

    matcher: xgrammar.GrammarMatcher
    usable: np.ndarray
    seconds: float


class _Process:
    """One grammar: compiled, then matched for as long as the engine holds the other end of ``peer``."""

    def __init__(
        self, peer: socket.socket, source: int, kind: GrammarKind, vocabulary: Vocabulary, config: CompilerConfig
    ) -> None:
        import numpy as np

        self._peer = peer
        self._kind = kind
        self._config = config
        self._vocabulary = vocabulary
        with os.fdopen(source, "rb") as file:
            file.seek(0)
            self._source = file.read().decode()
        self._mask = np.zeros((1, -(-config.vocab_size // 32)), np.int32)
        self._matchers: dict[int, _Matcher] = {}

    def run(self) -> None:
        _confine(self._config)
        signal.setitimer(signal.ITIMER_REAL, self._config.compile_seconds)  # SIGALRM ends the process
        try:
            self._compiled = self._compile()
            self._require_a_beginning()
        except Exception as error:
            self._reply(REFUSED, 0, _reason(error).encode())
            return
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._reply(COMPILED, 0)
        while request := self._peer.recv(REQUEST.size, socket.MSG_WAITALL):
            operation, number, count = REQUEST.unpack(request)
            body = self._peer.recv(4 * count, socket.MSG_WAITALL) if count else b""
            signal.setitimer(signal.ITIMER_PROF, self._config.step_seconds)  # SIGPROF ends the process
            self._handle(operation, number, list(struct.unpack(f"={count}i", body)))
            signal.setitimer(signal.ITIMER_PROF, 0)

    def _handle(self, operation: int, number: int, tokens: list[int]) -> None:
        if operation == CLOSE:
            self._matchers.pop(number, None)
            return
        try:
            if operation == OPEN:
                self._matchers[number] = self._open(tokens)
                tokens = []
            status, body = self._advance(self._matchers[number], tokens)
        except Exception as error:
            status, body = FAILED, f"The grammar could not be followed: {_reason(error)}.".encode()
        self._reply(status, number, body)

    def _advance(self, here: _Matcher, tokens: list[int]) -> tuple[int, bytes]:
        """Accept ``tokens``, and find what may follow: a status and its body."""
        started = time.process_time()
        for token in tokens:
            if not here.matcher.accept_token(token):
                return FAILED, f"The grammar does not allow token {token} here.".encode()
        possible = not here.matcher.is_terminated() and self._fill(here)
        here.seconds += len(tokens) * self._config.token_seconds - (time.process_time() - started)
        if here.seconds < 0:
            return FAILED, b"The grammar takes too long to follow. Make it less ambiguous."
        if possible:
            return MASK, self._mask.tobytes()
        if here.matcher.is_completed():
            return ENDED, b""
        return FAILED, b"The grammar leads to a place where no token is allowed."

    def _open(self, stop_token_ids: Sequence[int]) -> _Matcher:
        import xgrammar

        if stop_token_ids:
            matcher = xgrammar.GrammarMatcher(self._compiled, override_stop_tokens=list(stop_token_ids))
        else:
            matcher = xgrammar.GrammarMatcher(self._compiled, terminate_without_stop_token=True)
        return _Matcher(matcher, self._usable(stop_token_ids), self._config.grace_seconds)

    def _usable(self, stop_token_ids: Sequence[int]) -> np.ndarray:
        """No special token, whose text xgrammar takes for ordinary text, that the source does not name.

        Structural tags have free text, where a model may need any of them.
        """
        import numpy as np

        usable = self._vocabulary.spelled.copy()
        if self._kind != "structural_tag":
            for token, text in self._vocabulary.special.items():
                if text not in self._source and token not in stop_token_ids:
                    usable.view(np.uint32)[token // 32] &= ~np.uint32(1 << token % 32)
        return usable

    def _fill(self, here: _Matcher) -> bool:
        """Put what may come next into the mask. False if that is nothing."""
        if not here.matcher.fill_next_token_bitmask(self._mask):
            self._mask.fill(-1)
        self._mask &= here.usable
        return bool(self._mask.any())

    def _require_a_beginning(self) -> None:
        here = self._open(self._vocabulary.stop_token_ids)
        if not self._fill(here) and not here.matcher.is_completed():
            raise ValueError("it matches no text at all")

    def _compile(self) -> xgrammar.CompiledGrammar:
        """Compile in a thread of low priority; answering for compiled grammars, which a step waits for, has none."""
        done: list[xgrammar.CompiledGrammar | Exception] = []

        def work() -> None:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _COMPILE_NICENESS)
            try:
                done.append(self._compile_here())
            except Exception as error:
                done.append(error)

        threading.stack_size(_STACK_BYTES)
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        if isinstance(done[0], Exception):
            raise done[0]
        return done[0]

    def _compile_here(self) -> xgrammar.CompiledGrammar:
        import xgrammar

        compiler = xgrammar.GrammarCompiler(
            self._vocabulary.info, max_threads=self._config.threads, cache_enabled=False
        )
        match self._kind:
            case "json_schema":
                return compiler.compile_json_schema(
                    prepare_schema(self._source, _escapes), max_whitespace_cnt=MAX_WHITESPACE
                )
            case "structural_tag":
                return compiler.compile_structural_tag(prepare_structural_tag(self._source, _escapes))
            case "regex":
                return compiler.compile_regex(self._source)
            case _:
                return compiler.compile_grammar(self._source)

    def _reply(self, status: int, number: int, body: bytes = b"") -> None:
        self._peer.sendall(REPLY.pack(status, number, len(body)) + body)


def _escapes(pattern: str) -> bool:
    """Whether xgrammar would write texts of a regular expression that a JSON string has to escape.

    It keeps to the other texts where there are any, which shows in the grammar. Beyond ASCII it looks for none, so
    expressions must have nothing that could stand for a quote, a backslash or a control character.
    """
    import xgrammar

    if not pattern.isascii():
        pattern = re.sub(r"\\[dw]", "", pattern)
        ranges = re.findall("(.)-(.)", pattern, re.DOTALL)
        risky = re.search(r'["\\.\x00-\x1f]|\[\^', pattern)
        return risky is not None or any(low <= mark <= high for low, high in ranges for mark in '"\\')
    schema = json.dumps({"type": "string", "pattern": pattern})
    return "json_string=true" not in str(xgrammar.Grammar.from_json_schema(schema))


class _Nothing:
    """A class of a module that is left out."""

    def __init__(self, *_: object, **__: object) -> None: ...


class _StandIn(types.ModuleType):
    """A module all of whose names are classes of nothing."""

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (_Nothing,), {})


def _load_xgrammar() -> None:
    """Without torch and transformers, which take seconds: it imports them for objects that never get here.

    Masks are NumPy's. tvm_ffi, which carries its calls, does without torch where there is none.
    """
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType] (an import of it fails)
    import tvm_ffi  # noqa: F401  # pyright: ignore[reportUnusedImport]

    for name in ("torch", "transformers"):
        sys.modules[name] = _StandIn(name)
    import xgrammar  # noqa: F401  # pyright: ignore[reportUnusedImport]


def _confine(config: CompilerConfig) -> None:
    """Limits of this process, for good; and no word on the engine's terminal about a stranger's grammar."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # the first to go when memory is short
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(OSError, ValueError):  # some systems have no such limit
        limit = _address_space() + config.memory_bytes
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    silence = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(silence, descriptor)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _reason(error: Exception) -> str:
    """What xgrammar says, without the place in its sources where it says it."""
    text = str(error).strip()
    if isinstance(error, MemoryError) or "bad_alloc" in text:
        return "it needs too much memory"
    previous = None
    while previous != text:
        previous, text = text, _XGRAMMAR_PREFIX.sub("", text, count=1).strip()
    return text[:300].rstrip(".") or type(error).__name__


def main(arguments: list[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s grammar %(levelname)s %(message)s")
    with contextlib.suppress(ConnectionError):  # the engine is gone
        serve(socket.socket(fileno=int(arguments[0])), msgspec.json.decode(arguments[1], type=CompilerConfig))


if __name__ == "__main__":
    main(sys.argv[1:])
