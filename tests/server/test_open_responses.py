"""The cases of the Open Responses compliance suite that need neither images nor WebSockets, over plain HTTP.

They are those of its revision 92c12d96 (July 2026). The suite itself is not run here: it needs bun, and no package
registry has it.
"""

import json
from typing import Any

import httpx
import jsonschema
import pytest

TOOL: Any = {
    "type": "function", "name": "get_weather", "description": "The weather of a place.",
    "parameters": {"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]},
}  # fmt: skip


@pytest.fixture(scope="module")
def schema(server):
    description = httpx.get(f"{server.url}/openapi.json").json()
    return {"$ref": "#/components/schemas/ResponseBody", "components": description["components"]}


@pytest.fixture
def ask(scripted, schema):
    def ask(**body):
        answer = httpx.post(f"{scripted.url}/v1/responses", json={"model": "m", **body}, timeout=30)
        assert answer.status_code == 200, answer.text
        jsonschema.validate(answer.json(), schema)
        return answer.json()

    return ask


def message(role, text):
    return {"type": "message", "role": role, "content": text}


def text_of(response):
    [said] = [item for item in response["output"] if item["type"] == "message"]
    assert (said["role"], said["status"]) == ("assistant", "completed")
    return "".join(part["text"] for part in said["content"])


def test_basic_text_response(scripted, ask):
    response = ask(input=[message("user", "Say hello in exactly 3 words.")])
    assert (text_of(response), response["status"], response["error"]) == ("hello", "completed", None)


def test_streaming_response(scripted, schema):
    body = {"model": "m", "input": [message("user", "Count.")], "stream": True}
    with httpx.stream("POST", f"{scripted.url}/v1/responses", json=body) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = [line for line in stream.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    names = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    events = [json.loads(line.removeprefix("data: ")) for line in lines[:-1] if line.startswith("data: ")]
    assert names == [event["type"] for event in events]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    for event in events:
        if "response" in event:
            jsonschema.validate(event["response"], schema)


def test_system_prompt(scripted, ask):
    ask(input=[message("system", "You are a pirate."), message("user", "Say hello.")])
    assert "You are a pirate." in scripted.engine.prompt_text()


@pytest.mark.parametrize("choice", ["auto", "required", {"type": "function", "name": "get_weather"}], ids=str)
def test_tool_calling(scripted, ask, choice):
    scripted.says('<tool_call>\n{"name": "get_weather", "arguments": {"location": "Paris"}}\n</tool_call>')
    response = ask(input=[message("user", "What's the weather in Paris?")], tools=[TOOL], tool_choice=choice)
    [call] = response["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "get_weather", "completed")
    assert json.loads(call["arguments"]) == {"location": "Paris"}
    assert response["tools"][0]["strict"] in (True, False)


def test_tool_round_trip(scripted, ask):
    call = {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": '{"location": "Paris"}'}
    output = {"type": "function_call_output", "call_id": "call_1", "output": "18 degrees"}
    assert text_of(ask(input=[message("user", "The weather in Paris?"), call, output], tools=[TOOL])) == "hello"
    assert "18 degrees" in scripted.engine.prompt_text()


def test_multi_turn_conversation(scripted, ask):
    turns = [message("user", "My name is Alice."), message("assistant", "Hello Alice!"), message("user", "My name?")]
    ask(input=turns)
    assert all(turn["content"] in scripted.engine.prompt_text() for turn in turns)


def test_previous_response(scripted, ask):
    first = ask(input=[message("user", "My name is Alice.")])
    second = ask(input=[message("user", "My name?")], previous_response_id=first["id"])
    assert second["previous_response_id"] == first["id"]
    assert "My name is Alice." in scripted.engine.prompt_text()


def test_assistant_phase(scripted, ask):
    """Where in its work the assistant said something: kept by clients, and sent back with the message."""
    said = [("commentary", "I should answer with the saved number."), ("final_answer", "The number is four.")]
    turns = [{**message("assistant", text), "phase": phase} for phase, text in said]
    ask(input=[*turns, message("user", "Repeat only the number.")])
    assert all(text in scripted.engine.prompt_text() for _, text in said)


def test_a_schemas_format_shows_every_key(scripted, ask):
    scripted.says('{"n": 1}')
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    response = ask(input="A number?", text={"format": {"type": "json_schema", "name": "n", "schema": schema}})
    shown = {"type": "json_schema", "name": "n", "description": None, "schema": schema, "strict": True}
    assert response["text"]["format"] == shown


def test_compaction(scripted, ask):
    body: Any = {"model": "m", "input": [message("user", "My name is Alice."), message("assistant", "Hello Alice!")]}
    body["prompt_cache_key"] = "openresponses-compact-test"
    compacted = httpx.post(f"{scripted.url}/v1/responses/compact", json=body).json()
    assert compacted["object"] == "response.compaction"
    assert compacted["output"][-1]["type"] == "compaction"
    assert text_of(ask(input=[*compacted["output"], message("user", "My name?")])) == "hello"


def test_compaction_needs_a_model(scripted):
    body = {"input": [message("user", "Compact this conversation.")]}
    answer = httpx.post(f"{scripted.url}/v1/responses/compact", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "model"
