"""A model with random weights always calls validly under each format's grammar: whole and streamed, on the engine.

So it is with the languages of custom tools, whose texts hold what JSON escapes, and what ends a text in other formats.

One engine serves all formats: its tokenizer has one token for each byte, and the formats' marks, which are special
tokens in one half of the tests and ordinary text in the other.
"""

import asyncio
import json
import re
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import jsonschema
import lark
import openai
import pytest
from agenthost.engine import AsyncEngine, EngineConfig
from agenthost.server.app import create_app
from agenthost.server.config import ServerConfig
from anyio.from_thread import start_blocking_portal

from .families import ENDS, FAMILIES, TOOLS, WAYS, detected, parsed, template
from .test_real_engine import CONFIG

CHUNKS = (1, 2, 3, 5, 11, 23, None)
SCHEMAS = {tool.name: tool.parameters for tool in TOOLS}
ASKED: Any = [{"type": "function", "function": tool._asdict()} for tool in TOOLS]
FORCED: Any = {"type": "function", "function": {"name": "forecast"}}
CHOICES: Any = ("required", FORCED, "auto")
SPECIAL = pytest.param("marks as special tokens", marks=pytest.mark.slow)
SEEDS = range(2)  # the first is streamed
MOST_TOKENS = 800

# Random texts would hardly ever end, and random digits rarely be few: what closes something is likelier.
WORDS = ("</parameter>", "</function>", "</think>")
ENDING = ("</parameter>", "</arg_value>", "<escape>", '<|"|>', "<|end|>", "</think>", '"')
LEANING = {**dict.fromkeys("}],:", 2.0), **dict.fromkeys("0123456789eE", -1.0), **dict.fromkeys(ENDING, 3.5)}

PATCH = r"""
start: begin hunk+ "*** End" LF?
begin: "*** Begin \"Patch\"\\" LF
hunk: ("+" | "-") /[^\n]{1,3}/ LF | "<" name~0..2 "/" LF | "[" pair ("," pair)* "]" LF
pair: INT ":" (pair | ESCAPED_STRING)?
?name: "</"i WORD ">"?
WORD: ("a".."c" | /[é\t]/) ~ 1..2
%import common (INT, LF)
%import common.ESCAPED_STRING
%ignore /[ \t]/+
"""
LINES = r'"(?:[^"\\\n]|\\.|</?p?){0,4}"\r?\n{1,2}[\w\s<]{0,2}'


class SharedEngine(AsyncEngine):
    """Outlives the servers that it stands behind."""

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        return None


@pytest.fixture(scope="module")
def portal():
    """The event loop that owns the engine."""
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module", params=["marks as text", SPECIAL])
def engine(request, portal, tmp_path_factory, write_model):
    marks = {mark for family in FAMILIES for mark in detected(family).markers} - {*ENDS.values()}
    ends, marks, words = tuple(sorted({*ENDS.values()} - {"<|im_end|>"})), tuple(sorted(marks)), WORDS
    if request.param == "marks as special tokens":
        ends, marks = (*ends, *marks), ()
    folder = write_model(tmp_path_factory.mktemp("random"), special=ends, words=(*marks, *words), eos="<|endoftext|>")
    size = {"vocab_size": 259 + len(ends + marks + words), "max_position_embeddings": 16384, "eos_token_id": 256}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **size}))
    config = EngineConfig(model=str(folder), dummy_weights=True, dtype="float32", threads=1, seed=0)
    engine = SharedEngine(config)
    portal.call(AsyncEngine.__aenter__, engine)
    portal.call(engine.ready)
    yield engine
    portal.call(AsyncEngine.__aexit__, engine, None, None, None)


@pytest.fixture(params=WAYS)
def family(request):
    return request.param


@asynccontextmanager
async def served(engine, family):
    """A client of a server of ``engine`` with the family's template."""
    app = create_app(ServerConfig(engine=engine.config, chat_template=template(family)), engine)
    async with app.state.served as served, httpx2.AsyncClient(transport=httpx2.ASGITransport(app)) as http:
        await served.ready()
        async with openai.AsyncOpenAI(base_url="http://127.0.0.1/v1", api_key="x", http_client=http) as client:
            yield client


def request(engine, family, **more) -> Any:
    end = engine.tokenizer.token_id(ENDS.get(family, "<|im_end|>"))
    bias = {engine.tokenizer.token_id(text): value for text, value in LEANING.items()}
    return {
        "model": engine.config.model.rpartition("/")[2], "messages": [{"role": "user", "content": "weather?"}],
        "max_tokens": MOST_TOKENS, "logit_bias": {**bias, end: 3.0},
        "extra_body": {"stop_token_ids": [end], "return_token_ids": True}, **more,
    }  # fmt: skip


async def answers(engine, family):
    """(choice, raw text, content, calls, finish reason) of every choice and some seeds, all at once."""
    async with served(engine, family) as client:
        asked = [(choice, seed) for choice in CHOICES for seed in SEEDS]
        return await asyncio.gather(*(answer(client, engine, family, *one) for one in asked))


async def answer(client, engine, family, choice, seed):
    end = engine.tokenizer.token_id(ENDS.get(family, "<|im_end|>"))
    common = request(engine, family, tools=ASKED, tool_choice=choice, seed=seed)
    if seed % 2:
        whole = (await client.chat.completions.create(**common)).choices[0]
        calls = [(call.function.name, call.function.arguments) for call in whole.message.tool_calls or []]
        ids, content, reason = whole.token_ids, whole.message.content or "", whole.finish_reason
    else:
        ids, content, calls, reason = await gathered(client.chat.completions.create(**common, stream=True))
    if ids[-1] in (end, *engine.tokenizer.eos_token_ids):
        ids.pop()
    special = any(engine.tokenizer.token_id(mark) in engine.tokenizer.special_ids for mark in detected(family).markers)
    return choice, engine.tokenizer.decode(ids, skip_special_tokens=not special), content, calls, reason


async def gathered(creating):
    """(token ids, content, [(name, arguments), ...], finish reason) of a stream."""
    ids, content, calls, reason = [], "", {}, None
    async for chunk in await creating:
        for choice in chunk.choices:
            ids += getattr(choice, "token_ids", None) or []
            content += choice.delta.content or ""
            for delta in choice.delta.tool_calls or ():
                call = calls.setdefault(delta.index, ["", ""])
                call[0] += delta.function.name or ""
                call[1] += delta.function.arguments or ""
            reason = choice.finish_reason or reason
    return ids, content, [tuple(call) for call in calls.values()], reason


def test_every_call_of_a_random_model_is_valid(engine, portal, family):
    format = detected(family)
    called = 0
    for choice, written, content, calls, reason in portal.call(answers, engine, family):
        if reason == "length":
            calls = calls[:-1]  # the last one was cut
        else:
            assert reason == ("tool_calls" if calls and choice != FORCED else "stop"), written
            assert calls or choice == "auto", written
            for chunk in CHUNKS:
                said, _, read = parsed(format.parser(TOOLS), without_thoughts(written), chunk)
                assert (said.strip(), read) == (content.strip(), calls), written
        for name, arguments in calls:
            jsonschema.validate(json.loads(arguments), SCHEMAS[name])
            assert choice != FORCED or name == "forecast"
        called += len(calls)
    assert called >= len(SEEDS), "too few calls to tell anything"


def without_thoughts(written):
    thoughts, mark, rest = written.partition("</think>")
    return rest.lstrip() if mark and thoughts.startswith("<think>") else written


async def text(engine, family, syntax, definition, seed):
    """What a random model calls a custom tool with, None where it has not come to an end."""
    grammar = {"type": "grammar", "grammar": {"syntax": syntax, "definition": definition}}
    tool = {"type": "custom", "custom": {"name": "edit", "format": grammar}}
    choice = {"type": "custom", "custom": {"name": "edit"}}
    async with served(engine, family) as client:
        asked = request(engine, family, tools=[tool], tool_choice=choice, seed=seed, max_tokens=200)
        answer = (await client.chat.completions.create(**asked)).choices[0]
    return answer.message.tool_calls[0].custom.input if answer.finish_reason == "stop" else None


@pytest.mark.parametrize("family", WAYS)
def test_every_text_of_a_random_model_is_in_the_language_of_its_tool(engine, portal, family):
    async def all_of_them():
        asked = [("lark", PATCH, seed) for seed in range(6)] + [("regex", LINES, seed) for seed in SEEDS]
        return await asyncio.gather(*(text(engine, family, *one) for one in asked))

    *patches, one, other = portal.call(all_of_them)
    patch = lark.Lark(PATCH, parser="earley", lexer="dynamic_complete")
    assert any(map(patch.parse, filter(None, patches)))
    lines = [*filter(None, (one, other))]
    assert lines
    assert all(re.fullmatch(LINES, line) for line in lines), lines
