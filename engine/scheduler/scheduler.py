"""Continuous batching: requests in, events out, one step at a time.

A step is planned, launched, and collected; with overlap it is collected only after the next one is launched, so that
the host works while the device computes. Lengths advance at launch, tokens become known when the step is collected,
and what a finished sequence holds returns when no launched step names it any more.
"""

from __future__ import annotations

import itertools
import logging
import math
import random
import time
from typing import TYPE_CHECKING

import torch

from ..cache.kv import KVCache
from ..cache.radix import encode_key
from ..errors import DeadlineExceeded, EngineError, InvalidRequest, Overloaded
from ..request import FinishReason, Request, TokenLogprob, TokenOutput
from ..runner.runner import Launched, ModelRunner
from .budget import Budget
from .events import Accepted, Event, Failed, Load, Produced
from .limits import Limits
from .planner import Plan, Planner
from .policy import Policy, first_come
from .sequence import Phase, Sequence

if TYPE_CHECKING:
    from ..sampling.grammar import GrammarService

log = logging.getLogger(__name__)


class Scheduler:
    """See the module. One thread calls everything.

    Args:
        overlap: collect each step only after the next one is launched.
        grammars: compiles grammars; without it requests that have one are refused.
        seed: makes the seeds of requests without one repeatable.
        debug: check all invariants after every step.
    """

    def __init__(
        self,
        runner: ModelRunner,
        cache: KVCache,
        limits: Limits,
        budget: Budget,
        *,
        overlap: bool = False,
        grammars: GrammarService | None = None,
        policy: Policy = first_come,
        seed: int | None = None,
        debug: bool = False,
    ) -> None:
        self.planner = Planner(cache, budget, policy, limits.max_running, limits.max_model_len)
        self.counters = self.planner.counters
        self._runner = runner
        self._limits = limits
        self._overlap = overlap
        self._grammars = grammars
        self._seeds = random.Random(seed)
        self._debug = debug
        self._arrivals = itertools.count()
        self._alive: dict[str, Sequence] = {}  # every sequence that may still produce
        self._deadlines: dict[Sequence, float] = {}  # of those that have one
        self._compiling: list[Sequence] = []
        self._pending: tuple[Launched, list[Sequence], Plan] | None = None
        self._events: list[Event] = []

    # -- requests -------------------------------------------------------------------------------------------------

    @property
    def has_work(self) -> bool:
        """Whether a step would do more than wait for grammars."""
        return bool(self.planner.waiting or self.planner.running or self._pending or self._events)

    @property
    def is_compiling(self) -> bool:
        """Whether requests wait for their grammars, which may end by a time limit rather than by an answer."""
        return bool(self._compiling)

    @property
    def num_waiting(self) -> int:
        return len(self.planner.waiting) + len(self._compiling)

    @property
    def load(self) -> Load:
        cache = self.planner.cache
        return Load(
            len(self.planner.running), self.num_waiting, cache.num_pages, cache.num_pages - cache.num_available,
            cache.num_cached, self.counters.retractions,
        )  # fmt: skip

    @property
    def has_room(self) -> bool:
        """Whether another request may wait."""
        return self.num_waiting < self._limits.max_waiting

    def submit(self, request: Request) -> None:
        """Take a request. What becomes of it, a refusal too, is among the events of the next steps."""
        try:
            sequence = self._checked(request)
        except EngineError as error:
            self._events.append(Failed(request.id, error))
            return
        except Exception:
            log.exception("request %s could not be checked", request.id)
            self._events.append(Failed(request.id, InvalidRequest("the request holds a value that cannot be used.")))
            return
        self._alive[request.id] = sequence
        if request.deadline is not None:
            self._deadlines[sequence] = request.deadline
        if self._grammars is not None and request.sampling.grammar is not None:
            sequence.phase = Phase.COMPILING
            self._compiling.append(sequence)
            self._grammars.submit(request.sampling.grammar)
        else:
            self._enqueue(sequence)

    def _checked(self, request: Request) -> Sequence:
        if request.id in self._alive:
            raise InvalidRequest(f"request id {request.id!r} is in use.", "id")
        prompt = self._limits.prompt_ids(request)
        limit = self._limits.output_limit(request)
        if request.sampling.grammar is not None and self._grammars is None:
            raise InvalidRequest("this engine runs without grammars.", "grammar")
        if not self.has_room:
            raise Overloaded(f"{self.num_waiting} requests are waiting already. Try again later.")
        seed = request.sampling.seed if request.sampling.seed is not None else self._seeds.getrandbits(64)
        return Sequence(request, encode_key(prompt), next(self._arrivals), limit, self._limits.ends(request), seed)

    def _enqueue(self, sequence: Sequence) -> None:
        self.counters.requests += 1
        self.planner.enqueue(sequence)
        self._events.append(Accepted(sequence.request.id))

    def abort(self, request_id: str) -> None:
        """End a request without another word. Unknown ids, and repeated calls, mean nothing."""
        sequence = self._alive.get(request_id)
        if sequence is not None:
            self._end(sequence)

    def _poll_grammars(self) -> None:
        if self._grammars is None:
            return
        for grammar, compiled in self._grammars.poll():
            for sequence in [s for s in self._compiling if s.request.sampling.grammar == grammar]:
                if isinstance(compiled, EngineError):
                    self._fail(sequence, compiled)
                else:
                    self._compiling.remove(sequence)
                    sequence.grammar = self._grammars.state(compiled, sorted(sequence.ends))
                    self._enqueue(sequence)

    def _expire(self) -> None:
        now = time.time()
        for sequence, deadline in list(self._deadlines.items()):
            if deadline < now:
                self._fail(sequence, DeadlineExceeded("the request's deadline passed before it ended."))

    # -- the step -------------------------------------------------------------------------------------------------

    def step(self) -> list[Event]:
        """Plan and launch a step if there is work, collect one if one is due; what happened since the last call."""
        self._poll_grammars()
        self._expire()
        if self._pending and self.planner.short_of_pages() > 0:
            self._collect_pending()
        plan = self.planner.plan()
        try:
            self._launch(plan) if plan.rows else self._collect_pending()
        except torch.AcceleratorError:  # the device's state is lost, which a new process only can mend
            raise
        except Exception as error:
            if self._runner.group.shard.size > 1:  # the ranks may have done different parts of the step
                raise
            log.exception("a step failed; its requests run again, one at a time")
            self._recover(plan, error)
        if self._debug:
            self.planner.check()
        events, self._events = self._events, []
        return events

    def _launch(self, plan: Plan) -> None:
        for sequence in plan.admitted:
            self._admit(sequence)
        launched = self._runner.forward(self.planner.build(plan))
        sampling = self.planner.advance(plan)
        self.counters.steps += 1
        if self._overlap and not plan.constrained:
            self._runner.sample(launched)
            self._collect_pending()
        else:  # grammars must have seen the last tokens before they tell what is allowed next
            self._collect_pending()
            self._runner.sample(launched, self._allowed(sampling))
        self._pending = (launched, sampling, plan)
        if not self._overlap:
            self._collect_pending()

    def _admit(self, sequence: Sequence) -> None:
        if not sequence.admitted:  # not when it comes back after a retraction
            sequence.admitted = True
            sequence.cached_tokens = sequence.computed
            self.counters.prompt_tokens += sequence.prompt_length
            self.counters.cached_tokens += sequence.computed
        self._runner.sampler.admit(
            sequence.slot, sequence.request.sampling, sequence.seed, sorted(sequence.ends),
            sequence.tokens, sequence.prompt_length,
        )  # fmt: skip

    def _allowed(self, sampling: list[Sequence]) -> torch.Tensor | None:
        """The grammars' bitmask for the sampling rows (rows, words) int32; None if none has a grammar."""
        if self._grammars is None or all(sequence.grammar is None for sequence in sampling):
            return None
        mask = self._grammars.bitmask(len(sampling))
        for row, sequence in enumerate(sampling):
            if sequence.grammar is None or sequence.phase is not Phase.RUNNING:
                continue
            if sequence.grammar.is_terminated:  # complete, and the request has no id to say so
                done = TokenOutput(token_ids=[], finish_reason="stop", cached_tokens=sequence.cached_tokens)
                self._events.append(Produced(sequence.request.id, done))
                self._end(sequence)
                continue
            try:
                sequence.grammar.fill(mask, row)
            except InvalidRequest as error:
                self._fail(sequence, error)
        return mask

    def _collect_pending(self) -> None:
        """Learn the tokens of the launched step, and let go of what it kept alive."""
        if self._pending is None:
            return
        launched, sampling, plan = self._pending
        self._pending = None
        collected = self._runner.collect(launched)
        for index, sequence in enumerate(sampling):
            if sequence.phase is Phase.RUNNING:
                self._take(sequence, collected.tokens[index], collected.logprobs.get(index))
        for sequence, _ in plan.rows:
            sequence.in_flight -= 1
            if sequence.computed >= self.planner.suspects.get(sequence, math.inf):
                del self.planner.suspects[sequence]
            if sequence.phase is Phase.FINISHED and sequence.in_flight == 0:
                self.planner.release(sequence)

    def _take(self, sequence: Sequence, token: int, logprob: TokenLogprob | None) -> None:
        """Add a token to its sequence, tell it, and see whether it was the last."""
        sequence.tokens.append(token)
        self.counters.generated_tokens += 1
        if sequence.grammar is not None and token not in sequence.ends:
            sequence.grammar.accept(token)
        finish: FinishReason | None = None
        constrained = sequence.grammar is not None  # nothing may follow an end that the grammar allowed
        if token in sequence.ends and (constrained or sequence.produced > sequence.request.sampling.min_tokens):
            finish = "stop"
        elif sequence.produced >= sequence.limit:
            finish = "length"
        output = TokenOutput(
            token_ids=[token],
            logprobs=[logprob] if logprob is not None else None,
            finish_reason=finish,
            stop_token=token if finish == "stop" else None,
            cached_tokens=sequence.cached_tokens,
        )
        self._events.append(Produced(sequence.request.id, output))
        if finish is not None:
            self._end(sequence)

    # -- ends -----------------------------------------------------------------------------------------------------

    def _end(self, sequence: Sequence) -> None:
        del self._alive[sequence.request.id]
        self._deadlines.pop(sequence, None)
        self.planner.suspects.pop(sequence, None)
        phase, sequence.phase = sequence.phase, Phase.FINISHED
        if sequence.grammar is not None:
            sequence.grammar.close()
        if phase is Phase.COMPILING:
            self._compiling.remove(sequence)
        elif phase is Phase.WAITING:
            self.planner.waiting.remove(sequence)
        elif sequence.in_flight == 0:
            self.planner.release(sequence)

    def _fail(self, sequence: Sequence, error: EngineError) -> None:
        self._events.append(Failed(sequence.request.id, error))
        self._end(sequence)

    def _recover(self, plan: Plan, error: Exception) -> None:
        """A step failed. A sequence that was alone in it ends; otherwise each runs again, alone until past the step.

        Nothing that the step may have half written stays in the cache.
        """
        rows = plan.rows + (self._pending[2].rows if self._pending else [])
        past = {row.sequence: row.sequence.computed + row.tokens for row in rows}
        self._pending = None
        for sequence in list(self.planner.running):
            sequence.in_flight = 0
            if sequence.phase is Phase.FINISHED:
                self.planner.release(sequence, keep=False)
            elif list(past) == [sequence]:
                self.planner.retract(sequence, keep=False)
                self._fail(sequence, EngineError(f"the engine failed on this request ({type(error).__name__})."))
            else:
                self.planner.retract(sequence, keep=False)
                if sequence in past:
                    self.planner.suspects[sequence] = max(self.planner.suspects.get(sequence, 0), past[sequence])
        self.planner.cache.clear()
