"""What clients of chat completions send beyond messages and tools, in every dialect, through the real OpenAI client."""

import json
from typing import Any

import httpx
import openai
import pytest
from agenthost.engine import EngineConfig
from agenthost.server.config import ServerConfig

from .calls import call

HI: Any = [{"role": "user", "content": "hi"}]
FUNCTIONS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": {}}}}
    for name in ("one", "two", "three")
]
PATCH: Any = {
    "type": "custom",
    "custom": {
        "name": "patch",
        "description": "Applies a patch.",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /x+/"}},
    },
}


def ask(client, **wanted):
    return client.chat.completions.create(model="m", messages=wanted.pop("messages", HI), **wanted)


def grammar_of(scripted):
    grammar = scripted.engine.requests[-1].sampling.grammar
    return grammar.kind, json.loads(grammar.source) if grammar.source.startswith("{") else grammar.source


# -- tool choice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_allowed_tools_are_a_mask_and_leave_the_prompt_alone(scripted, client, mode):
    ask(client, tools=FUNCTIONS)
    allowed = {"mode": mode, "tools": [{"type": "function", "function": {"name": "two"}}]}
    scripted.says(call("two"))
    answer = ask(client, tools=FUNCTIONS, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert scripted.engine.prompt_text(0) == scripted.engine.prompt_text(1)
    tags = grammar_of(scripted)[1]["format"]["tags"]
    assert [tag["begin"] for tag in tags] == ['<tool_call>\n{"name": "two", "arguments": ']
    assert answer.choices[0].finish_reason == "tool_calls"


def test_allowed_tools_must_be_tools(client):
    allowed = {"mode": "auto", "tools": [{"type": "function", "function": {"name": "four"}}]}
    with pytest.raises(openai.BadRequestError, match="'four', which is not among the tools"):
        ask(client, tools=FUNCTIONS, tool_choice={"type": "allowed_tools", "allowed_tools": allowed})


def test_custom_tools_get_plain_text(scripted, client):
    scripted.says(call("patch", '{"input": "*** Begin\\n\\"x\\""}'))
    choice = ask(client, tools=[PATCH, *FUNCTIONS]).choices[0]
    made = choice.message.tool_calls[0]
    assert (made.type, made.custom.name, made.custom.input) == ("custom", "patch", '*** Begin\n"x"')
    assert "start: /x+/" in scripted.engine.prompt_text()
    assert choice.finish_reason == "tool_calls"


def test_custom_calls_stream_their_input(scripted, lenient_client):
    scripted.says(call("patch", '{"input": "a\\nb"}') + "\n" + call("one") + "\n" + call("patch", '{"input": "c"}'))
    calls: dict[int, dict] = {}
    for chunk in ask(lenient_client, tools=[PATCH, *FUNCTIONS], stream=True):
        for delta in chunk.choices[0].model_dump()["delta"].get("tool_calls") or []:
            made = calls.setdefault(delta["index"], {"type": delta["type"], "id": delta["id"], "input": "", "name": ""})
            made["input"] += (delta.get("custom") or {}).get("input") or ""
            made["name"] += (delta.get("custom") or delta.get("function") or {}).get("name") or ""
    assert [(made["type"], made["name"], made["input"]) for made in calls.values()] == [
        ("custom", "patch", "a\nb"),
        ("function", "one", ""),
        ("custom", "patch", "c"),
    ]


def test_custom_calls_come_back_into_the_prompt(scripted, client):
    made = {"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "x\ny"}}
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "call_1", "content": "ok"},
    ]
    ask(client, messages=messages, tools=[PATCH])
    assert call("patch", '{"input": "x\\ny"}') in scripted.engine.prompt_text()


def test_a_custom_tool_can_be_named(scripted, client):
    scripted.says(call("patch", '{"input": "x"}'))
    choice = ask(client, tools=[PATCH], tool_choice={"type": "custom", "custom": {"name": "patch"}}).choices[0]
    assert choice.message.tool_calls[0].custom.input == "x"
    assert choice.finish_reason == "stop"


def test_functions_are_answered_with_a_function_call(scripted, client):
    scripted.says("Hm. " + call("one", '{"a": 1}'))
    functions = [{"name": "one", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]
    choice = ask(client, functions=functions).choices[0]
    assert choice.message.function_call.name == "one"
    assert json.loads(choice.message.function_call.arguments) == {"a": 1}
    assert (choice.finish_reason, choice.message.tool_calls) == ("function_call", None)
    chunks = list(ask(client, functions=functions, function_call={"name": "one"}, stream=True))
    deltas = [chunk.choices[0].delta.function_call for chunk in chunks if chunk.choices[0].delta.function_call]
    assert deltas[0].name == "one"
    assert "".join(delta.arguments or "" for delta in deltas) == '{"a": 1}'
    assert grammar_of(scripted)[1]["format"]["stop_after_first"]


# -- the wanted answer ------------------------------------------------------------------------------------------------

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
ASKED = {
    "guided_json": ({"guided_json": SCHEMA}, ("json_schema", SCHEMA)),
    "guided_json as text": ({"guided_json": json.dumps(SCHEMA)}, ("json_schema", SCHEMA)),
    "guided_regex": ({"guided_regex": "[ab]+"}, ("regex", "[ab]+")),
    "guided_grammar": ({"guided_grammar": 'root ::= "x"'}, ("ebnf", 'root ::= "x"')),
    "regex": ({"regex": "[ab]+"}, ("regex", "[ab]+")),
    "ebnf": ({"ebnf": 'root ::= "x"'}, ("ebnf", 'root ::= "x"')),
    "structured_outputs.json": ({"structured_outputs": {"json": SCHEMA}}, ("json_schema", SCHEMA)),
    "structured_outputs.json_object": (
        {"structured_outputs": {"json_object": True}}, ("json_schema", {"type": "object"}),
    ),
    "structured_outputs.regex": ({"structured_outputs": {"regex": "a"}}, ("regex", "a")),
    "structured_outputs.grammar": ({"structured_outputs": {"grammar": 'root ::= "x"'}}, ("ebnf", 'root ::= "x"')),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_peers_names_hold_the_answer_to_a_grammar(scripted, client, name):
    body, expected = ASKED[name]
    ask(client, extra_body=body)
    assert grammar_of(scripted) == expected


@pytest.mark.parametrize("body", [{"guided_choice": ["yes", "no"]}, {"structured_outputs": {"choice": ["yes", "no"]}}])
def test_a_choice_is_one_of_its_texts(scripted, client, body):
    ask(client, extra_body=body)
    kind, tag = grammar_of(scripted)
    assert kind == "structural_tag"
    assert [element["value"] for element in tag["format"]["elements"]] == ["yes", "no"]


def test_a_structural_tag_is_taken_as_it_is(scripted, client):
    format = {"type": "tag", "begin": "<a>", "content": {"type": "any_text"}, "end": "</a>"}
    ask(client, extra_body={"response_format": {"type": "structural_tag", "format": format}})
    assert grammar_of(scripted)[1]["format"] == format
    tag = json.dumps({"type": "structural_tag", "format": format})
    ask(client, extra_body={"structured_outputs": {"structural_tag": tag}})
    assert grammar_of(scripted)[1]["format"] == format


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": {"type": "nonsense"}}, "guided_json"),
        ({"guided_choice": []}, "guided_choice"),
        ({"structured_outputs": {"structural_tag": "{}"}}, "structured_outputs.structural_tag"),
        ({"regex": "a", "ebnf": 'root ::= "x"'}, "ebnf"),
        ({"response_format": {"type": "json_object"}, "guided_regex": "a"}, "guided_regex"),
        ({"chat_template": "{{ messages }}"}, "chat_template"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_by_name(client, body, param):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, extra_body=body)
    assert caught.value.param == param


# -- the prompt -------------------------------------------------------------------------------------------------------


def test_the_last_message_can_be_continued(scripted, client):
    messages = [*HI, {"role": "assistant", "content": "The answer is "}]
    ask(client, messages=messages, extra_body={"continue_final_message": True, "add_generation_prompt": False})
    assert scripted.engine.prompt_text().endswith("<|im_start|>assistant\nThe answer is ")


def test_the_generation_prompt_can_be_left_out(scripted, client):
    ask(client, extra_body={"add_generation_prompt": False})
    assert scripted.engine.prompt_text().endswith("hi<|im_end|>\n")


def test_images_in_tool_results_become_a_note(scripted, client):
    made = {"id": "c", "type": "function", "function": {"name": "one", "arguments": ""}}
    result = [{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "data:,x"}}]
    messages = [
        *HI,
        {"role": "assistant", "tool_calls": [made]},
        {"role": "tool", "tool_call_id": "c", "content": result},
    ]
    ask(client, messages=messages, tools=FUNCTIONS)
    assert "see\n[image_url left out: this model reads text only]" in scripted.engine.prompt_text()


def test_arguments_that_are_no_object_do_not_break_a_template_that_wants_one(make_model, make_engine, make_server):
    folder = make_model(template="qwen3_coder")
    engine = make_engine(folder, lambda request: "ok")
    made = {"id": "c", "type": "function", "function": {"name": "one", "arguments": '{"a": tru'}}
    messages = [*HI, {"role": "assistant", "tool_calls": [made]}, {"role": "tool", "tool_call_id": "c", "content": "?"}]
    with make_server(ServerConfig(engine=EngineConfig(model=str(folder))), engine) as url:
        with openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
            client.chat.completions.create(model=folder.name, messages=messages, tools=FUNCTIONS)
        text = engine.prompt_text()
    assert '<parameter=arguments>\n{"a": tru\n</parameter>' in text


# -- thoughts ---------------------------------------------------------------------------------------------------------


class Thinker:
    def __init__(self, url, engine, client):
        self.url, self.engine, self.client = url, engine, client

    def ask(self, **wanted):
        return self.client.chat.completions.create(model="t", messages=wanted.pop("messages", HI), **wanted)

    @property
    def prompt(self):
        return self.engine.prompt_text()


@pytest.fixture(scope="module")
def thinker(tmp_path_factory, write_model, make_engine, make_server):
    folder = write_model(tmp_path_factory.mktemp("glm"), template="glm45")
    engine = make_engine(folder, lambda request: "")
    config = ServerConfig(engine=EngineConfig(model=str(folder)), served_model_name=("t",))
    with make_server(config, engine) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as client:
        yield Thinker(url, engine, client)


THOUGHT = "\n<think>hm, stop</think>\nIt rains. stop it"


def test_thoughts_have_both_names_and_are_counted(thinker):
    thinker.engine.play = lambda request: THOUGHT
    answer = thinker.ask()
    message = answer.choices[0].message.model_dump()
    assert message["reasoning"] == message["reasoning_content"] == "hm, stop"
    assert message["content"] == "It rains. stop it"
    counted = answer.usage.completion_tokens_details.reasoning_tokens
    assert len("hm, stop") < counted <= len("<think>hm, stop</think>")


def test_thoughts_stream_as_the_whole_answer_has_them(thinker):
    thinker.engine.play = lambda request: THOUGHT
    chunks = [chunk.choices[0].delta.model_dump() for chunk in thinker.ask(stream=True)]
    assert "".join(chunk.get("reasoning") or "" for chunk in chunks) == "hm, stop"
    assert "".join(chunk.get("reasoning_content") or "" for chunk in chunks) == "hm, stop"
    assert "".join(chunk["content"] or "" for chunk in chunks) == "It rains. stop it"


def test_thoughts_can_be_left_out_or_left_where_they_are(thinker):
    thinker.engine.play = lambda request: THOUGHT
    message = thinker.ask(extra_body={"include_reasoning": False}).choices[0].message
    assert (message.content, getattr(message, "reasoning", None)) == ("It rains. stop it", None)
    chunks = [chunk.choices[0].delta for chunk in thinker.ask(extra_body={"include_reasoning": False}, stream=True)]
    assert not any(getattr(chunk, "reasoning", None) for chunk in chunks)
    assert thinker.ask(extra_body={"separate_reasoning": False}).choices[0].message.content == THOUGHT


def test_stop_strings_are_looked_for_in_words_alone(thinker):
    thinker.engine.play = lambda request: THOUGHT
    answer = thinker.ask(stop=["stop"])
    assert answer.choices[0].message.content == "It rains. "
    assert answer.choices[0].message.reasoning == "hm, stop"
    assert answer.choices[0].model_dump()["stop_reason"] == "stop"
    chunks = list(thinker.ask(stop=["stop"], stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "It rains. "
    assert chunks[-1].choices[0].finish_reason == "stop"
    thinker.engine.play = lambda request: (
        "<think>x</think><tool_call>one\n<arg_key>a</arg_key>\n<arg_value>stop</arg_value>\n</tool_call>"
    )
    made = thinker.ask(stop=["stop"], tools=FUNCTIONS).choices[0].message.tool_calls[0]
    assert made.function.arguments == '{"a": "stop"}'


def test_a_wanted_answer_begins_behind_the_thoughts(thinker):
    thinker.ask(response_format={"type": "json_object"})
    tag = json.loads(thinker.engine.requests[-1].sampling.grammar.source)["format"]
    assert tag["elements"][0]["type"] == "optional"
    assert tag["elements"][1]["type"] == "json_schema"


def test_effort_and_template_variables_reach_the_template(thinker):
    thinker.ask(reasoning_effort="none")
    assert thinker.prompt.endswith("<|assistant|>\n<think></think>")
    thinker.ask(extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    assert thinker.prompt.endswith("<|assistant|>\n<think></think>")
    thinker.ask(reasoning_effort="high")
    assert thinker.prompt.endswith("<|assistant|>")


def test_a_closed_thought_leaves_a_plain_grammar(thinker):
    thinker.ask(reasoning_effort="none", response_format={"type": "json_object"})
    assert thinker.engine.requests[-1].sampling.grammar.kind == "json_schema"


def test_a_budget_bounds_the_thoughts(thinker):
    thinker.ask(extra_body={"thinking_token_budget": 20})
    tag = json.loads(thinker.engine.requests[-1].sampling.grammar.source)["format"]
    assert tag["elements"][0]["content"]["elements"][1]["content"]["max_tokens"] == 20
    assert "<think>" in tag["elements"][1]["excludes"]  # or thoughts without a bound would be the answer


def test_old_thoughts_go_back_to_the_template(thinker):
    messages = [*HI, {"role": "assistant", "content": "yes", "reasoning": "hm"}, *HI]
    thinker.ask(messages=messages)
    assert "<think>hm</think>\nyes" in thinker.prompt


# -- the answer -------------------------------------------------------------------------------------------------------


def test_token_ids_are_returned_on_request(scripted, client):
    answer = ask(client, extra_body={"return_token_ids": True}).model_dump()
    assert answer["prompt_token_ids"] == scripted.engine.requests[-1].prompt
    assert len(answer["choices"][0]["token_ids"]) == 6
    chunks = [chunk.model_dump() for chunk in ask(client, extra_body={"return_token_ids": True}, stream=True)]
    assert chunks[0]["prompt_token_ids"] == scripted.engine.requests[-1].prompt
    ids = [token for chunk in chunks for token in chunk["choices"][0].get("token_ids") or []]
    assert ids == answer["choices"][0]["token_ids"]
    assert "token_ids" not in ask(client).model_dump()["choices"][0]


def test_usage_can_run_along(client):
    stream = ask(client, stream=True, stream_options={"include_usage": True, "continuous_usage_stats": True})
    counts = [chunk.usage.completion_tokens for chunk in stream]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, 6)


def test_the_stop_string_is_named(client):
    assert ask(client, stop="l").choices[0].model_dump()["stop_reason"] == "l"
    assert "stop_reason" not in ask(client).choices[0].model_dump()


def test_a_replayed_turn_is_continued_token_for_token(scripted, client):
    """Written in one spelling by the model, sent back in another: the ids in the prompt are the model's."""
    scripted.says('Wait. <tool_call>\n{"name": "one",   "arguments": {"b":2,"a":1}}\n</tool_call>', "done")
    first = ask(client, tools=FUNCTIONS)
    message = first.choices[0].message
    made = message.tool_calls[0]
    respelled = {"id": made.id, "type": "function", "function": {"name": "one", "arguments": '{"a": 1, "b": 2}'}}
    history = [
        *HI,
        {"role": "assistant", "content": message.content, "tool_calls": [respelled]},
        {"role": "tool", "tool_call_id": made.id, "content": "ok"},
    ]
    ask(client, messages=history, tools=FUNCTIONS)
    first_request, second_request = scripted.engine.requests[-2:]
    written = scripted.engine.tokenizer.encode(
        'Wait. <tool_call>\n{"name": "one",   "arguments": {"b":2,"a":1}}\n</tool_call><|im_end|>'
    )
    assert second_request.prompt[: len(first_request.prompt) + len(written)] == [*first_request.prompt, *written]


def test_silence_is_filled_with_comments(model_folder, make_engine, make_server):
    import threading

    heard = threading.Event()

    async def silent():
        import anyio

        await anyio.to_thread.run_sync(heard.wait, 30)

    engine = make_engine(model_folder, lambda request: "hello")
    engine.gate = silent
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), sse_keep_alive_interval=0.05)
    with make_server(config, engine) as url, httpx.Client(timeout=30) as client:
        body = {"messages": HI, "stream": True}
        with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
            lines = []
            for line in response.iter_lines():
                lines.append(line)
                if line == ": keep-alive":
                    heard.set()
    assert ": keep-alive" in lines
    assert lines[-2] == "data: [DONE]"
    text = "".join(
        json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in lines if line.startswith("data: {")
    )
    assert text == "hello"
