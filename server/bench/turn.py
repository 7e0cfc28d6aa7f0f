"""What a turn of a long conversation costs the front: all of it rendered and tokenised, or only what is new.

``hosted`` is a turn of the loop in the server, or one that goes on from a response by its id; ``replayed`` one whose
whole history the client sends again. Times are of the front's own work: messages, template, tokenizer, transcript.
Parsing the request's JSON is not in them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from random import Random

from ...engine import Tokenizer, resolve_model
from ...engine.bench.report import Figure, Report, arguments, positive
from ..chat.conversation import Conversation
from ..chat.messages import normalise
from ..chat.model import ChatModel
from ..chat.transcript import Transcript
from ..json_values import JsonObject
from .prompts import random_words

_RESULT_WORDS = 300
_TOOLS: list[JsonObject] = [
    {"type": "function", "function": {"name": "read", "parameters": {
        "type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}}},
]  # fmt: skip


def main(words: Sequence[str]) -> int:
    options = parser().parse_args(words)
    asyncio.run(measure(options)).emit(options.json)
    return 0


def parser() -> argparse.ArgumentParser:
    parser = arguments("turn", __doc__)
    parser.add_argument("--model", default="pocket", help="a folder, a hub id or pocket")
    parser.add_argument("--tokens", type=positive, default=40_000, metavar="N", help="of history")
    parser.add_argument("--repeat", type=positive, default=15, metavar="N", help="turns; medians are shown")
    return parser


async def measure(options: argparse.Namespace) -> Report:
    folder = resolve_model(options.model)
    model = ChatModel.load(folder, Tokenizer.load(folder))
    transcript, said = Transcript(), Random(0)
    conversation = Conversation(model, _TOOLS, transcript=transcript, owner="bench")
    messages: list[JsonObject] = [{"role": "user", "content": "Read all files."}]
    following = list(messages)
    prompt = await conversation.prompt(following)
    times: dict[str, list[float]] = {"hosted": [], "replayed": [], "rendered": []}
    turns = 0
    while len(times["hosted"]) < options.repeat:
        turns += 1
        call, arguments = f"call_{turns}", json.dumps({"path": f"{turns}.txt"})
        text = f'<tool_call>{{"name":"read", "arguments":{arguments}}}</tool_call>'
        conversation.append_turn("", [(call, "read", arguments)], model.tokenizer.encode(text))
        result = {"role": "tool", "tool_call_id": call, "name": "read", "content": random_words(said, _RESULT_WORDS)}
        function = {"id": call, "type": "function", "function": {"name": "read", "arguments": arguments}}
        messages += [{"role": "assistant", "content": None, "tool_calls": [function]}, result]
        if len(prompt) < options.tokens:
            prompt = await conversation.prompt([result])
            continue
        again = Conversation(model, _TOOLS, transcript=transcript, owner="bench")
        begun = time.perf_counter()
        await model.prompt(normalise(messages), _TOOLS)
        rendered = time.perf_counter()
        await again.prompt(normalise(messages))
        replayed = time.perf_counter()
        await conversation.prompt([result])
        hosted = time.perf_counter()
        for name, seconds in (
            ("rendered", rendered - begun), ("replayed", replayed - rendered), ("hosted", hosted - replayed),
        ):  # fmt: skip
            times[name].append(seconds)
        prompt = conversation.ids
    rendered, hosted, replayed = (1000 * statistics.median(times[name]) for name in ("rendered", "hosted", "replayed"))
    figures = [
        Figure("rendered", rendered, "ms", f"all of {len(prompt):,} tokens, {turns} turns"),
        Figure("hosted", hosted, "ms", "a turn of the loop, or by response id"),
        Figure("replayed", replayed, "ms", "a turn whose history the client sends again"),
        Figure("hosted_share", 100 * hosted / rendered, "%", "of rendering all"),
        Figure("replayed_share", 100 * replayed / rendered, "%", "of rendering all"),
    ]
    return Report("turn", {name: getattr(options, name) for name in ("model", "tokens", "repeat")}, figures)
