"""Responses that the server keeps: read, deleted, continued, in conversations, worked on in the background."""

import asyncio
from typing import Any

import openai
import pytest


def test_what_is_stored_can_be_read_listed_and_deleted(scripted, client):
    scripted.says("one")
    response = client.responses.create(model="m", input="hi", metadata={"k": "v"})
    found = client.responses.retrieve(response.id)
    assert (found.output_text, found.metadata) == ("one", {"k": "v"})
    [item] = client.responses.input_items.list(response.id).data
    assert item.content[0].text == "hi"
    client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.delete(response.id)


def test_what_is_not_stored_cannot_be_read(scripted, client):
    response = client.responses.create(model="m", input="hi", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(response.id)
    with pytest.raises(openai.BadRequestError) as problem:
        client.responses.create(model="m", input="on", previous_response_id=response.id)
    assert problem.value.code == "previous_response_not_found"


def test_a_deleted_response_is_still_behind_those_that_continue_it(scripted, client):
    scripted.says("one", "two", "three")
    first = client.responses.create(model="m", input="first")
    second = client.responses.create(model="m", input="second", previous_response_id=first.id)
    client.responses.delete(first.id)
    client.responses.create(model="m", input="third", previous_response_id=second.id)
    assert "first" in scripted.engine.prompt_text()
    assert "one" in scripted.engine.prompt_text()


def test_a_conversation_grows_with_its_responses(scripted, client):
    scripted.says("Hi Ada.", "You are Ada.")
    conversation = client.conversations.create(metadata={"topic": "names"})
    client.responses.create(model="m", input="I am Ada.", conversation=conversation.id)
    client.responses.create(model="m", input="Who am I?", conversation=conversation.id)
    first, second = scripted.engine.requests
    written = [*first.prompt, *scripted.engine.tokenizer.encode("Hi Ada.")]
    assert second.prompt[: len(written)] == written
    items: Any = client.conversations.items.list(conversation.id, order="asc").data
    assert [item.content[0].text for item in items] == ["I am Ada.", "Hi Ada.", "Who am I?", "You are Ada."]
    assert client.conversations.items.retrieve(items[0].id, conversation_id=conversation.id).id == items[0].id
    client.conversations.items.delete(items[0].id, conversation_id=conversation.id)
    assert len(client.conversations.items.list(conversation.id).data) == 3
    assert client.conversations.update(conversation.id, metadata={"topic": "x"}).metadata == {"topic": "x"}
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.conversations.retrieve(conversation.id)


def test_background_and_a_stream_that_is_resumed(scripted, client):
    scripted.says("Hello!")
    events: Any = client.responses.create(model="m", input="go", background=True, stream=True)
    first = [next(events) for _ in range(5)]
    assert [event.type for event in first[:3]] == ["response.created", "response.queued", "response.in_progress"]
    response_id = first[0].response.id
    events.close()
    rest = list(client.responses.retrieve(response_id, stream=True, starting_after=first[-1].sequence_number))
    assert rest[0].sequence_number == 5
    assert rest[-1].type == "response.completed"
    again = list(client.responses.retrieve(response_id, stream=True, starting_after=first[-1].sequence_number))
    assert [event.model_dump() for event in again] == [event.model_dump() for event in rest]
    assert client.responses.retrieve(response_id).output_text == "Hello!"


def test_background_work_is_cancelled(scripted, client):
    scripted.says("An answer without end.")
    scripted.engine.gate = lambda: asyncio.Event().wait()
    response = client.responses.create(model="m", input="go", background=True)
    assert response.status == "queued"
    events: Any = client.responses.retrieve(response.id, stream=True)
    for event in events:
        if event.type == "response.output_text.delta":
            break
    with pytest.raises(openai.BadRequestError, match="is still queued"):
        client.responses.create(model="m", input="on", previous_response_id=response.id)
    cancelled = client.responses.cancel(response.id)
    assert cancelled.status == "cancelled"
    assert list(events)[-1].response.status == "cancelled"
    assert client.responses.retrieve(response.id).status == "cancelled"
    assert client.responses.cancel(response.id).status == "cancelled"
    assert scripted.engine.aborted == [scripted.engine.requests[0].id]


def test_only_background_work_can_be_cancelled(scripted, client):
    response = client.responses.create(model="m", input="go")
    with pytest.raises(openai.BadRequestError, match="background"):
        client.responses.cancel(response.id)
