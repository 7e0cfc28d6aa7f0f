"""Metrics for Prometheus: our own names, and those of vLLM and SGLang that dashboards are made for.

The front measures what it sees: a request waits until its first token and runs from then on. Each thing is measured
once, and told under every name that it has. Times are seconds.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ...engine import AsyncEngine, Request, TokenOutput
from ..chat.transcript import Transcript
from ..hands import Hands
from .calls import EXTERNAL, ToolCall

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_BETWEEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28)
_PEERS = ("vllm", "sglang")


@dataclass
class Times:
    """A histogram of seconds."""

    buckets: Sequence[float] = _LATENCY
    counts: list[int] = field(default_factory=list)
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.buckets) + 1)

    def add(self, seconds: float, times: int = 1) -> None:
        self.counts[bisect_left(self.buckets, seconds)] += times
        self.total += seconds * times

    def family(self, family: HistogramMetricFamily, labels: Sequence[str]) -> None:
        ends = [*map(str, self.buckets), "+Inf"]
        family.add_metric(labels, list(zip(ends, accumulate(self.counts), strict=True)), self.total)


class _Alive:
    """Measures one request, see :class:`engine.streams.Watch`."""

    def __init__(self, metrics: Metrics, prompt: int) -> None:
        self._metrics = metrics
        self._prompt = prompt
        self._submitted = time.monotonic()
        self.last: float | None = None

    def produced(self, output: TokenOutput) -> None:
        metrics, now, new = self._metrics, time.monotonic(), len(output.token_ids)
        if self.last is None:
            metrics.first.add(now - self._submitted)
            metrics.prompt_tokens += self._prompt
            metrics.cached_tokens += output.cached_tokens
        elif new:
            metrics.between.add((now - self.last) / new, new)
        self.last = now
        metrics.generated_tokens += new
        if output.finish_reason is not None:
            metrics.whole.add(now - self._submitted)

    def ended(self) -> None:
        self._metrics.alive.discard(self)


class Metrics(Collector):
    """One server's. It watches the engine's requests, see :class:`engine.streams.Watcher`.

    Args:
        model: the label that peers' metrics carry.
    """

    def __init__(self, model: str, engine: AsyncEngine, transcript: Transcript, hands: Hands) -> None:
        self._model = model
        self._engine = engine
        self._transcript = transcript
        self._hands = hands
        self.alive: set[_Alive] = set()
        self.prompt_tokens = self.cached_tokens = self.generated_tokens = 0
        self.first, self.between, self.whole = Times(), Times(_BETWEEN), Times()
        self._requests: Counter[tuple[str, str]] = Counter()
        self._request_times: defaultdict[str, Times] = defaultdict(Times)
        self._calls: Counter[tuple[str, str, str]] = Counter()
        self._call_times: defaultdict[str, Times] = defaultdict(Times)
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def watch(self, request: Request) -> _Alive:
        alive = _Alive(self, len(request.prompt))
        self.alive.add(alive)
        return alive

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request was answered, to the end of its stream."""
        self._requests[route, str(status)] += 1
        self._request_times[route].add(seconds)

    def called(self, call: ToolCall) -> None:
        """A call of a hosted tool is over."""
        tool = EXTERNAL if call.external else call.tool
        self._calls[tool, call.verdict, call.door] += 1
        if call.verdict != "refused":
            self._call_times[tool].add(call.seconds)

    def counts(self) -> tuple[int, int]:
        """Requests that run, and that wait for their first token."""
        running = sum(alive.last is not None for alive in self.alive)
        return running, len(self.alive) - running

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        yield from self._of_engine()
        yield from self._of_server()
        yield from self._of_transcript()

    def _of_engine(self) -> Iterable[Metric]:
        running, waiting = self.counts()
        load = self._engine.load
        used, cached = load.used / max(1, load.pages), load.cached / max(1, load.pages)
        hits = self.cached_tokens / max(1, self.prompt_tokens)
        for name, help, value in (
            ("agenthost_engine_up", "1 while the engine serves.", int(self._engine.status == "ready")),
            ("agenthost_requests_running", "Requests that have begun to answer.", running),
            ("agenthost_requests_waiting", "Requests without a first token.", waiting),
            ("agenthost_kv_cache_used", "Share of the KV cache that running requests hold.", used),
            ("agenthost_kv_cache_cached", "Share of the KV cache that only the prefix cache holds.", cached),
            ("agenthost_prefix_cache_hit_rate", "Share of prompt tokens found in the prefix cache.", hits),
        ):
            yield GaugeMetricFamily(name, help, value)
        yield CounterMetricFamily("agenthost_engine_restarts", "Engine processes replaced.", self._engine.restarts)
        yield CounterMetricFamily("agenthost_retractions", "Requests that gave up their pages.", load.retractions)
        yield self._counter("vllm:num_preemptions", "Requests that gave up their pages.", load.retractions)
        for name, value in (
            ("vllm:num_requests_running", running), ("vllm:num_requests_waiting", waiting),
            ("sglang:num_running_reqs", running), ("sglang:num_queue_reqs", waiting),
            ("vllm:kv_cache_usage_perc", used), ("sglang:token_usage", used), ("sglang:cache_hit_rate", hits),
        ):  # fmt: skip
            yield self._gauge(name, value)
        prompt, cached = ("Tokens of prompts.", self.prompt_tokens), ("Of these, found cached.", self.cached_tokens)
        generated = ("Tokens generated.", self.generated_tokens)
        for name, (help, value) in (
            ("vllm:prompt_tokens", prompt), ("vllm:prompt_tokens_cached", cached),
            ("vllm:generation_tokens", generated), ("vllm:prefix_cache_queries", prompt),
            ("vllm:prefix_cache_hits", cached), ("sglang:prompt_tokens", prompt),
            ("sglang:generation_tokens", generated), ("sglang:cached_tokens", cached),
        ):  # fmt: skip
            yield self._counter(name, help, value)
        for name, help, times in (
            ("time_to_first_token_seconds", "Until the first token.", self.first),
            ("inter_token_latency_seconds", "Between two tokens.", self.between),
            ("e2e_request_latency_seconds", "Until the last token.", self.whole),
        ):
            for peer in _PEERS:
                family = HistogramMetricFamily(f"{peer}:{name}", help, labels=["model_name"])
                times.family(family, [self._model])
                yield family

    def _of_server(self) -> Iterable[Metric]:
        yield _counter("agenthost_http_requests", "Answered requests.", ("route", "status"), self._requests)
        yield _histogram("agenthost_http_request_seconds", "Until an answer's end.", "route", self._request_times)
        yield _counter("agenthost_tool_calls", "Calls of hosted tools.", ("tool", "verdict", "door"), self._calls)
        yield _histogram("agenthost_tool_call_seconds", "Calls of hosted tools.", "tool", self._call_times)
        yield GaugeMetricFamily("agenthost_sessions", "Sessions that are alive.", len(self._hands.sessions))

    def _of_transcript(self) -> Iterable[Metric]:
        counts = self._transcript.counts
        yield CounterMetricFamily("agenthost_transcript_turns_spliced", "Turns found as written.", counts.spliced)
        yield CounterMetricFamily(
            "agenthost_transcript_tokens_saved", "Tokens not rendered again.", counts.saved_tokens
        )
        causes = Counter({(cause,): number for cause, number in counts.mismatched.items()})
        yield _counter("agenthost_transcript_mismatches", "Turns rendered again, by cause.", ("cause",), causes)
        yield GaugeMetricFamily("agenthost_transcript_tokens", "Token ids in memory.", self._transcript.tokens)

    def _counter(self, name: str, help: str, value: float) -> Metric:
        family = CounterMetricFamily(name, help, labels=["model_name"])
        family.add_metric([self._model], value)
        return family

    def _gauge(self, name: str, value: float) -> Metric:
        family = GaugeMetricFamily(name, "As dashboards know it.", labels=["model_name"])
        family.add_metric([self._model], value)
        return family


def _counter(name: str, help: str, labels: tuple[str, ...], values: Counter[tuple[str, ...]]) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(key, value)
    return family


def _histogram(name: str, help: str, label: str, values: dict[str, Times]) -> Metric:
    family = HistogramMetricFamily(name, help, labels=[label])
    for key, times in sorted(values.items()):
        times.family(family, [key])
    return family
