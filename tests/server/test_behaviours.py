"""Behaviours of servers that users of agents found broken elsewhere, one test each, through the real OpenAI client.

The 15th is in test_codex.py. More of the Responses API and of hosted tools is tested with them.
"""

import asyncio
import json
import threading
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig

from .families import ENDS, FAMILIES, FULL, PLAIN, VALUES, turn

COMMON = {"chatml", "qwen3_coder", "llama3_json", "mistral"}  # the others take their turn in `make test-all`
HI: Any = [{"role": "user", "content": "hi"}]
TOOLS: Any = [
    {"type": "function", "function": {"name": "forecast", "parameters": VALUES}},
    {"type": "function", "function": {"name": "now", "description": "The time."}},
]


def ask(client, messages=HI, **wanted):
    return client.chat.completions.create(model="m", messages=messages, **wanted)


def written(*calls, text=""):
    return turn("chatml", text, calls)


@contextmanager
def serving_family(family, make_model, make_engine, make_server):
    end = ENDS.get(family, "<|im_end|>")
    folder = make_model(template=family, special=(end,), eos=end)
    engine = make_engine(folder, lambda request: "ok")
    config = ServerConfig(engine=EngineConfig(model=str(folder)), served_model_name=("m",))
    with make_server(config, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        yield engine, client


@pytest.mark.parametrize("family", FAMILIES)
def test_01_the_prefix_survives_tool_turns_with_every_format(family, make_model, make_engine, make_server):
    with serving_family(family, make_model, make_engine, make_server) as (engine, client):
        said = turn(family, "", [("forecast", FULL)]).replace('", "', '",  "').replace('": ', '":  ')
        engine.play = lambda request: said
        messages: list[Any] = [*HI]
        for step in range(3):
            message = ask(client, messages, tools=TOOLS).choices[0].message
            calls = [call.model_dump() for call in message.tool_calls]
            assert [json.loads(call["function"]["arguments"]) for call in calls] == [FULL]
            for call in calls:  # clients write JSON their own way
                call["function"]["arguments"] = json.dumps(FULL, sort_keys=True, separators=(",", ":"))
            messages += [
                {"role": "assistant", "content": message.content, "tool_calls": calls},
                {"role": "tool", "tool_call_id": calls[0]["id"], "name": "forecast", "content": f"{step} degrees"},
            ]
        ends = engine.tokenizer.encode(said)
        for before, after in zip(engine.requests, engine.requests[1:], strict=False):
            kept = [*before.prompt, *ends]
            assert after.prompt[: len(kept)] == kept


def test_02_what_a_response_is_continued_from_keeps_its_calls_and_thoughts(make_model, make_engine, make_server):
    tool: Any = {"type": "function", "name": "forecast", "parameters": VALUES, "strict": True}
    with serving_family("glm45", make_model, make_engine, make_server) as (engine, client):
        called = turn("glm45", "", [("forecast", PLAIN)])
        engine.play = lambda request: f"<think>I should look.</think>{called}"
        first: Any = client.responses.create(model="m", input="rain?", tools=[tool])
        assert [item.type for item in first.output] == ["reasoning", "function_call"]
        output: Any = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "dry"}
        engine.play = lambda request: "<think></think>No."
        second = client.responses.create(model="m", input=[output], previous_response_id=first.id, tools=[tool])
        assert "I should look." in engine.prompt_text()
        assert called.strip() in engine.prompt_text()
        assert second.output_text == "No."
        client.responses.create(model="m", input="sure?", previous_response_id=second.id, tools=[tool])
        assert called.strip() in engine.prompt_text()


async def gather_stream(url, **wanted):
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        stream = await client.chat.completions.create(model="m", messages=HI, tools=TOOLS, stream=True, **wanted)
        return [chunk async for chunk in stream]


def test_03_streamed_arguments_are_those_of_the_whole_answer(scripted, client):
    scripted.says(written(("forecast", FULL), ("now", {})))
    whole = ask(client, tools=TOOLS).choices[0].message.tool_calls
    streamed = ["", ""]
    for chunk in asyncio.run(gather_stream(scripted.url)):
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.function is not None
            streamed[call.index] += call.function.arguments or ""
    assert streamed == [call.function.arguments for call in whole]
    assert json.loads(streamed[0]) == FULL


def test_04_parallel_calls_have_their_own_index_and_id(scripted):
    scripted.says(written(("now", {}), ("now", {}), ("forecast", PLAIN)))
    heads = [
        (call.index, call.id, call.function.name)
        for chunk in asyncio.run(gather_stream(scripted.url))
        for call in chunk.choices[0].delta.tool_calls or []
        if call.id and call.function
    ]
    assert [(index, name) for index, _, name in heads] == [(0, "now"), (1, "now"), (2, "forecast")]
    assert len({id for _, id, _ in heads}) == 3


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("said", "wanted", "reason"),
    [
        (written(("now", {})), {}, "tool_calls"),
        (written(("now", {})), {"tool_choice": "required"}, "tool_calls"),
        (written(("now", {})), {"tool_choice": {"type": "function", "function": {"name": "now"}}}, "stop"),
        (written(("now", {})), {"max_tokens": 45}, "length"),
        ("hello", {}, "stop"),
        ("hello", {"max_tokens": 2}, "length"),
    ],
)
def test_05_the_finish_reason_is_right(scripted, client, said, wanted, reason, stream):
    scripted.says(said)
    if stream:
        assert list(ask(client, tools=TOOLS, stream=True, **wanted))[-1].choices[0].finish_reason == reason
    else:
        assert ask(client, tools=TOOLS, **wanted).choices[0].finish_reason == reason


@pytest.mark.parametrize("rest", [', "arguments": {}', "", ', "arguments": null'])
def test_06_a_call_without_arguments_has_an_empty_object(scripted, client, rest):
    scripted.says(f'<tool_call>\n{{"name": "now"{rest}}}\n</tool_call>')
    assert ask(client, tools=TOOLS).choices[0].message.tool_calls[0].function.arguments == "{}"
    deltas = [
        call.function.arguments or ""
        for chunk in ask(client, tools=TOOLS, stream=True)
        for call in chunk.choices[0].delta.tool_calls or []
    ]
    assert "".join(deltas) == "{}"


@pytest.mark.parametrize("strict", [None, False, True])
def test_07_every_schema_is_enforced_and_required_means_a_call(scripted, client, strict):
    tools: Any = [{"type": "function", "function": {"name": "forecast", "parameters": VALUES, "strict": strict}}]
    for choice in ("auto", "required"):
        ask(client, tools=tools, tool_choice=choice)
        tag = json.loads(scripted.engine.requests[-1].sampling.grammar.source)["format"]
        assert tag["tags"][0]["content"]["json_schema"] == VALUES
    assert tag["at_least_one"]


def test_08_stop_strings_do_not_reach_into_calls(scripted, client):
    scripted.says(written(("forecast", {**PLAIN, "note": "Observation: none"}), text="Let me see."))
    choice = ask(client, tools=TOOLS, stop=["Observation:", "Calling tools:"]).choices[0]
    assert json.loads(choice.message.tool_calls[0].function.arguments)["note"] == "Observation: none"
    scripted.says("Thought: yes\nObservation: 3")
    assert ask(client, tools=TOOLS, stop=["Observation:"]).choices[0].message.content == "Thought: yes\n"


@pytest.mark.parametrize("family", ["chatml", "strict", "deepseek_v3", "openai"])
def test_09_system_messages_may_be_anywhere(family, make_model, make_engine, make_server):
    texts = ["first rule", "second rule", "late rule"]
    messages: list[Any] = [
        {"role": "system", "content": texts[0]},
        {"role": "developer", "content": [{"type": "text", "text": texts[1]}]},
        *HI,
        {"role": "assistant", "content": "yes"},
        {"role": "system", "content": texts[2]},
        *HI,
    ]
    with serving_family(family, make_model, make_engine, make_server) as (engine, client):
        ask(client, messages)
        assert all(text in engine.prompt_text() for text in texts)
        ask(client, HI)


def test_10_templates_get_arguments_as_mappings(make_model, make_engine, make_server):
    call = {"id": "c", "type": "function", "function": {"name": "forecast", "arguments": json.dumps(PLAIN)}}
    messages: list[Any] = [
        *HI,
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "1"},
    ]
    with serving_family("qwen3_coder", make_model, make_engine, make_server) as (engine, client):
        ask(client, messages, tools=TOOLS)
        assert "<parameter=city>\nRome\n</parameter>" in engine.prompt_text()


@pytest.mark.parametrize(("family", "said"), [("glm45", "<think>hm</think>so"), ("openai", None)])
def test_11_reasoning_has_both_names_and_does_not_leak(family, said, make_model, make_engine, make_server):
    said = said or "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>final<|message|>so"
    with serving_family(family, make_model, make_engine, make_server) as (engine, client):
        engine.play = lambda request: said
        message = ask(client).choices[0].message.model_dump()
        assert (message["reasoning"], message["reasoning_content"], message["content"]) == ("hm", "hm", "so")
        deltas = [chunk.choices[0].delta.model_dump() for chunk in ask(client, stream=True)]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "hm"
        assert "".join(delta["content"] or "" for delta in deltas) == "so"


def test_12_a_json_schema_binds_the_answer_and_not_the_thoughts(make_model, make_engine, make_server):
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "v", "schema": VALUES, "strict": True}}
    with serving_family("glm45", make_model, make_engine, make_server) as (engine, client):
        engine.play = lambda request: f"<think>{{}}</think>\n{json.dumps(PLAIN)}"
        message = ask(client, response_format=wanted).choices[0].message
        assert json.loads(message.content) == PLAIN
        tag = json.loads(engine.requests[-1].sampling.grammar.source)["format"]
        assert tag["elements"][-1]["json_schema"] == VALUES
        assert tag["elements"][0]["content"]["elements"][1]["content"]["type"] == "any_text"


def test_13_a_prompt_that_just_fits_is_answered_and_one_more_token_is_refused_by_name(scripted, client):
    ask(client)
    frame = len(scripted.engine.requests[-1].prompt) - len("hi")
    ask(client, [{"role": "user", "content": "x" * (4000 - 1 - frame)}])
    assert scripted.engine.requests[-1].sampling.max_tokens == 1
    with pytest.raises(openai.BadRequestError, match="maximum context length is 4000 tokens") as caught:
        ask(client, [{"role": "user", "content": "x" * (4000 - frame)}])
    assert caught.value.code == "context_length_exceeded"


def test_14_cached_tokens_are_always_told_and_the_usage_comes_last(client):
    assert ask(client).usage.prompt_tokens_details.cached_tokens == 7
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens_details.cached_tokens == 7


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in COMMON else pytest.mark.slow) for name in FAMILIES],
)
def test_16_malformed_calls_are_text_and_no_error(family, make_model, make_engine, make_server):
    whole = turn(family, "", [("forecast", FULL)])
    broken = [
        whole[:30],
        whole.replace('"', "'"),
        whole.replace("{", "", 1),
        whole[: len(whole) // 2] + "\x00}}]]",
        whole[::-1],
    ]
    with serving_family(family, make_model, make_engine, make_server) as (engine, client):
        for said in broken:
            engine.play = lambda request, said=said: said
            choice = ask(client, tools=TOOLS).choices[0]
            assert choice.finish_reason in ("stop", "tool_calls")
            list(ask(client, tools=TOOLS, stream=True))


@pytest.mark.parametrize(
    "wanted",
    [
        {"tools": []},
        {"tools": [], "tool_choice": "auto"},
        {"tool_choice": "none"},
        {"parallel_tool_calls": True},
        {"extra_body": {"no_such_field": {"x": 1}, "tools": None}},
    ],
    ids=str,
)
def test_17_empty_tools_and_unknown_fields_are_no_mistake(client, wanted):
    assert ask(client, **wanted).choices[0].message.content == "hello"


def test_18_a_client_that_leaves_stops_the_tool(scripted):
    scripted.says(written(("python", {"code": "import time\nwhile True: time.sleep(1)"})))
    url, tool = f"{scripted.url}/v1/responses", {"type": "code_interpreter", "container": {"type": "auto"}}
    body = {"model": "m", "input": "go", "tools": [tool], "stream": True}
    with httpx.stream("POST", url, json=body, timeout=60) as stream:
        lines = stream.iter_lines()  # held: the stream is closed with it
        added = next(line for line in lines if "code_interpreter_call" in line and "container_id" in line)
        next(line for line in lines if "code_interpreter_call.interpreting" in line)
    container = json.loads(added.removeprefix("data: "))["item"]["container_id"]
    scripted.says(written(("python", {"code": "'still ' + 'there'"})), "ok")
    tool = {"type": "code_interpreter", "container": container}
    # The interpreter runs one call at a time: it would not answer if the first one were still running.
    again = httpx.post(url, json={"model": "m", "input": "on", "tools": [tool]}, timeout=30).json()
    assert again["output"][0]["container_id"] == container
    assert again["status"] == "completed"


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("chat/completions", {"messages": HI}), ("completions", {"prompt": "hi"}), ("responses", {"input": "hi"}),
        ("messages", {"messages": HI, "max_tokens": 9}),
    ],
)  # fmt: skip
def test_18_a_client_that_leaves_stops_the_model(scripted, path, asked):
    stopped = threading.Event()

    async def gate():
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    scripted.engine.gate = gate
    body = {"model": "m", "stream": True, **asked}
    with httpx.stream("POST", f"{scripted.url}/v1/{path}", json=body, timeout=30) as stream:
        lines = stream.iter_lines()
        next(line for line in lines if "data:" in line)
    assert stopped.wait(30)
    assert scripted.engine.aborted


def test_19_characters_and_stop_strings_may_span_tokens(scripted, client):
    scripted.says("né🙂 fin")  # the tokens of the test model are single bytes
    chunks = [chunk.choices[0].delta.content or "" for chunk in ask(client, stream=True)]
    assert "".join(chunks) == "né🙂 fin"
    assert not any("�" in chunk for chunk in chunks)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in ask(client, stop=["🙂 f"], stream=True)) == "né"


def test_20_text_around_calls_is_kept_and_ids_do_not_change(scripted, client):
    said = f"Before.\n{written(('now', {}))}\nBetween.\n{written(('forecast', PLAIN))}"
    scripted.says(said)
    message = ask(client, tools=TOOLS).choices[0].message
    assert message.content.split() == ["Before.", "Between."]
    assert "tool_call" not in message.content
    ids: dict[int, set[str]] = {}
    content = ""
    for chunk in ask(client, tools=TOOLS, stream=True):
        content += chunk.choices[0].delta.content or ""
        for call in chunk.choices[0].delta.tool_calls or []:
            ids.setdefault(call.index, set()).update([call.id] if call.id else [])
    assert content == message.content
    assert [len(known) for known in ids.values()] == [1, 1]


def test_content_may_be_null_and_tool_results_may_be_parts(scripted, client):
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": ""}}
    result = {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "noon"}]}
    ask(client, [*HI, {"role": "assistant", "content": None, "tool_calls": [call]}, result], tools=TOOLS)
    assert "<tool_response>\nnoon\n</tool_response>" in scripted.engine.prompt_text()


def test_nothing_that_is_sent_gets_a_500(scripted):
    bodies = [
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": "[1"}}]}]},
        {"messages": [{"role": "tool", "content": {"a": 1}}]},
        {"messages": [{"role": "user", "content": [None]}]},
        {"messages": HI, "tools": [{"type": "custom"}]},
        {"messages": HI, "tools": [{"type": "custom", "custom": {"name": "a b"}}]},
        {"messages": HI, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"tools": []}}, "tools": TOOLS},
        {"messages": HI, "tool_choice": {"type": "function"}, "tools": TOOLS},
        {"messages": HI, "structured_outputs": {"choice": "x"}},
        {"messages": HI, "chat_template_kwargs": {"a": {"b": [1]}}},
        {"messages": HI, "reasoning_effort": "\ud800"},
        {"messages": HI, "functions": [{"name": "f"}], "function_call": {"name": "g"}},
    ]
    for body in bodies:
        answer = httpx.post(
            f"{scripted.url}/v1/chat/completions",
            content=json.dumps(body),
            headers={"Content-Type": "application/json"},
        )
        assert answer.status_code in (200, 400), (body, answer.text)
