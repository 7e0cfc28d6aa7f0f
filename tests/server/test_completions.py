"""Completions without a chat template, through the real OpenAI client."""

from typing import Any

import httpx
import openai
import pytest


def ask(client, prompt: Any = "Once", **wanted):
    return client.completions.create(model="m", prompt=prompt, **wanted)


def test_goes_on_where_the_prompt_ends(scripted, client):
    answer = ask(client)
    assert (answer.object, answer.choices[0].text, answer.choices[0].finish_reason) == (
        "text_completion",
        "hello",
        "stop",
    )
    assert scripted.engine.tokenizer.decode(scripted.engine.requests[-1].prompt) == "Once"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (4, 6)
    assert answer.usage.prompt_tokens_details.cached_tokens == 7
    assert scripted.engine.requests[-1].sampling.max_tokens == 16


def test_several_prompts_have_their_choices_in_order(scripted, client):
    scripted.says("a", "b", "c", "d")
    answer = ask(client, ["one", "two"], n=2, seed=3)
    assert [(choice.index, choice.text) for choice in answer.choices] == [(0, "a"), (1, "b"), (2, "c"), (3, "d")]
    assert [request.sampling.seed for request in scripted.engine.requests] == [3, 4, 5, 6]
    assert answer.usage.prompt_tokens == 6


@pytest.mark.parametrize("prompt", [[79, 110], [[79, 110], [65]]], ids=str)
def test_prompts_may_be_token_ids(scripted, client, prompt):
    ask(client, prompt)
    assert [request.prompt for request in scripted.engine.requests] == (
        [prompt] if isinstance(prompt[0], int) else prompt
    )


def test_echo_repeats_the_prompt(lenient_client):
    assert ask(lenient_client, echo=True).choices[0].text == "Oncehello"
    assert ask(lenient_client, [79, 110], echo=True).choices[0].text.endswith("hello")
    assert "".join(chunk.choices[0].text for chunk in ask(lenient_client, echo=True, stream=True)) == "Oncehello"


def test_streams_what_the_whole_answer_says(lenient_client):
    chunks = list(ask(lenient_client, stream=True, stream_options={"include_usage": True}))
    assert "".join(chunk.choices[0].text for chunk in chunks if chunk.choices) == "hello"
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 6


def test_logprobs_are_in_the_old_shape(lenient_client):
    logprobs = ask(lenient_client, logprobs=2).choices[0].logprobs
    assert logprobs.tokens == list("hello")
    assert logprobs.text_offset == [0, 1, 2, 3, 4]
    assert logprobs.token_logprobs == [-0.5] * 5
    streamed = [
        t
        for c in ask(lenient_client, logprobs=0, stream=True)
        if c.choices[0].logprobs
        for t in c.choices[0].logprobs.tokens
    ]
    assert streamed == list("hello")


def test_token_ids_are_returned_on_request(lenient_client, scripted):
    wanted: Any = {"n": 2, "extra_body": {"return_token_ids": True}}
    whole = ask(lenient_client, **wanted).model_dump()["choices"]
    prompt, made = scripted.engine.requests[-1].prompt, [*scripted.engine.tokenizer.encode("hello"), 258]
    assert [(choice["prompt_token_ids"], choice["token_ids"]) for choice in whole] == [(prompt, made)] * 2
    chunks = [chunk.model_dump()["choices"][0] for chunk in ask(lenient_client, stream=True, **wanted)]
    for index in (0, 1):
        first, *rest = [chunk for chunk in chunks if chunk["index"] == index]
        assert first["prompt_token_ids"] == prompt
        assert sum([chunk["token_ids"] for chunk in rest], first["token_ids"]) == made


def test_usage_so_far_is_in_every_chunk_on_request(lenient_client):
    options = {"include_usage": True, "continuous_usage_stats": True}
    counts = [chunk.usage.completion_tokens for chunk in ask(lenient_client, stream=True, stream_options=options)]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 6


def test_stop_strings_and_grammars_hold(scripted, client):
    assert ask(client, stop=["l"]).choices[0].text == "he"
    ask(client, extra_body={"guided_regex": "[a-z]+"})
    assert scripted.engine.requests[-1].sampling.grammar.kind == "regex"


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"logprobs": 21}, "logprobs"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [99999]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "x" * 5000}, "messages"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_is_refused_by_name(client, wanted, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, **{"prompt": "x", **wanted})
    assert caught.value.param == param


def test_a_list_of_texts_and_numbers_is_refused(scripted):
    answer = httpx.post(f"{scripted.url}/v1/completions", json={"prompt": ["a", 1]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "prompt"
