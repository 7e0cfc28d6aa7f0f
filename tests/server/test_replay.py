"""A client that sends its history back as text finds it continued token for token."""

import json
import random
from typing import Any

import httpx
import pytest
from agenthost.server.chat.transcript import Transcript, Turn, beginning, digests_after, ids_of

from .calls import call

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "look_up")
]


def chat(scripted, messages, **more):
    """The assistant's message, taken from a stream or a whole answer, and the prompt it was made from."""
    body = {"model": "m", "messages": messages, "tools": TOOLS, **more}
    response = httpx.post(f"{scripted.url}/v1/chat/completions", json=body, timeout=60)
    assert response.status_code == 200, response.text
    prompt = scripted.engine.requests[-1].prompt
    if not more.get("stream"):
        return response.json()["choices"][0]["message"], prompt
    message: Any = {"role": "assistant", "content": "", "tool_calls": []}
    for line in response.text.split("\n\n"):
        if not line.startswith("data: {"):
            continue
        for choice in json.loads(line.removeprefix("data: "))["choices"]:
            delta = choice["delta"]
            message["content"] += delta.get("content") or ""
            for part in delta.get("tool_calls") or ():
                if "id" in part:
                    message["tool_calls"].append({"id": part["id"], "type": "function", "function": part["function"]})
                else:
                    message["tool_calls"][part["index"]]["function"]["arguments"] += part["function"]["arguments"]
    return message, prompt


def respelled(message, chance):
    """The same turn, in other JSON."""
    message = json.loads(json.dumps(message))
    for one in message.get("tool_calls") or ():
        arguments = list(json.loads(one["function"]["arguments"]).items())
        chance.shuffle(arguments)
        one["function"]["arguments"] = json.dumps(dict(arguments), indent=chance.choice([None, 2]))
    if not message.get("tool_calls"):
        message.pop("tool_calls", None)
    if not message["content"]:
        message["content"] = chance.choice([None, "", []])
    return message


@pytest.mark.parametrize("seed", range(25))
def test_conversations_of_many_turns_are_continued_token_for_token(scripted, seed):
    """The model writes its JSON as no template would, so that a rendering would not give the same tokens."""
    chance = random.Random(seed)
    print("seed", seed)
    tokenizer = scripted.engine.tokenizer
    messages: list[Any] = [{"role": "user", "content": "go"}]
    known: list[int] = []
    for turn in range(8):
        arguments = '{ "b":' + str(turn) + ',"a" :"é\\u00e9"}'
        calls = [call(chance.choice(["f", "look_up"]), arguments) for _ in range(turn % 3)]
        said = "\n".join(filter(None, [chance.choice(["", "Let me see. ", "Hm\n"]), *calls])) or "Done."
        scripted.says(said)
        message, prompt = chat(scripted, messages, stream=chance.random() < 0.5)
        assert prompt[: len(known)] == known
        known = [*prompt, *tokenizer.encode(said), tokenizer.eos_token_ids[0]]
        messages.append(respelled(message, chance))
        results = [
            {"role": "tool", "tool_call_id": one["id"], "content": f"result {turn}"}
            for one in message.get("tool_calls") or ()
        ]
        messages += results or [{"role": "user", "content": f"next {turn}"}]


def test_what_the_client_changed_is_rendered_anew(scripted):
    scripted.says("one", "two", "three")
    first, prompt = chat(scripted, [{"role": "user", "content": "go"}])
    changed = [{"role": "user", "content": "go"}, {**first, "content": "ONE"}, {"role": "user", "content": "on"}]
    _, after = chat(scripted, changed)
    text = b"".join(map(scripted.engine.tokenizer.token_bytes, after)).decode()
    assert "ONE" in text
    assert after[: len(prompt)] == prompt


def test_a_turn_that_a_stop_string_cut_is_rendered_as_the_client_saw_it(scripted):
    scripted.says("one STOP two", "three")
    first, _ = chat(scripted, [{"role": "user", "content": "go"}], stop=["STOP"])
    assert first["content"] == "one "
    _, after = chat(scripted, [{"role": "user", "content": "go"}, first, {"role": "user", "content": "on"}])
    assert "STOP" not in b"".join(map(scripted.engine.tokenizer.token_bytes, after)).decode()


def test_every_choice_can_be_gone_on_with(scripted):
    scripted.says("hello")
    body = {"messages": [{"role": "user", "content": "go"}], "n": 2}
    httpx.post(f"{scripted.url}/v1/chat/completions", json=body)
    spliced = metrics(scripted)["agenthost_transcript_turns_spliced_total"]
    chat(scripted, [body["messages"][0], {"role": "assistant", "content": "hello"}, {"role": "user", "content": "on"}])
    chat_without_tools = {"messages": [*body["messages"], {"role": "assistant", "content": "hello"},
                                       {"role": "user", "content": "on"}]}  # fmt: skip
    httpx.post(f"{scripted.url}/v1/chat/completions", json=chat_without_tools)
    # Found with the tools that stood at its front, and only so.
    assert metrics(scripted)["agenthost_transcript_turns_spliced_total"] == spliced + 1


def metrics(scripted) -> dict[str, float]:
    lines = httpx.get(f"{scripted.url}/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_mismatches_are_counted(scripted):
    before = metrics(scripted).get('agenthost_transcript_mismatches_total{cause="unknown"}', 0)
    unknown = {"role": "assistant", "content": "never said"}
    chat(scripted, [{"role": "user", "content": "go"}, unknown, {"role": "user", "content": "on"}])
    assert metrics(scripted)['agenthost_transcript_mismatches_total{cause="unknown"}'] == before + 1


def test_the_memory_of_turns_is_bounded_and_the_oldest_go_first():
    transcript = Transcript(max_tokens=10)
    digests = digests_after(beginning("me"), [{"role": "assistant", "content": str(n)} for n in range(5)])
    for digest in digests:
        transcript.put(digest, Turn(None, ids_of([1, 2, 3])))
    assert transcript.tokens == 9
    assert len(transcript) == 3
    transcript.put(digests[-1], Turn(None, ids_of([1])))
    assert transcript.tokens == 7
