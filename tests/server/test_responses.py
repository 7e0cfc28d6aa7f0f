"""The Responses API through OpenAI's own client, which checks every shape strictly; the model follows a script."""

import json
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from .calls import call

REQUIRED = [
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "truncation", "parallel_tool_calls", "text", "top_p",
    "presence_penalty", "frequency_penalty", "top_logprobs", "temperature", "reasoning", "user", "usage",
    "max_output_tokens", "max_tool_calls", "store", "background", "service_tier", "metadata", "safety_identifier",
    "prompt_cache_key",
]  # fmt: skip
WEATHER: Any = {
    "type": "function", "name": "weather", "strict": True,
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}  # fmt: skip
CODE: Any = {"type": "code_interpreter", "container": {"type": "auto"}}


def stream(client, **wanted) -> list[Any]:
    """The events of a stream, checked for what all streams have in common."""
    events: list[Any] = list(client.responses.create(model="m", stream=True, **wanted))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    terminal = ("response.completed", "response.failed", "response.incomplete")
    assert [event.type for event in events if event.type in terminal] == [events[-1].type]
    added = [event.item.id for event in events if event.type == "response.output_item.added"]
    done = [event.item.id for event in events if event.type == "response.output_item.done"]
    assert sorted(added) == sorted(done) == sorted(item.id for item in events[-1].response.output)
    return events


def test_a_text_has_every_required_key(scripted, client):
    scripted.says("Hello!")
    raw = client.responses.with_raw_response.create(model="m", input="hi", instructions="Be brief.")
    body = json.loads(raw.text)
    assert [key for key in REQUIRED if key not in body] == []
    response = raw.parse()
    assert (response.output_text, response.status) == ("Hello!", "completed")
    assert response.usage.input_tokens == len(scripted.engine.requests[0].prompt)
    assert response.usage.input_tokens_details.cached_tokens == 7
    assert body["text"]["verbosity"] == "medium"
    assert "Be brief." in scripted.engine.prompt_text()


def test_the_events_of_a_text(scripted, client):
    scripted.says("Hello!")
    events = stream(client, input="hi")
    kinds = [event.type.removeprefix("response.") for event in events]
    start, end = kinds[:4], kinds[-4:]
    assert start == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert end == ["output_text.done", "content_part.done", "output_item.done", "completed"]
    assert set(kinds[4:-4]) == {"output_text.delta"}
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hello!"
    assert events[0].response.status == "in_progress"
    assert events[-1].response.output_text == "Hello!"


def test_a_function_call_and_its_result_by_response_id(scripted, client):
    scripted.says("I look.\n" + call("weather", city="Oslo"), "Sunny.")
    events = stream(client, input="weather?", tools=[WEATHER])
    deltas = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    first = events[-1].response
    message, function = first.output
    assert message.content[0].text == "I look."
    assert "".join(deltas) == function.arguments == '{"city": "Oslo"}'
    second = client.responses.create(
        model="m", previous_response_id=first.id, tools=[WEATHER],
        input=[{"type": "function_call_output", "call_id": function.call_id, "output": "sun"}],
    )  # fmt: skip
    assert second.output_text == "Sunny."
    assert second.previous_response_id == first.id
    asked = scripted.engine.requests
    tokenizer = scripted.engine.tokenizer
    written = tokenizer.encode("I look.\n" + call("weather", city="Oslo"))
    assert asked[1].prompt[: len(asked[0].prompt) + len(written)] == asked[0].prompt + written
    assert "\nsun\n" in scripted.engine.prompt_text()


def test_a_client_that_keeps_its_own_history_sends_the_items_back(scripted, client):
    scripted.says("I look.\n" + call("weather", city="Oslo"), "Sunny.")
    first = client.responses.create(model="m", input="weather?", tools=[WEATHER], store=False)
    items = [item.model_dump(exclude_none=True) for item in first.output]
    output = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "sun"}
    asked = [{"role": "user", "content": "weather?"}, *items, output]
    client.responses.create(model="m", input=asked, tools=[WEATHER], store=False)
    one, two = scripted.engine.requests
    written = scripted.engine.tokenizer.encode("I look.\n" + call("weather", city="Oslo"))
    assert two.prompt[: len(one.prompt) + len(written)] == one.prompt + written


def test_code_runs_and_shows_its_outputs_when_asked(scripted, client):
    scripted.says("Let me see.\n" + call("python", code='print("é\\n" * 2)'), "Done.")
    events = stream(client, input="go", tools=[CODE], include=["code_interpreter_call.outputs"])
    code = "".join(event.delta for event in events if event.type == "response.code_interpreter_call_code.delta")
    assert code == 'print("é\\n" * 2)'
    kinds = [event.type.removeprefix("response.code_interpreter_call") for event in events]
    kinds = [kind for kind in dict.fromkeys(kinds) if not kind.startswith("response")]
    assert kinds == [".in_progress", "_code.delta", "_code.done", ".interpreting", ".completed"]
    response = events[-1].response
    assert [item.type for item in response.output] == ["message", "code_interpreter_call", "message"]
    item = response.output[1]
    assert (item.code, item.status, item.outputs[0].logs) == (code, "completed", "é\né")
    assert item.container_id.startswith("cntr_")
    assert client.responses.retrieve(response.id).output[1].outputs is not None


def test_outputs_of_code_are_hidden_when_not_asked_for(scripted, client):
    scripted.says(call("python", code="1+1"), "Done.")
    response = client.responses.create(model="m", input="go", tools=[CODE])
    assert response.output[0].outputs is None
    shown = client.responses.retrieve(response.id, include=["code_interpreter_call.outputs"])
    assert shown.output[0].outputs[0].logs == "2"


def test_a_container_goes_on_in_the_next_response(scripted, client):
    scripted.says(call("python", code="x = 41"), "ok", call("python", code="x + 1"), "42")
    first = client.responses.create(model="m", input="go", tools=[CODE])
    second = client.responses.create(
        model="m", input="on", tools=[CODE], previous_response_id=first.id, include=["code_interpreter_call.outputs"]
    )
    assert second.output[0].container_id == first.output[0].container_id
    assert second.output[0].outputs[0].logs == "42"
    third = "It is " + call("python", code="x + 2")
    scripted.says(third, "43")
    explicit = {"type": "code_interpreter", "container": first.output[0].container_id}
    again = client.responses.create(
        model="m", input="on", tools=[explicit], include=["code_interpreter_call.outputs"], store=False
    )
    assert again.output[1].outputs[0].logs == "43"


def test_hosted_steps_that_a_client_sends_back_are_continued_token_for_token(scripted, client):
    scripted.says(call("python", code="1+1"), "It is 2.", "Welcome.")
    first = client.responses.create(model="m", input="go", tools=[CODE], store=False)
    items = [item.model_dump(exclude_none=True) for item in first.output]
    asked = [{"role": "user", "content": "go"}, *items, {"role": "user", "content": "thanks"}]
    client.responses.create(model="m", input=asked, tools=[CODE], store=False)
    _, before, after = scripted.engine.requests
    written = [*before.prompt, *scripted.engine.tokenizer.encode("It is 2.")]
    assert after.prompt[: len(written)] == written


def test_files_as_a_connector(scripted):
    # The client's types know OpenAI's own connectors only.
    client = openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="x")
    scripted.says(call("write_file", path="a.txt", content="hi"), call("read_text_file", path="b.txt"), "Done.")
    tool = {"type": "mcp", "server_label": "files", "connector_id": "agenthost_files", "require_approval": "never"}
    events = stream(client, input="go", tools=[tool])
    listed, wrote, read, message = events[-1].response.output
    assert listed.type == "mcp_list_tools"
    assert "write_file" in [tool.name for tool in listed.tools]
    assert (wrote.name, wrote.status, wrote.error) == ("write_file", "completed", None)
    assert json.loads(wrote.arguments) == {"path": "a.txt", "content": "hi"}
    assert (read.status, read.output) == ("failed", None)
    assert message.content[0].text == "Done."
    kinds = [event.type for event in events if event.type.startswith("response.mcp_call.")]
    assert kinds == [f"response.mcp_call.{kind}" for kind in ("in_progress", "completed", "in_progress", "failed")]


def test_the_connectors_calls_are_asked_for_like_those_of_any_server(scripted):
    client: Any = openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="x")
    files = {
        "type": "mcp", "server_label": "files", "connector_id": "agenthost_files",
        "require_approval": {"never": {"read_only": True}},
    }  # fmt: skip
    scripted.says(call("write_file", path="a.txt", content="hi") + "\n" + call("list_directory", path="."))
    first = client.responses.create(model="m", input="go", tools=[files])
    assert [item.type for item in first.output] == ["mcp_list_tools", "mcp_approval_request", "mcp_call"]
    assert first.output[1].name == "write_file"
    answer = {"type": "mcp_approval_response", "approval_request_id": first.output[1].id, "approve": True}
    scripted.says(call("read_text_file", path="a.txt"), "Done.")
    second = client.responses.create(model="m", input=[answer], previous_response_id=first.id, tools=[files])
    wrote, read, _ = second.output
    assert (wrote.name, wrote.status, wrote.approval_request_id) == ("write_file", "completed", first.output[1].id)
    assert read.output == "hi"


def test_a_request_that_is_refused_leaves_no_container(scripted, client, tmp_path):
    def containers():
        return client.containers.list(limit=100).data

    before = containers()
    with pytest.raises(openai.BadRequestError, match="maximum context length"):
        client.responses.create(model="m", input="x" * 5000, tools=[CODE])
    file = client.files.create(file=("..", b"x"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="cannot be put"):
        client.containers.create(name="c", file_ids=[file.id])
    assert containers() == before


def test_custom_tools_take_text(scripted, client):
    scripted.says(call("run", input='say "hi"\n'), "ok")
    tool = {"type": "custom", "name": "run", "description": "Runs a script."}
    events = stream(client, input="go", tools=[tool])
    item = events[-1].response.output[0]
    assert (item.type, item.input) == ("custom_tool_call", 'say "hi"\n')
    deltas = [event.delta for event in events if event.type == "response.custom_tool_call_input.delta"]
    assert "".join(deltas) == item.input
    output = {"type": "custom_tool_call_output", "call_id": item.call_id, "output": "said"}
    previous = events[-1].response.id
    assert client.responses.create(model="m", input=[output], tools=[tool], previous_response_id=previous).output_text


@pytest.mark.parametrize(
    ("kind", "arguments", "read"),
    [
        ("local_shell", {"command": ["ls"]}, lambda item: item.action.command == ["ls"]),
        ("shell", {"commands": ["ls"]}, lambda item: item.action.commands == ["ls"]),
        (
            "apply_patch", {"type": "delete_file", "path": "a"},
            lambda item: (item.operation.type, item.operation.path) == ("delete_file", "a"),
        ),
    ],
)  # fmt: skip
def test_shells_and_patches_are_the_clients(scripted, client, kind, arguments, read):
    scripted.says(call(kind, **arguments), "ok")
    [item] = stream(client, input="go", tools=[{"type": kind}])[-1].response.output
    assert item.type == f"{kind}_call"
    assert read(item)
    output: Any = {"type": f"{kind}_call_output", "call_id": item.call_id, "id": item.call_id, "output": "fine"}
    again = [{"role": "user", "content": "go"}, item.model_dump(exclude_none=True), output]
    assert client.responses.create(model="m", input=again, tools=[{"type": kind}]).output_text == "ok"
    assert "\nfine\n" in scripted.engine.prompt_text()


def test_running_out_of_tokens_is_incomplete(scripted, client):
    scripted.says("A long answer.")
    response = stream(client, input="go", max_output_tokens=5)[-1].response
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.output_text == "A lon"


def test_a_failure_underway_ends_the_stream_with_one_terminal_event(scripted, client):
    from agenthost.engine import EngineError

    scripted.says("half", EngineError("it broke"))
    scripted.engine.play = lambda request: ["half", EngineError("it broke")]
    last = stream(client, input="go")[-1]
    assert last.type == "response.failed"
    assert (last.response.status, last.response.error.code) == ("failed", "server_error")
    with pytest.raises(openai.InternalServerError, match="it broke"):
        client.responses.create(model="m", input="go")


@pytest.mark.parametrize("untold", ["response.output_item.added", "response.output_text.done", "response.completed"])
def test_an_event_that_cannot_be_told_fails_the_response_and_the_end_is_still_told(
    scripted, client, monkeypatch, untold
):
    from agenthost.server.openai.responses import routes

    def writing(write):
        async def sink(event):
            if event["type"] == untold:
                raise UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed")
            await original(write)(event)

        return sink

    original = routes._writing
    monkeypatch.setattr(routes, "_writing", writing)
    events = list(client.responses.create(model="m", input="hi", stream=True))
    stored = client.responses.retrieve(events[0].response.id)
    if untold == "response.completed":  # all else was told, and it is stored by then
        assert stored.status == "completed"
    else:
        assert (events[-1].type, stored.status) == ("response.failed", "failed")
        assert client.responses.delete(stored.id) is None


def test_half_a_character_in_arguments_is_replaced(scripted, client):
    call = '<tool_call>\n{"name": "local_shell", "arguments": {"command": ["x\\ud83d"]}}\n</tool_call>'
    scripted.says(call, "ok")
    shell: Any = {"type": "local_shell"}
    first = client.responses.create(model="m", input="hi", tools=[shell])
    assert first.output[0].action.command == ["x\ufffd"]
    output: Any = {"type": "local_shell_call_output", "id": first.output[0].call_id, "output": "x"}
    again = client.responses.create(model="m", input=[output], previous_response_id=first.id, tools=[shell])
    assert again.output_text == "ok"


def test_a_schema_is_parsed(scripted, client):
    class Person(BaseModel):
        name: str
        age: int

    scripted.says('{"name": "Ada", "age": 36}')
    parsed = client.responses.parse(model="m", input="who?", text_format=Person).output_parsed
    assert parsed == Person(name="Ada", age=36)
    assert "json_schema" in scripted.engine.requests[0].sampling.grammar.kind


def test_the_streaming_helper(scripted, client):
    scripted.says("Hello!")
    with client.responses.stream(model="m", input="hi") as events:
        for _ in events:
            pass
        assert events.get_final_response().output_text == "Hello!"


def test_input_tokens_are_counted(scripted, client):
    count = client.responses.input_tokens.count(model="m", input="hello", tools=[WEATHER, CODE])
    scripted.says("x")
    response = client.responses.create(model="m", input="hello", tools=[CODE, WEATHER])
    assert count.input_tokens == response.usage.input_tokens


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"input": "x", "tools": [{"type": "computer_use_preview"}]}, "not supported"),
        ({"input": [{"type": "message", "role": "user", "content": [{"type": "input_image"}]}]}, "text only"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input\\[0\\].*incomplete"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "not found"),
        ({"input": []}, "no input"),
        ({"input": "x", "previous_response_id": "resp_1", "conversation": "conv_1"}, "not both"),
        ({"input": "x", "background": True, "store": False}, "background needs store"),
        ({"input": "x", "tools": [{**WEATHER}, {**WEATHER}]}, "Two tools"),
        ({"input": "x", "tool_choice": {"type": "function", "name": "nope"}, "tools": [WEATHER]}, "names no tool"),
        ({"input": "x", "tools": [{"type": "mcp", "server_label": "x", "connector_id": "x"}]}, "no connector"),
        ({"input": "x", "tools": [{**CODE, "container": {"type": "auto", "file_ids": ["?"]}}]}, "not found"),
        ({"input": "x", "tools": [{**CODE, "container": {"type": "auto", "file_ids": 3}}]}, "file_ids are a list"),
        ({"input": "x", "tools": [{**CODE, "container": {"type": "auto", "file_ids": [3]}}]}, "file_ids are a list"),
        ({"input": "x", "tool_choice": {"type": "allowed_tools", "tools": ["x"]}}, "list of objects"),
        ({"input": "x", "tool_choice": {"type": "allowed_tools", "tools": 3}}, "list of objects"),
        ({"input": [{"type": "item_reference", "id": "x"}] * 2}, "more than once"),
    ],
)  # fmt: skip
def test_bad_requests_are_told_what_is_wrong(client, wanted, says):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError), match=says):
        client.responses.create(model="m", **wanted)
