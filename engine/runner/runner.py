"""Runs steps on a device: builds the model's inputs, calls it, samples, and hands tokens back to the host.

The newest token of every slot stays in a device buffer, so that a decode never waits for the host to learn it. A step
is launched (forward, then sample) and collected later; on CPU everything is already done when `forward` returns.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import numpy as np
import torch

from ..attention.base import AttentionBackend, StepLayout
from ..attention.paged import PagedAttention
from ..device import upload
from ..models.decoder import Decoder
from ..progress import Progress
from ..request import SamplingParams
from ..sampling.sampler import Draw, Sampled, Sampler, SamplingRows
from .graphs import StepGraphs
from .step import ON_DEVICE, Collected, Launched, Step
from .threads import StepThreads

log = logging.getLogger(__name__)

_SAMPLINGS = (SamplingParams(temperature=0), SamplingParams(), SamplingParams(top_p=0.9, logprobs=1))


class ModelRunner:
    """See the module. On a rank other than 0 it runs the steps of rank 0, which alone samples."""

    def __init__(self, model: Decoder, attention: AttentionBackend, slots: int, device: torch.device) -> None:
        self.group = model.group
        self._model = model
        self._attention = attention
        self._device = device
        self._graphs: StepGraphs | None = None
        self._sizes: tuple[Sequence[int], Sequence[int]] | None = None  # of the graphs
        self._threads = StepThreads(model.weights) if device.type == "cpu" else None
        self.sampler = Sampler(slots, model.config.vocab_size, device)
        self._newest = torch.zeros(slots + 1, dtype=torch.int64, device=device)  # the last one is the padding's

    def capture(self, decodes: Sequence[int], prompts: Sequence[int], progress: Progress | None = None) -> None:
        """Capture steps of these numbers of tokens as CUDA graphs: decodes, and others as far as they fit."""
        attention = self._attention
        assert isinstance(attention, PagedAttention)
        self._sizes = decodes, prompts
        most = attention.max_pages * attention.page_size if self.group.least(int(attention.captures_prompts)) else 0
        prompts = [tokens for tokens in prompts if tokens <= most]
        done, total = itertools.count(1), len(decodes) + len(prompts)

        def captured() -> None:
            if progress is not None:
                progress("graphs", next(done), total)

        self.close()  # a step may be under way that reads what old graphs hold
        torch.cuda.empty_cache()
        self._graphs = StepGraphs(
            self._model, attention, self.sampler, self._newest, decodes, prompts, captured
        )  # fmt: skip

    def settle(self) -> None:
        """Wait for what attention is still building aside, and let it serve."""
        self._attention.settle()
        self._renew()

    def _renew(self) -> None:
        if not self._attention.renew() or self._sizes is None:
            return
        try:
            self.capture(*self._sizes)
        except torch.OutOfMemoryError:
            log.warning("steps are launched without CUDA graphs from now on: there is no memory to capture them again.")

    def warm_up(self, progress: Progress | None = None) -> None:
        """Run steps of every kind once, on the page that is nobody's: no request shall wait for a compiler."""
        slots, longest = len(self._newest) - 1, len(self._model.rotary.cos)
        shapes = [
            [1] * min(decodes, slots) + [min(tokens, longest)] * bool(tokens)
            for decodes in (0, 1, 3, 16)
            for tokens in (0, 40, 1024)
        ][1:]
        for done, counts in enumerate(shapes, 1):
            rows = np.minimum(np.arange(len(counts)), slots - 1)
            lengths = np.array(counts)
            layout = StepLayout(rows * 0, lengths, np.zeros((len(counts), lengths.max() + 1), np.int32))
            step = Step(rows, layout, np.zeros(lengths.sum(), np.int64), rows, rows * 0)
            for params in _SAMPLINGS:
                for row in rows.tolist():
                    self.sampler.admit(row, params, 0, [], [0], 1)
                self.sample(Launched(step, self._eager(step)))
            if progress is not None:
                progress("kernels", done, len(shapes))
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def close(self) -> None:
        """Let steps under way come to their end, and let go of captured graphs."""
        if self._device.type == "cuda":
            with suppress(RuntimeError):  # the device is lost
                torch.cuda.synchronize()
        if self._graphs is not None:
            self._graphs.close()
            self._graphs = None

    @torch.inference_mode()
    def forward(self, step: Step) -> Launched:
        """Start a step: copies, then the model. The logits wait for :meth:`sample`."""
        self.group.lead(step)
        if step.copies:
            self._attention.copy_pages([c.source for c in step.copies], [c.target for c in step.copies])
        self._renew()
        if self._graphs is not None and self._graphs.fits(step):
            return self._graphs.run(step)
        return Launched(step, self._eager(step))

    def _eager(self, step: Step) -> torch.Tensor | None:
        """The logits of the sampling rows; None where there are none."""
        layout = step.layout
        ends = np.cumsum(layout.counts)
        arrays = [step.ids, step.slots[layout.rows], layout.positions, ends[step.sampling] - 1]
        ids, slots, positions, wanted = upload(arrays, self._device)
        self._attention.prepare(layout)
        with self._threads.of_step(len(ids)) if self._threads is not None else nullcontext():
            if not len(wanted):
                self._model.layered(self._known(ids, slots), positions, self._attention.forward)
                return None
            rows = wanted if len(wanted) < len(ids) else None
            return self._model(self._known(ids, slots), positions, rows, self._attention.forward)

    def _known(self, ids: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        if self._device.type == "cpu":
            return torch.where(ids == ON_DEVICE, self._newest[slots], ids)
        from ..kernels.sampling import newest_ids

        return newest_ids(ids, slots, self._newest)

    @torch.inference_mode()
    def sample(self, launched: Launched, allowed: torch.Tensor | None = None) -> None:
        """Choose the tokens of the sampling rows. ``allowed``: (rows, words) int32 grammar bitmask, or None."""
        step, logits, draw = launched.step, launched.logits, launched.draw
        launched.logits = launched.draw = None  # what is captured must not outlive close()
        if logits is None:
            return
        if self.group.shard.rank == 0:
            launched.sampled = self._sample(step, logits, allowed, draw)
            if self._device.type == "cuda":
                launched.done = torch.cuda.Event()
                launched.done.record()
        self.group.share(self._newest)

    def _sample(self, step: Step, logits: torch.Tensor, allowed: torch.Tensor | None, draw: Draw | None) -> Sampled:
        slots = step.slots[step.sampling]
        positions = (step.layout.depths + step.layout.counts)[step.sampling]
        rows = SamplingRows(slots, positions, step.produced, allowed)
        return self.sampler.sample(logits, rows, self._newest, draw)

    def collect(self, launched: Launched) -> Collected:
        """Wait for a step's tokens."""
        if launched.sampled is None:
            return Collected([], {})
        if launched.done is not None:
            launched.done.synchronize()
        sampled = launched.sampled
        return Collected(sampled.tokens.tolist(), sampled.logprobs.by_row() if sampled.logprobs is not None else {})
