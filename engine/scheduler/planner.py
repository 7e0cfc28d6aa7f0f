"""Who runs next: the queue, the running sequences, their slots and pages, and the rows of each step.

A step takes one token of every decoding sequence and fills the rest of its budget with parts of prompts. Admission
asks for the pages of the prompt only, not for the output to come; when pages run out, the last sequence in the
policy's order is retracted: its KV stays in the radix tree, and it resumes from there.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from ..attention.base import StepLayout
from ..cache.kv import Copy, KVCache
from ..runner.step import ON_DEVICE, Step
from .budget import Budget
from .events import Counters
from .policy import Policy
from .sequence import Phase, Sequence

_LOOKAHEAD = 64  # waiting sequences that a step considers


class Row(NamedTuple):
    """A sequence's share of a step: its next ``tokens`` tokens."""

    sequence: Sequence
    tokens: int


@dataclass
class Plan:
    """The rows of a step, those with one token first, and the sequences that just got a slot."""

    rows: list[Row] = field(default_factory=list)
    copies: list[Copy] = field(default_factory=list)
    admitted: list[Sequence] = field(default_factory=list)

    @property
    def constrained(self) -> bool:
        """Whether a row that samples has a grammar."""
        return any(row.sequence.grammar is not None for row in self.rows)


class Planner:
    """Owns every sequence between acceptance and its end, and the cache.

    Attributes:
        waiting: in the policy's order.
        running: in order of admission; finished ones stay until they drain.
        suspects: because of whom a step may have failed, and up to how many computed tokens they run alone.
    """

    def __init__(self, cache: KVCache, budget: Budget, policy: Policy, slots: int, max_tokens: int) -> None:
        self.cache = cache
        self.counters = Counters()
        self.waiting: list[Sequence] = []
        self.running: list[Sequence] = []
        self.suspects: dict[Sequence, int] = {}
        self._budget = budget
        self._policy = policy
        self._slots = list(range(slots - 1, -1, -1))
        self._table = np.zeros((slots, cache.pages_for(max_tokens + 1)), np.int32)

    # -- in and out -----------------------------------------------------------------------------------------------

    def enqueue(self, sequence: Sequence) -> None:
        sequence.phase = Phase.WAITING
        insort(self.waiting, sequence, key=self._policy)

    def release(self, sequence: Sequence, keep: bool = True) -> None:
        """Take back slot and pages of a sequence that no launched step names. ``keep``: its KV is good, share it."""
        assert sequence.in_flight == 0
        assert sequence.lease is not None
        if keep:
            self.cache.close(sequence.lease, sequence.key_of(sequence.computed))
        else:
            self.cache.drop(sequence.lease)
        self.running.remove(sequence)
        self._slots.append(sequence.slot)
        sequence.lease, sequence.slot, sequence.computed = None, -1, 0

    def retract(self, sequence: Sequence, keep: bool = True) -> None:
        """Back to the queue, to resume later."""
        self.release(sequence, keep)
        self.counters.retractions += 1
        self.enqueue(sequence)

    # -- the plan -------------------------------------------------------------------------------------------------

    def short_of_pages(self) -> int:
        """How many pages the next decodes lack; 0 or less if none."""
        if self.cache.num_available >= len(self.running):  # a decode takes one page at most
            return 0
        full = [s for s in self.running if s.decoding and self.cache.pages_for(s.computed + 1) > len(s.pages)]
        return len(full) - self.cache.num_available

    def plan(self) -> Plan:
        """The next step. No sequence may be in flight while pages are short (collect first)."""
        plan = Plan()
        retracted = self._retract_until_decodes_fit()
        chunks: list[Row] = []
        running = [s for s in self.running if s.phase is Phase.RUNNING]
        suspects = [s for s in running if s in self.suspects][:1]
        if suspects:
            running = suspects
        elif not retracted:
            waiting = sorted((s for s in self.suspects if s.phase is Phase.WAITING), key=self._policy)
            suspects = self._admit(plan, chunks, self._budget.idle, waiting[:1])
            running = [] if suspects else running
        decodes = [s for s in running if s.decoding]
        decodes.sort(key=attrgetter("computed"), reverse=True)  # those that read most start first
        work = self._budget.cost_of_decodes(len(decodes), sum(s.computed for s in decodes))
        left = max(self._budget.busy - work, 0.0) if decodes else self._budget.idle
        for sequence in running:
            if sequence.prefilling:
                left -= self._add_chunk(chunks, sequence, left)
        if not retracted and not suspects:
            self._admit(plan, chunks, left, self.waiting[:_LOOKAHEAD])
        for sequence in decodes:
            have = len(sequence.pages)
            if sequence.computed == have * self.cache.page_size:
                assert sequence.lease is not None
                self.cache.grow(sequence.lease, sequence.computed + 1)
                self._table[sequence.slot, have] = sequence.lease.pages[have]
        chunks.sort(key=lambda row: row.tokens > 1)
        plan.rows = [Row(sequence, 1) for sequence in decodes] + chunks
        return plan

    def _retract_until_decodes_fit(self) -> bool:
        """Every decode needs at most one page; the last in the policy's order give theirs up until all others fit."""
        retracted = False
        while self.short_of_pages() > 0:
            idle = [s for s in self.running if s.phase is Phase.RUNNING and s.in_flight == 0]
            self.retract(max(idle, key=self._policy))
            retracted = True
        return retracted

    def _add_chunk(self, chunks: list[Row], sequence: Sequence, left: float) -> float:
        """Plan the next part of a prompt within the work left; returns its work. The first always gets on a little."""
        affordable = max(self._budget.tokens(left, sequence.computed), 0 if chunks else self._budget.least)
        tokens = min(affordable, sequence.target - sequence.computed)
        if tokens <= 0:
            return 0.0
        chunks.append(Row(sequence, tokens))
        return self._budget.cost(tokens, sequence.computed)

    def _admit(self, plan: Plan, chunks: list[Row], left: float, candidates: list[Sequence]) -> list[Sequence]:
        """Let waiting sequences in, in order, as slots, pages and work allow; returns those admitted so far.

        One that shares its next page with a prompt being computed waits a step for it instead of computing it too.
        """
        for sequence in candidates:
            if not self._slots:
                break
            sequence.prepare()
            match = self.cache.match(sequence.request.cache_salt, sequence.key_of(sequence.target - 1))
            if self._computed_by_another(sequence, len(match.pages)):
                continue
            if chunks and self._budget.tokens(left, self.cache.matched_tokens(match)) < 1:
                break
            opened = self.cache.open(match, sequence.target, headroom=len(self.running))
            if opened is None and match.partial is not None:  # the page to copy from may stand in the way itself
                match = replace(match, partial=None, partial_tokens=0)
                opened = self.cache.open(match, sequence.target, headroom=len(self.running))
            if opened is None:
                break
            sequence.lease, copy = opened
            if copy is not None:
                plan.copies.append(copy)
            sequence.phase = Phase.RUNNING
            sequence.computed = self.cache.matched_tokens(match)
            sequence.sampled = sequence.produced
            sequence.slot = self._slots.pop()
            self._table[sequence.slot, : len(sequence.lease.pages)] = sequence.lease.pages
            self.waiting.remove(sequence)
            self.running.append(sequence)
            plan.admitted.append(sequence)
            left -= self._add_chunk(chunks, sequence, left)
        return plan.admitted

    def _computed_by_another(self, sequence: Sequence, matched_pages: int) -> bool:
        """Whether a running prompt is about to compute the page after the match."""
        end = (matched_pages + 1) * self.cache.page_size
        if not self.cache.share or end > sequence.target - 1:
            return False
        key, salt = sequence.key_of(end), sequence.request.cache_salt
        return any(
            other.prefilling and other.computed < end and other.key_of(end) == key and other.request.cache_salt == salt
            for other in self.running
            if other.phase is Phase.RUNNING
        )

    # -- the step -------------------------------------------------------------------------------------------------

    def build(self, plan: Plan) -> Step:
        """The plan as the runner takes it."""
        sequences = [row.sequence for row in plan.rows]
        slots = np.array([s.slot for s in sequences])
        depths = np.array([s.computed for s in sequences])
        counts = np.array([row.tokens for row in plan.rows])
        ids: list[int] = []
        sampling: list[int] = []
        for index, (sequence, tokens) in enumerate(plan.rows):
            end = sequence.computed + tokens
            if sequence.prefilling:
                ids += sequence.tokens[sequence.computed : end]
            else:
                ids.append(ON_DEVICE)
            if end >= sequence.target:
                sampling.append(index)
        width = self.cache.pages_for(int((depths + counts).max()))
        produced = np.array([sequences[index].sampled for index in sampling], np.int64)
        layout = StepLayout(depths, counts, self._table[slots, :width])
        return Step(slots, layout, np.array(ids), np.array(sampling, np.int64), produced, plan.copies)

    def advance(self, plan: Plan) -> list[Sequence]:
        """The step is launched: lengths grow, prompts become shareable. Returns the sequences that sample, in order."""
        sampling: list[Sequence] = []
        for sequence, tokens in plan.rows:
            prefilling = sequence.prefilling
            sequence.computed += tokens
            sequence.in_flight += 1
            if not sequence.prefilling:
                sequence.sampled += 1
                sampling.append(sequence)
            if prefilling:
                assert sequence.lease is not None
                if self.cache.commit(sequence.lease, sequence.key_of(sequence.computed)):
                    self._table[sequence.slot, : len(sequence.lease.pages)] = sequence.lease.pages
        return sampling

    def check(self) -> None:
        """Raise AssertionError when pages or slots do not add up."""
        leases = [s.lease for s in self.running if s.lease is not None]
        assert len(leases) == len(self.running)
        self.cache.check(leases)
        assert sorted([*self._slots, *(s.slot for s in self.running)]) == list(range(len(self._table)))
        for sequence in self.running:
            assert sequence.lease is not None
            pages = sequence.lease.pages
            assert self._table[sequence.slot, : len(pages)].tolist() == pages, "a page table row is stale"
