"""Chat completions whose tools run in the server: real sandboxes, real HTTP, and a model that follows a script."""

import json
from typing import Any

import httpx
import openai
import pytest

from .calls import call


def python(code):
    return call("python", code=code)


def ask(client, *messages, tools=("python",), stream=False, extra=None, own=(), **more) -> Any:
    said = [{"role": "user", "content": message} if isinstance(message, str) else message for message in messages]
    extension = {"hosted_tools": list(tools), **(extra or {})}
    if own:
        more["tools"] = list(own)
    return client.chat.completions.create(model="m", messages=said, extra_body=extension, stream=stream, **more)


def test_the_server_runs_the_tools_and_reports_the_steps(scripted, client):
    scripted.says("Let me see.\n" + python("6 * 7"), "It is 42.")
    answer = ask(client, "go")
    message = answer.choices[0].message
    assert message.content == "Let me see.\n\nIt is 42."
    assert message.tool_calls is None
    assert answer.choices[0].finish_reason == "stop"
    [step] = message.steps
    assert (step["type"], step["name"], step["status"], step["output"]) == ("tool_call", "python", "completed", "42")
    assert json.loads(step["arguments"]) == {"code": "6 * 7"}
    asked = [len(request.prompt) for request in scripted.engine.requests]
    assert answer.usage.prompt_tokens == sum(asked)
    assert answer.usage.prompt_tokens_details.cached_tokens == 14


def test_a_stream_says_what_the_whole_answer_says(scripted, client):
    scripted.says("Let me see.\n" + python("6 * 7"), "It is 42.")
    chunks = list(ask(client, "go", stream=True, stream_options={"include_usage": True}))
    deltas = [chunk.choices[0].delta for chunk in chunks if chunk.choices]
    assert "".join(delta.content or "" for delta in deltas) == "Let me see.\n\nIt is 42."
    steps = [step for delta in deltas for step in getattr(delta, "steps", [])]
    assert [step["status"] for step in steps] == ["in_progress", "completed"]
    assert steps[0]["id"] == steps[1]["id"]
    assert steps[1]["output"] == "42"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 0
    assert {chunk.session_id for chunk in chunks} == {chunks[0].session_id}


def test_a_session_goes_on_where_it_was(scripted, client):
    scripted.says(python("x = 5"), "done", python("x + 1"), "six")
    first = ask(client, "go")
    second = ask(client, "go on", extra={"session_id": first.session_id})
    assert second.session_id == first.session_id
    assert second.choices[0].message.steps[0]["output"] == "6"


@pytest.mark.parametrize("field", ["continue_final_message", "return_token_ids", "add_generation_prompt"])
def test_what_does_not_go_with_hosted_tools_is_refused_by_name(scripted, client, field):
    said = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": "he"})
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, *said, extra={field: field != "add_generation_prompt"})
    assert caught.value.param == field
    assert scripted.engine.requests == []


def test_an_unknown_session_is_refused(client):
    with pytest.raises(openai.NotFoundError, match="no such session") as problem:
        ask(client, "go", extra={"session_id": "guessed"})
    assert problem.value.code == "session_not_found"


def test_a_tool_that_is_not_there_is_refused_with_those_that_are(client):
    with pytest.raises(openai.BadRequestError, match=r"no hosted tool 'teleport'.*groups python, files"):
        ask(client, "go", tools=["teleport"])


def test_a_group_means_all_its_tools_and_a_name_just_one(scripted, client):
    scripted.says("ok")
    ask(client, "go", tools=["files"])
    ask(client, "go", tools=["write_file"])
    group, single = (scripted.engine.prompt_text(turn) for turn in range(2))
    assert '"read_text_file"' in group
    assert '"write_file"' in group
    assert '"python"' not in group
    assert '"write_file"' in single
    assert '"read_text_file"' not in single


WEATHER: Any = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_of_the_clients_own_tool_is_handed_over(scripted, client, stream):
    scripted.says(python("1 + 1") + "\n" + call("weather"), "sunny")
    common: Any = {
        "model": "m", "messages": [{"role": "user", "content": "go"}], "tools": [WEATHER],
        "extra_body": {"hosted_tools": ["python"]},
    }  # fmt: skip
    if stream:
        deltas = [chunk.choices[0] for chunk in client.chat.completions.create(**common, stream=True)]
        reason = deltas[-1].finish_reason
        calls = next(choice.delta.tool_calls for choice in deltas if choice.delta.tool_calls)
    else:
        choice = client.chat.completions.create(**common).choices[0]
        reason, calls = choice.finish_reason, choice.message.tool_calls
    assert reason == "tool_calls"
    assert [(one.function.name, one.function.arguments) for one in calls] == [("weather", "{}")]
    written = [{"id": calls[0].id, "type": "function", "function": {"name": "weather", "arguments": "{}"}}]
    turn = {"role": "assistant", "content": None, "tool_calls": written}
    result = {"role": "tool", "tool_call_id": calls[0].id, "content": "sun"}
    client.chat.completions.create(**{**common, "messages": [*common["messages"], turn, result]})
    first, second = scripted.engine.requests
    tokenizer = scripted.engine.tokenizer
    assert prefix(second.prompt, first.prompt + tokenizer.encode(python("1 + 1") + "\n" + call("weather")))
    rest = b"".join(map(tokenizer.token_bytes, second.prompt[len(first.prompt) :])).decode()
    assert rest.index("\n2\n") < rest.index("\nsun\n")


def prefix(whole, part):
    return whole[: len(part)] == part


def test_what_the_client_sends_back_is_continued_with_the_steps_behind_it(scripted, client):
    scripted.says("Let me see.\n" + python("6 * 7"), "It is 42.", "Welcome.")
    first = ask(client, "go")
    shown = {"role": "assistant", "content": first.choices[0].message.content}
    ask(client, "go", shown, "thanks")
    requests = scripted.engine.requests
    tokenizer = scripted.engine.tokenizer
    written = [*requests[1].prompt, *tokenizer.encode("It is 42."), tokenizer.eos_token_ids[0]]
    assert prefix(requests[2].prompt, written)


def test_the_calls_are_limited_and_then_the_model_must_answer(scripted, client):
    scripted.says(python("1") + "\n" + python("2"), "enough")
    answer = ask(client, "go", extra={"max_tool_calls": 1})
    assert [step["output"] for step in answer.choices[0].message.steps] == ["1"]
    first, second = scripted.engine.requests
    assert "no more tool calls" in scripted.engine.prompt_text()
    assert "excludes" not in first.sampling.grammar.source
    assert "excludes" in second.sampling.grammar.source


def test_when_the_calls_are_used_up_the_clients_own_tools_are_left(scripted, client):
    scripted.says(python("1"), call("weather"))
    answer = ask(client, "go", extra={"max_tool_calls": 1}, own=[WEATHER])
    assert answer.choices[0].finish_reason == "tool_calls"
    first, second = (request.sampling.grammar.source for request in scripted.engine.requests)
    assert "python" in first
    assert "python" not in second
    assert "weather" in second


def test_a_task_that_never_ends_is_cut_off(scripted, client):
    scripted.says(call("list_directory", path="."))
    answer = ask(client, "go", tools=["files"], own=[WEATHER])
    assert answer.choices[0].finish_reason == "length"
    response = client.responses.create(
        model="m", input="go", tools=[{"type": "code_interpreter", "container": {"type": "auto"}}]
    )
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_a_forced_call_is_forced_once(scripted, client):
    scripted.says(python("1"), "done")
    ask(client, "go", tool_choice="required")
    first, second = scripted.engine.requests
    assert "at_least_one" in first.sampling.grammar.source
    assert "at_least_one" not in second.sampling.grammar.source


def test_max_tokens_counts_over_all_steps(scripted, client):
    scripted.says("x" * 10 + python("1"), "y" * 500)
    answer = ask(client, "go", max_tokens=150)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 150


def test_what_means_nothing_with_hosted_tools_is_refused(client):
    with pytest.raises(openai.BadRequestError, match="one choice"):
        ask(client, "go", n=2)
    with pytest.raises(openai.BadRequestError, match="logprobs"):
        ask(client, "go", logprobs=True)


def test_a_client_that_leaves_stops_the_tool(scripted):
    scripted.says(python("import time\nwhile True: time.sleep(1)"), python("'still ' + 'there'"), "ok")
    body = {"messages": [{"role": "user", "content": "go"}], "hosted_tools": ["python"], "stream": True}
    url = f"{scripted.url}/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60) as stream:
        begun = next(line for line in stream.iter_lines() if '"in_progress"' in line)
    session = json.loads(begun.removeprefix("data: "))["session_id"]
    # The interpreter runs one call at a time: it would not answer if the first one were still running.
    again = httpx.post(url, json={**body, "stream": False, "session_id": session}, timeout=30).json()
    assert again["choices"][0]["message"]["steps"][0]["output"].endswith("'still there'")
