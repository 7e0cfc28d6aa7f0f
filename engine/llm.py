"""Offline batch generation: the scheduler in this process, without a server.

>>> from agenthost.engine import LLM, SamplingParams
>>> llm = LLM()  # the embedded model
>>> llm.generate("1 2 3 4", SamplingParams(max_tokens=4, temperature=0))[0].text  # doctest: +SKIP
"""

from __future__ import annotations

import itertools
import select
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import msgspec

from .config import EngineConfig
from .engine import build_engine
from .hub import resolve_model
from .loading import LoadingBars
from .protocol import EngineInfo
from .request import FinishReason, Request, SamplingParams, TokenLogprob, TokenOutput
from .scheduler.events import Failed, Produced
from .text import TextAssembler, TextOutput
from .tokenizer import Tokenizer

Prompt = str | Sequence[int]


@dataclass(frozen=True)
class Completion:
    """One output. ``stop_reason`` is the stop string or stop id that ended it, None for the model's own end."""

    text: str
    token_ids: list[int]
    finish_reason: FinishReason
    stop_reason: str | int | None
    logprobs: list[TokenLogprob] | None


@dataclass(frozen=True)
class Generation:
    """The outputs of one prompt. ``cached_tokens`` of its prompt were not computed again (for the first output)."""

    prompt_token_ids: list[int]
    completions: list[Completion]
    cached_tokens: int

    @property
    def text(self) -> str:
        """The first output's text."""
        return self.completions[0].text


class LLM:
    """A model that completes prompts in batches. Also a context manager; ``close`` ends its helper processes.

    Args:
        model: ``pocket`` (the embedded model), a Hugging Face folder, or a hub id.
        options: further fields of :class:`EngineConfig`, such as ``dtype`` or ``kv_tokens``. With
            ``tensor_parallel_size`` above 1 this process ends (exit status 70) when a rank's process does.

    Raises EngineError subclasses when the model cannot be loaded.
    """

    def __init__(self, model: str = "pocket", **options: object) -> None:
        config = msgspec.convert({"model": model, **options}, EngineConfig)
        with LoadingBars() as bars:
            engine = build_engine(config, bars, interactive=False)
        self._engine = engine
        self._close = weakref.finalize(self, engine.close)  # at the latest when this process ends
        self._grammars = engine.grammars
        self._scheduler = engine.scheduler
        self._ids = itertools.count()
        self.info: EngineInfo = engine.info
        self.tokenizer = Tokenizer.load(resolve_model(model))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._close()

    def settle(self) -> None:
        """Wait for kernels that are still being built aside, so that what follows runs at full speed."""
        self._engine.runner.settle()

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        n: int = 1,
        stop: Sequence[str] = (),
        on_token: Callable[[int], None] | None = None,
    ) -> list[Generation]:
        """Complete prompts, all together.

        Args:
            prompts: one prompt or several; each is text (see :meth:`Tokenizer.encode_prompt`) or token ids.
            sampling: for all prompts, or one for each.
            n: outputs of each prompt; a seed is varied by the output's number.
            stop: strings that end an output.
            on_token: called with the number of tokens that a step produced, for progress bars.

        Raises InvalidRequest or ContextOverflow for the first prompt that cannot be served; nothing else then runs on.
        """
        several = _several(prompts)
        each = list(sampling) if isinstance(sampling, Sequence) else [sampling or SamplingParams()] * len(several)
        if len(each) != len(several):
            raise ValueError(f"{len(several)} prompts, but {len(each)} sampling parameters")
        ids = [self.tokenizer.encode_prompt(prompt) if isinstance(prompt, str) else list(prompt) for prompt in several]
        outputs: dict[str, _Output] = {}
        requests: deque[Request] = deque()
        for prompt, params in zip(ids, each, strict=True):
            for number in range(n):
                request = Request(id=str(next(self._ids)), prompt=prompt, sampling=_numbered(params, number))
                text = TextAssembler(self.tokenizer, len(prompt), self.info.eos_token_ids, stop=stop)
                outputs[request.id] = _Output(text, at_once=bool(stop))
                requests.append(request)
        self._run(requests, outputs, on_token)
        done = list(outputs.values())
        groups = [done[start : start + n] for start in range(0, len(done), n)]
        return [
            Generation(prompt, [output.completion() for output in group], group[0].cached_tokens)
            for prompt, group in zip(ids, groups, strict=True)
        ]

    def _run(
        self, requests: deque[Request], outputs: dict[str, _Output], on_token: Callable[[int], None] | None
    ) -> None:
        left = set(outputs)
        try:
            while left:
                while requests and self._scheduler.has_room:
                    self._scheduler.submit(requests.popleft())
                if not self._scheduler.has_work:
                    select.select([self._grammars.fileno()], [], [], 0.5)
                produced = 0
                for event in self._scheduler.step():
                    if isinstance(event, Failed):
                        left.discard(event.id)
                        raise event.error
                    if isinstance(event, Produced) and event.id in left:
                        produced += len(event.output.token_ids)
                        if outputs[event.id].take(event.output):
                            left.discard(event.id)
                            self._scheduler.abort(event.id)
                if on_token and produced:
                    on_token(produced)
        finally:
            for request_id in left:
                self._scheduler.abort(request_id)


class _Output:
    """One output while it grows.

    ``at_once``: every token becomes text as it comes, since a stop string may end the output. Else that waits for the
    last one; until then nothing is kept but numbers, since many small objects set off full garbage collections.
    """

    def __init__(self, text: TextAssembler, *, at_once: bool) -> None:
        self.cached_tokens = 0
        self._text = text
        self._at_once = at_once
        self._token_ids: list[int] = []
        self._logprobs: list[TokenLogprob] = []
        self._pieces: list[TextOutput] = []

    def take(self, output: TokenOutput) -> bool:
        """Add tokens; True when the output has ended."""
        self.cached_tokens = output.cached_tokens
        if not self._at_once:
            self._token_ids += output.token_ids
            self._logprobs += output.logprobs or ()
            if output.finish_reason is None:
                return False
            output = msgspec.structs.replace(output, token_ids=self._token_ids, logprobs=self._logprobs or None)
        self._pieces.append(self._text.take(output))
        return self._pieces[-1].finish_reason is not None

    def completion(self) -> Completion:
        last = self._pieces[-1]
        assert last.finish_reason is not None
        return Completion(
            "".join(piece.text for piece in self._pieces),
            [token for piece in self._pieces for token in piece.token_ids],
            last.finish_reason,
            last.stop_reason,
            [logprob for piece in self._pieces for logprob in piece.logprobs or []] or None,
        )


def _several(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    if isinstance(prompts, str):
        return [prompts]
    whole: list[Prompt] = []
    ids: list[int] = []
    for prompt in prompts:
        if isinstance(prompt, int):
            ids.append(prompt)
        else:
            whole.append(prompt)
    return [ids] if ids else whole


def _numbered(params: SamplingParams, number: int) -> SamplingParams:
    """The parameters of a prompt's further outputs: a given seed must not give the same output again."""
    if number == 0 or params.seed is None:
        return params
    return msgspec.structs.replace(params, seed=(params.seed + number) % 2**63)
