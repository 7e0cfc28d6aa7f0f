"""Input that is long or too long: refused before it costs much, counted all the same, read beside the event loop."""

import asyncio
import json

import httpx
import pytest
from agenthost.server.chat.conversation import Conversation
from agenthost.server.chat.model import ChatModel
from agenthost.server.openai.responses.items import read_items
from agenthost.server.openai.responses.sealed import Unsealer, seal


@pytest.fixture
def http(scripted):
    with httpx.Client(base_url=scripted.url, timeout=30) as client:
        yield client


_LONG = "x" * 60_000  # the longest token has 13 bytes


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": _LONG}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": _LONG}], "hosted_tools": ["python"]}),
        ("/v1/completions", {"prompt": _LONG}),
        ("/v1/responses", {"input": _LONG}),
        ("/v1/responses/input_tokens", {"input": _LONG}),
        ("/v1/messages", {"model": "m", "max_tokens": 4, "messages": [{"role": "user", "content": _LONG}]}),
        ("/tokenize", {"prompt": _LONG}),
        ("/tokenize", {"messages": [{"role": "user", "content": _LONG}]}),
    ],
)
def test_what_cannot_fit_is_refused_before_it_is_tokenised(http, path, body):
    answered = http.post(path, json=body)
    assert answered.status_code == 400
    error = answered.json()["error"]
    assert "4000 tokens. However, your messages resulted in at least 46" in error["message"]
    too_long = error["message"].startswith("prompt is too long") if "messages" in path else error["code"]
    assert too_long in (True, "context_length_exceeded")


def test_input_that_is_too_long_is_counted_all_the_same(http):
    said = [{"role": "user", "content": "x" * 5000}]
    counts = [
        http.post("/v1/messages/count_tokens", json={"model": "m", "messages": said}),
        http.post("/v1/responses/input_tokens", json={"input": said}),
    ]
    assert [count.json()["input_tokens"] > 5000 for count in counts] == [True, True]


def test_long_text_is_read_beside_the_event_loop(model_folder, make_engine, monkeypatch):
    model = ChatModel.load(model_folder, make_engine(model_folder, lambda request: "").tokenizer)
    beside = []
    there = asyncio.to_thread

    def to_thread(work):
        beside.append(work)
        return there(work)

    monkeypatch.setattr(asyncio, "to_thread", to_thread)

    async def talk(result, calls=()):
        conversation = Conversation(model, [])
        await conversation.prompt([{"role": "user", "content": "hi"}])
        conversation.append_turn("so", calls, [])
        await conversation.prompt([{"role": "tool", "content": result}])
        return len(beside)

    call = ("call_1", "f", json.dumps({"text": "x" * 10_000}))
    assert [asyncio.run(talk(*said)) for said in (("short",), ("x" * 10_000,), ("short", [call]))] == [0, 1, 2]


def test_sealed_texts_of_a_request_share_one_limit(http):
    sealed = seal("a b " * 600_000)
    compacted = {"type": "compaction", "encrypted_content": sealed}
    thought = {"type": "reasoning", "summary": [], "encrypted_content": sealed}
    for items, place in (([compacted, compacted], 1), ([thought, compacted], 1), ([thought, compacted, thought], 1)):
        answered = http.post("/v1/responses", json={"input": [*items, {"role": "user", "content": "hi"}]})
        assert answered.status_code == 400
        error = answered.json()["error"]
        assert (error["param"], error["code"]) == (f"input[{place}]", "invalid_value")
        assert "encrypted_content of all items is more than 4000000 bytes" in error["message"]


def test_sealed_text_is_read_up_to_the_limit():
    unsealer = Unsealer(5)
    assert unsealer.read(seal("abc")) == "abc"
    assert unsealer.read("somebody else's") == unsealer.read("ah1.!") == unsealer.read(None) == ""
    assert unsealer.read(seal("de")) == "de"
    with pytest.raises(ValueError, match="more than 5 bytes"):
        unsealer.read(seal("f"))


def test_the_thoughts_and_words_of_a_turn_are_put_together():
    thoughts = [{"type": "reasoning", "encrypted_content": seal(text)} for text in ("I ", "think.")]
    words = [{"role": "assistant", "content": text} for text in ("So ", "it is.")]
    [turn] = read_items([thoughts[0], words[0], thoughts[1], words[1]]).messages
    assert turn == {"role": "assistant", "content": "So it is.", "reasoning_content": "I think."}


def say(role, text, **more):
    return {"role": role, "content": text, **more}


def test_truncation_leaves_out_the_oldest_turns(http, scripted):
    turns = [say(role, f"{number} " + role * 50) for number in range(20) for role in ("user", "assistant")]
    asked = {"instructions": "Be brief.", "input": [*turns, say("user", "And now?")], "truncation": "auto"}
    answered = http.post("/v1/responses", json=asked)
    assert (answered.status_code, answered.json()["truncation"]) == (200, "auto")
    prompt = scripted.engine.prompt_text()
    assert len(scripted.engine.requests[-1].prompt) < 3000
    assert "Be brief." in prompt
    assert prompt.endswith("19 " + "assistant" * 50 + prompt[prompt.rindex("<|im_end|>\n<|im_start|>user") :])
    first = min(number for number in range(20) if f"user\n{number} user" in prompt)
    assert 10 < first < 19
    assert f"assistant\n{first - 1} " not in prompt
    assert http.post("/v1/responses", json={**asked, "truncation": "disabled"}).status_code == 400
    assert http.post("/v1/responses", json={**asked, "truncation": "some"}).json()["error"]["param"] == "truncation"
    too_long = {**asked, "input": "x" * 5000}
    assert http.post("/v1/responses", json=too_long).json()["error"]["code"] == "context_length_exceeded"


def test_truncation_parts_no_call_from_its_result_and_keeps_what_was_asked(http, scripted):
    steps = [
        {**about, "call_id": f"call_{number}"}
        for number in range(20)
        for about in (
            {"type": "function_call", "name": "f", "arguments": json.dumps({"n": number})},
            {"type": "function_call_output", "output": f"result {number} " + "x" * 400},
        )
    ]
    asked = [say("user", "first"), say("assistant", "yes"), say("user", "Do the task."), *steps]
    assert http.post("/v1/responses", json={"input": asked, "truncation": "auto"}).status_code == 200
    prompt = scripted.engine.prompt_text()
    assert "Do the task." in prompt
    assert "first" not in prompt
    kept = [number for number in range(20) if f'{{"n": {number}}}' in prompt]
    assert kept == [number for number in range(20) if f"result {number} " in prompt] == list(range(kept[0], 20))
    assert 0 < kept[0] < 19
