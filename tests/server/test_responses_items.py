"""Items that refer to others, thoughts, compacted conversations, and log-probabilities; through OpenAI's client."""

import json
from typing import Any

import openai
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig
from agenthost.tools.browser.config import BrowserConfig

from .calls import call


def test_references_stand_for_the_items_of_stored_responses(scripted, client):
    tool: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    scripted.says("I look. " + call("python", code="6 * 7"), "It is 42.", "Yes.")
    first = client.responses.create(model="m", input="go", tools=[tool])
    references = [{"type": "item_reference", "id": item.id} for item in first.output]
    asked: Any = [{"role": "user", "content": "go"}, *references, {"role": "user", "content": "sure?"}]
    second = client.responses.create(model="m", input=asked, tools=[tool])
    assert second.output_text == "Yes."
    _, before, after = scripted.engine.requests
    written = [*before.prompt, *scripted.engine.tokenizer.encode("It is 42.")]
    assert after.prompt[: len(written)] == written
    kinds = [item.type for item in client.responses.input_items.list(second.id, order="asc").data]
    assert kinds == ["message", *(item.type for item in first.output), "message"]


def test_a_reference_to_nothing_is_not_found(scripted, client):
    kept = client.responses.create(model="m", input="go").output[0].id
    lost = client.responses.create(model="m", input="go", store=False).output[0].id
    deleted = client.responses.create(model="m", input="go")
    client.responses.delete(deleted.id)
    assert client.responses.create(model="m", input=[{"type": "item_reference", "id": kept}]).output_text
    for item_id in (lost, deleted.output[0].id, "msg_1"):
        with pytest.raises(openai.NotFoundError, match=item_id):
            client.responses.create(model="m", input=[{"type": "item_reference", "id": item_id}])


@pytest.fixture(scope="module")
def thinker(tmp_path_factory, write_model, make_engine, make_server):
    """A model that thinks, as GLM does."""
    folder = write_model(tmp_path_factory.mktemp("thinker"), template="glm45", special=("<|user|>",), eos="<|user|>")
    engine = make_engine(folder, lambda request: "<think>I should greet.</think>Hello!")
    config = ServerConfig(engine=EngineConfig(model=str(folder)), served_model_name=("m",))
    with make_server(config, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        yield engine, client


def test_thoughts_are_items_of_their_own(thinker):
    _, client = thinker
    events: Any = list(client.responses.create(model="m", input="hi", stream=True))
    reasoning, message = events[-1].response.output
    assert (reasoning.type, reasoning.content[0].text) == ("reasoning", "I should greet.")
    assert message.content[0].text == "Hello!"
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_text.delta")
    assert thought == "I should greet."
    assert events[-1].response.usage.output_tokens_details.reasoning_tokens > 0
    assert reasoning.encrypted_content is None


def test_a_budget_bounds_the_thoughts_of_every_turn(thinker):
    engine, client = thinker
    client.responses.create(model="m", input="hi", extra_body={"thinking_token_budget": 20})
    tag = json.loads(engine.requests[-1].sampling.grammar.source)["format"]
    assert tag["elements"][0]["content"]["elements"][1]["content"]["max_tokens"] == 20


@pytest.mark.parametrize("stream", [True, False])
def test_thoughts_may_be_left_out_with_hosted_tools_too(thinker, stream):
    _, client = thinker
    said: Any = [{"role": "user", "content": "hi"}]
    extra = {"hosted_tools": ["python"], "include_reasoning": False}
    answer: Any = client.chat.completions.create(model="m", messages=said, extra_body=extra, stream=stream)
    shown = " ".join(chunk.model_dump_json() for chunk in answer) if stream else answer.model_dump_json()
    assert "reasoning_content" not in shown
    assert "greet" not in shown


@pytest.mark.parametrize("readable", [True, False])
def test_thoughts_come_back_by_their_text_or_sealed(thinker, readable):
    engine, client = thinker
    first: Any = client.responses.create(model="m", input="hi", store=False, include=["reasoning.encrypted_content"])
    reasoning, message = (item.model_dump(exclude_none=True) for item in first.output)
    if not readable:
        del reasoning["content"]
    asked: Any = [{"role": "user", "content": "hi"}, reasoning, message, {"role": "user", "content": "again"}]
    client.responses.create(model="m", input=asked, store=False)
    written = engine.tokenizer.encode("<think>I should greet.</think>Hello!")
    before, after = engine.requests[-2:]
    assert after.prompt[: len(before.prompt) + len(written)] == [*before.prompt, *written]


def test_a_conversation_is_compacted_to_a_summary_and_what_users_said(scripted, lenient_client):
    scripted.says("Hi Ada.", "Ada likes maths.", "Maths.")
    first = lenient_client.responses.create(model="m", input="I am Ada. I like maths.")
    compacted: Any = lenient_client.responses.compact(model="m", previous_response_id=first.id)
    assert (compacted.object, [item.type for item in compacted.output]) == (
        "response.compaction", ["message", "compaction"],
    )  # fmt: skip
    assert compacted.usage.output_tokens > 0
    one, two = scripted.engine.requests
    written = [*one.prompt, *scripted.engine.tokenizer.encode("Hi Ada.")]
    assert two.prompt[: len(written)] == written
    items = [item.model_dump(exclude_none=True) for item in compacted.output]
    lenient_client.responses.create(model="m", input=[*items, {"role": "user", "content": "What do I like?"}])
    assert "Ada likes maths." in scripted.engine.prompt_text()
    assert "I am Ada." in scripted.engine.prompt_text()
    assert "Hi Ada." not in scripted.engine.prompt_text()


def test_half_a_summary_and_none_are_failures(scripted, lenient_client):
    for said, message in (("x" * 4000, "cut off after"), ("", "no summary")):
        scripted.says(said)
        with pytest.raises(openai.InternalServerError, match=message):
            lenient_client.responses.compact(model="m", input="I am Ada.")
    scripted.engine.requests.clear()
    with pytest.raises(openai.BadRequestError, match="maximum context length") as caught:
        lenient_client.responses.compact(model="m", input="x" * 3550)  # fits, with little room
    assert caught.value.code == "context_length_exceeded"
    assert scripted.engine.requests == []


def test_a_summary_is_written_without_thoughts(thinker):
    engine, client = thinker
    assert client.responses.compact(model="m", input="I am Ada.").output[-1].type == "compaction"
    tag = json.loads(engine.requests[-1].sampling.grammar.source)["format"]
    assert tag["elements"][0]["content"]["elements"][1]["content"]["max_tokens"] == 0


def test_log_probabilities_of_what_was_said(scripted, client):
    scripted.says("Let me see. " + call("python", code="1"), "Hé!")
    tool: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
    events: Any = list(client.responses.create(model="m", input="go", top_logprobs=2, tools=[tool], stream=True))
    for item in (item for item in events[-1].response.output if item.type == "message"):
        [part] = item.content
        spelled = b"".join(bytes(token.bytes) for token in part.logprobs).decode()
        assert spelled.strip() == part.text.strip()
        assert all(len(token.top_logprobs) == 2 for token in part.logprobs)
    deltas = [event for event in events if event.type == "response.output_text.delta"]
    assert sum(len(event.logprobs) for event in deltas) == sum(
        len(item.content[0].logprobs) for item in events[-1].response.output if item.type == "message"
    )
    plain: Any = client.responses.create(model="m", input="go")
    assert plain.output[-1].content[0].logprobs == []


def test_a_web_search_of_a_folder_of_documents(tmp_path, model_folder, make_engine, make_server):
    (tmp_path / "tides.md").write_text("# Tides\n\nThe tide turns at noon in Bergen.\n")
    engine = make_engine(model_folder, None)
    script = [call("search", query="tides Bergen"), call("open", id=0), "At noon."]
    engine.play = lambda request: script.pop(0)
    browsing = BrowserConfig(search_index=str(tmp_path))
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), served_model_name=("m",), browsing=browsing)
    with make_server(config, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x") as client:
        events: Any = list(
            client.responses.create(model="m", input="When?", tools=[{"type": "web_search"}], stream=True)
        )
    searched, opened, message = events[-1].response.output
    assert (searched.type, searched.status, searched.action.type) == ("web_search_call", "completed", "search")
    assert searched.action.query == "tides Bergen"
    assert (opened.status, opened.action.type) == ("completed", "open_page")
    assert message.content[0].text == "At noon."
    kinds = [event.type.rpartition(".")[2] for event in events if event.type.startswith("response.web_search_call")]
    assert kinds == ["in_progress", "searching", "completed"] * 2
    assert "The tide turns at noon" in engine.prompt_text()
