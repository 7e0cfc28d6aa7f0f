"""A grammar service over a small byte-level tokenizer, and writing under its masks as a careless model would."""

from __future__ import annotations

import json
import random
import select
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from agenthost.engine.errors import EngineError
from agenthost.engine.request import Grammar
from agenthost.engine.sampling.grammar import GrammarService
from agenthost.engine.sampling.grammar_compiler import CompilerConfig
from agenthost.engine.sampling.grammar_process import CompiledGrammar
from agenthost.engine.tokenizer import Tokenizer

PADDING = 37  # ids that the model has and the tokenizer has not
WAIT = 60.0  # seconds; only a service that hangs uses them up


class Grammars:
    """A service, the tokenizer it reads, and short ways to use both."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = Tokenizer.load(folder)
        self.vocab_size = self.tokenizer.vocab_size + PADDING
        self.stops = self.tokenizer.eos_token_ids
        self.service = GrammarService(CompilerConfig(folder=str(folder), vocab_size=self.vocab_size))

    def results(self, *grammars: Grammar) -> dict[Grammar, CompiledGrammar | EngineError]:
        """Submit, and wait until the service has spoken of each."""
        for grammar in grammars:
            self.service.submit(grammar)
        told: dict[Grammar, CompiledGrammar | EngineError] = {}
        while len(told) < len(set(grammars)):
            readable, _, _ = select.select([self.service.fileno()], [], [], WAIT)
            assert readable, f"the service is silent about {set(grammars) - told.keys()}"
            told.update(self.service.poll())
        return told

    def result(self, grammar: Grammar) -> CompiledGrammar | EngineError:
        return self.results(grammar)[grammar]

    def compiled(self, grammar: Grammar) -> CompiledGrammar:
        outcome = self.result(grammar)
        assert isinstance(outcome, CompiledGrammar), outcome
        return outcome

    def writer(self, grammar: Grammar, stops: Sequence[int] | None = None) -> Writer:
        return Writer(self, grammar, self.stops if stops is None else stops)

    def accepts(self, grammar: Grammar, text: str) -> bool:
        writer = self.writer(grammar)
        try:
            return writer.accepts(text)
        finally:
            writer.close()

    @staticmethod
    def schema(**keywords: Any) -> Grammar:
        return Grammar("json_schema", json.dumps(keywords))

    @staticmethod
    def tag(format: dict[str, Any]) -> Grammar:
        return Grammar("structural_tag", json.dumps({"type": "structural_tag", "format": format}))


class Writer:
    """Writes one sequence under a grammar."""

    def __init__(self, grammars: Grammars, grammar: Grammar, stops: Sequence[int]) -> None:
        self._tokenizer = grammars.tokenizer
        self._stops = set(stops)
        self.state = grammars.service.state(grammars.compiled(grammar), stops)
        self._bitmask = grammars.service.bitmask(1)
        self.tokens: list[int] = []

    def allowed(self) -> set[int]:
        self.state.fill(self._bitmask, 0)
        bits = np.unpackbits(self._bitmask.numpy().view(np.uint8), bitorder="little")
        return set(np.flatnonzero(bits).tolist())

    def push(self, token: int) -> None:
        self.tokens.append(token)
        self.state.accept(token)

    def accepts(self, text: str) -> bool:
        """Write ``text``; whether each token was allowed and the output may end behind the last."""
        for token in self._tokenizer.encode(text):
            if token not in self.allowed():
                return False
            self.push(token)
        return bool(self._stops & self.allowed())

    def scribble(self, rng: random.Random, most: int, lures: Sequence[str] = ()) -> str | None:
        """Random allowed tokens until a stop id; the text, or None after ``most`` tokens without one.

        ``lures`` are begun now and then, as far as the mask allows: chance alone would hardly ever find them.
        """
        while len(self.tokens) < most:
            allowed = self.allowed()
            if self._stops & allowed and (rng.random() < 0.2 or allowed <= self._stops):
                return self.text
            if lures and rng.random() < 0.2:
                for token in self._tokenizer.encode(rng.choice(lures)):
                    if token not in self.allowed():
                        break
                    self.push(token)
                continue
            # What closes something comes first, or a random text would hardly ever end.
            closing = [token for token in allowed if self._tokenizer.token_bytes(token) in (b'"', b"}", b"]", b",")]
            choice = closing if closing and rng.random() < 0.5 else sorted(allowed - self._stops)
            self.push(rng.choice(choice))
        return None

    @property
    def text(self) -> str:
        return self._tokenizer.decode(self.tokens, skip_special_tokens=False)

    def close(self) -> None:
        self.state.close()


@pytest.fixture(scope="session")
def grammars(byte_level_folder: Path) -> Iterator[Grammars]:
    """Shared by all tests that leave it working, which is a test by itself."""
    harness = Grammars(byte_level_folder)
    yield harness
    harness.service.close()


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> random.Random:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed} of {request.node.name}")
    return random.Random(seed)
