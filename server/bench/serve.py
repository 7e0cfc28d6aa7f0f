"""A server under load, over HTTP as its clients see it: waits, rates, cache hits.

Drives any server with OpenAI's chat completions. Prompts are random words of the wanted lengths, new in every row and
fixed by the seed; on a server that outlives the benchmark, take another seed each time, or it may know the prompts.
Without --url the benchmark starts a server of its own, with the settings of AGENTHOST_* variables, and stops it.
The hardware and versions in the report are those of the machine that runs the benchmark.

Every concurrency gives a row: so many clients that send the next request as soon as the last one is answered. With
--request-rate, requests come at random moments instead (a Poisson process), and concurrency is the most at a time.

Times are shown as median / 90th / 99th percentile. The first token is the first piece of output that arrives; gaps
between the following pieces are "between tokens"; a piece is mostly one token, but servers may join some.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from random import Random

import anyio

from ...engine.bench.report import Report, arguments, positive, progress
from ...engine.bench.table import Percentiles, Table, Value
from .client import Client, Endpoint
from .load import Job, Outcome, drive
from .own_server import own_server
from .prompts import Gauge, random_words

_UNITS = {
    "concurrency": "", "requests": "", "errors": "", "prompt_tokens": "", "output_tokens": "", "seconds": "s",
    "output_rate": "tokens/s", "total_rate": "tokens/s", "first_token": "ms", "between_tokens": "ms",
    "end_to_end": "s", "cached": "%",
}  # fmt: skip
_ERRORS_SHOWN = 3


def main(words: Sequence[str]) -> int:
    """Exit status 0 when every request was answered, 1 otherwise. Raises BenchError when none could be sent."""
    options = parser().parse_args(words)
    given = nullcontext(Endpoint(options.url, options.model, options.api_key)) if options.url else None
    with given or own_server(options.model or "pocket") as endpoint:
        report, errors = anyio.run(measure, endpoint, options)
    report.emit(options.json)
    for error in list(dict.fromkeys(errors))[:_ERRORS_SHOWN]:
        print(f"agenthost bench serve: {errors.count(error)} x {error}", file=sys.stderr)
    return 1 if errors else 0


def parser() -> argparse.ArgumentParser:
    """Its options; ``input_tokens`` and ``output_tokens`` become pairs of bounds."""
    parser = arguments("serve", __doc__)
    server = parser.add_argument_group("the server")
    server.add_argument("--url", help="of a running server, such as http://127.0.0.1:8000/v1; by default an own one")
    server.add_argument("--model", help="with --url: which of its models (by default the first); else what to serve")
    server.add_argument("--api-key", metavar="KEY", help="what the server of --url wants to see")
    load = parser.add_argument_group("the load")
    load.add_argument(
        "--concurrency", type=positive, nargs="+", metavar="N",
        help="requests at a time, a row each; by default 1 4 16, or no bound with --request-rate",
    )  # fmt: skip
    load.add_argument("--requests", type=positive, default=64, metavar="N", help="in each row")
    load.add_argument("--request-rate", type=_rate, metavar="R", help="arrivals in a second, on average")
    load.add_argument("--input-tokens", type=_range, default="128-512", metavar="A-B", help="length of prompts")
    load.add_argument("--output-tokens", type=_range, default="32-128", metavar="A-B", help="length of outputs")
    load.add_argument(
        "--shared-prefix", type=positive, default=0, metavar="N", help="tokens before each prompt, in common"
    )
    load.add_argument("--seed", type=int, default=0, help="of prompts, lengths and arrivals")
    load.add_argument(
        "--respect-eos", action="store_true",
        help="let the model end its outputs itself (does not send ignore_eos, which strict servers refuse)",
    )  # fmt: skip
    return parser


async def measure(endpoint: Endpoint, options: argparse.Namespace) -> tuple[Report, list[str]]:
    """The report, and what went wrong with single requests. Raises BenchError."""
    levels: list[int | None] = options.concurrency or ([None] if options.request_rate else [1, 4, 16])
    rows: list[dict[str, Value]] = []
    errors: list[str] = []
    async with Client(endpoint) as client:
        gauge = await Gauge.of(client, str(options.seed))
        with progress() as bar:
            for number, level in enumerate(levels):
                task = bar.add_task(f"concurrency {level or 'free'}", total=options.requests)
                jobs = workload(options, gauge, number)
                outcome = await drive(
                    client, jobs, concurrency=level, ignore_eos=not options.respect_eos, done=partial(bar.advance, task)
                )
                rows.append(row(outcome, level))
                errors += outcome.errors
    settings = {
        "model": client.model, "url": options.url or "own server", "requests": options.requests,
        "request_rate": options.request_rate, "input_tokens": "-".join(map(str, options.input_tokens)),
        "output_tokens": "-".join(map(str, options.output_tokens)), "shared_prefix": options.shared_prefix,
        "respect_eos": options.respect_eos, "seed": options.seed,
    }  # fmt: skip
    table = Table("load", _UNITS, rows, hidden=("prompt_tokens", "output_tokens", "seconds"))
    return Report("serve", settings, tables=(table,)), errors


def workload(options: argparse.Namespace, gauge: Gauge, number: int) -> list[Job]:
    """The jobs of row ``number``; the same for the same seed, and no prompt in two rows.

    Lengths and arrivals are drawn apart from the words, so they are the same whatever the tokenizer.
    """
    shape, text = Random(f"{options.seed}/{number}/shape"), Random(f"{options.seed}/{number}/text")
    prefix = random_words(text, gauge.inside(options.shared_prefix)) + "\n" if options.shared_prefix else ""
    arrival = 0.0 if options.request_rate else None
    jobs: list[Job] = []
    for _ in range(options.requests):
        if arrival is not None:
            arrival += shape.expovariate(options.request_rate)
        length, output = shape.randint(*options.input_tokens), shape.randint(*options.output_tokens)
        jobs.append(Job(prefix + random_words(text, gauge.whole(length)), output, arrival))
    return jobs


def row(outcome: Outcome, concurrency: int | None) -> dict[str, Value]:
    """Figures of the answers; requests that failed are only counted."""
    answers = outcome.answers
    prompt, output = sum(a.prompt_tokens for a in answers), sum(a.output_tokens for a in answers)
    return {
        "concurrency": concurrency,
        "requests": len(answers) + len(outcome.errors),
        "errors": len(outcome.errors),
        "prompt_tokens": prompt,
        "output_tokens": output,
        "seconds": outcome.seconds,
        "output_rate": output / outcome.seconds,
        "total_rate": (prompt + output) / outcome.seconds,
        "first_token": Percentiles.of([1000 * answer.first_token for answer in answers]),
        "between_tokens": Percentiles.of([1000 * gap for answer in answers for gap in answer.gaps]),
        "end_to_end": Percentiles.of([answer.seconds for answer in answers]),
        "cached": 100 * sum(a.cached_tokens for a in answers) / prompt if prompt else None,
    }


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return rate


def _range(text: str) -> tuple[int, int]:
    """``A-B`` or one number for both ends."""
    low, dash, high = text.partition("-")
    least, most = positive(low), positive(high if dash else low)
    if least > most:
        raise argparse.ArgumentTypeError(f"{text!r} runs backwards")
    return least, most
