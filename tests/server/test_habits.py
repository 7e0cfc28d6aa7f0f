"""Templates that want messages in another shape than the server's: each is understood by trying it."""

import asyncio
import json
from dataclasses import replace

import pytest
from agenthost.engine import Tokenizer
from agenthost.server.chat.formats import FunctionTool
from agenthost.server.chat.habits import Habits
from agenthost.server.chat.messages import assistant, normalise
from agenthost.server.chat.model import ChatModel
from agenthost.server.chat.probes import observe
from agenthost.server.chat.template import ChatTemplate

from .families import FAMILIES, template

TOOL = FunctionTool("now", {"type": "object", "properties": {}})
OFFERED = [{"type": "function", "function": TOOL._asdict()}]


SHOWN = "{% for t in tools or [] %}{{ t.function.name }}:{% endfor %}"


def chat(turn, head="", tail=""):
    """A template of turns in brackets, in which ``turn`` writes a call ``c`` of message ``m``."""
    return (
        f"{SHOWN}{head}{{% for m in messages %}}[{{{{ m.role }}}}:{{{{ m.content or '' }}}}"
        f"{{% for c in m.tool_calls or [] %}}{turn}{{% endfor %}}<|im_end|>{{% endfor %}}"
        f"{{% if add_generation_prompt %}}[assistant:{{% else %}}{tail}{{% endif %}}"
    )


PLAIN = "<tool_call>{{ c.function.name }} {{ c.function.arguments | tojson }}</tool_call>"
ADDED = "<tool_call>{{ c.function.name + ' ' + c.function.arguments }}</tool_call>"
PRINTED = "<tool_call>{{ c.function.name }} {{ c.function.arguments }}</tool_call>"
NINE = "{% if (c.id or '') | length != 9 %}{{ raise_exception('nine, please') }}{% endif %}{{ c.id }}" + PLAIN
SINGLE = (
    "{% for m in messages if m.tool_calls and m.tool_calls | length > 1 %}{{ raise_exception('one!') }}{% endfor %}"
)
ONLY_NULL = chat(PLAIN).replace("m.tool_calls or []", "(m.tool_calls or [] if m.content is none else [])")
THINKS = chat(
    "{% if m.thinking and m.content %}{{ raise_exception('either') }}{% endif %}"
    "{% if loop.first %}({{ m.thinking }}){% endif %}" + PLAIN
)
WITHOUT_CALLS = "{% for m in messages %}[{{ m.role }}:{{ m.content }}{{ m.tools }}]{% endfor %}"
FIRST_ONLY = "{% set messages = messages[:1] + messages[1:] | rejectattr('role', 'equalto', 'system') | list %}"
LISTED = "{% for t in tools %}{{ t.function.name }}{% endfor %}"
SILENT = "{% set messages = messages | rejectattr('role', 'equalto', 'system') | list %}"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
TEMPLATES = {
    "plain": (chat(PLAIN), Habits()),
    "added": (chat(ADDED), Habits(text_arguments=True)),
    "printed": (chat(PRINTED), Habits(text_arguments=True)),
    "nine": (chat(NINE), Habits(short_ids=True)),
    "single": (chat(PLAIN, SINGLE), Habits(one_call=True)),
    "null": (ONLY_NULL, Habits(null_content=True)),
    "thinks": (THINKS, Habits(thinking=True, lone_thoughts=True)),
}


@pytest.fixture
def make_chat(make_model):
    def make(source):
        folder = make_model()
        (folder / "chat_template.jinja").write_text(source)
        return ChatModel.load(folder, Tokenizer.load(folder))

    return make


def said(model, messages):
    """The prompt behind the names of the tools."""
    ids = asyncio.run(model.prompt(messages, OFFERED))
    return model.tokenizer.decode(ids, skip_special_tokens=False).removeprefix("now:")


@pytest.mark.parametrize("name", TEMPLATES)
def test_what_a_template_wants_is_found(name):
    source, wanted = TEMPLATES[name]
    assert observe(ChatTemplate(source)) == wanted


@pytest.mark.parametrize("family", FAMILIES)
def test_most_templates_want_what_the_server_has(family):
    few = {"openai": Habits(one_call=True), "mistral_ids": Habits(short_ids=True)}
    found = observe(ChatTemplate(template(family)))
    assert found == replace(few.get(family, Habits()), thinking=found.thinking)


@pytest.mark.parametrize("name", TEMPLATES)
def test_calls_thoughts_and_words_all_reach_the_prompt(make_chat, name):
    calls = [("call_1", "now", '{"a": "é"}'), ("call_2", "now", '{"b": 2}')]
    turn = assistant("Words.", calls, "Thoughts.")
    results = [{"role": "tool", "tool_call_id": f"call_{n}", "content": f"result {n}"} for n in (2, 1)]
    text = said(make_chat(TEMPLATES[name][0]), [{"role": "user", "content": "go"}, turn, *results])
    for part in ('now {"a": "é"}', 'now {"b": 2}', "result 1", "result 2", "Words."):
        assert text.count(part) == 1
    assert name != "thinks" or "(Thoughts.\n\nWords.)" in text
    if name == "single":
        assert text.index('"a"') < text.index("result 1") < text.index('"b"') < text.index("result 2")


@pytest.mark.parametrize(
    ("sign", "written"),
    [
        ("<|tool_call|>", '<|tool_call|>[{"name": "now", "arguments": {"a": "é"}}]'),
        ("<tool_call></tool_call>", '<tool_call>\n{"name": "now", "arguments": {"a": "é"}}\n</tool_call>'),
    ],
)
def test_calls_that_a_template_leaves_out_are_among_the_words(make_chat, sign, written):
    source = WITHOUT_CALLS + f'{{# {sign} "arguments" #}}'
    turn = assistant("Words. ", [("call_1", "now", '{"a": "é"}')])
    assert f"[assistant:Words. {written}]" in said(make_chat(source), [{"role": "user", "content": "go"}, turn])


@pytest.mark.parametrize("system", ["", "Help."])
def test_tools_that_a_template_takes_from_the_system_message_are_in_it(make_chat, system):
    asked = [{"role": "user", "content": "go"}]
    told = [{"role": "system", "content": system}] if system else []
    text = said(make_chat(WITHOUT_CALLS), told + asked)
    assert text == f"[system:{system}{json.dumps([TOOL._asdict()])}][user:go]"


@pytest.mark.parametrize("head", [NO_SYSTEM, SILENT], ids=["refused", "left out"])
def test_a_system_message_that_is_not_printed_leads_the_users_first(make_chat, head):
    system, late = {"role": "system", "content": "Help."}, {"role": "system", "content": "Late."}
    model = make_chat(chat(PLAIN, head))
    assert said(model, [system, {"role": "user", "content": "go"}]).startswith("[user:Help.\n\ngo<|im_end|>")
    assert said(model, [system]).startswith("[user:Help.<|im_end|>")
    answer = {"role": "assistant", "content": "Yes?"}
    assert said(model, [system, answer, late]).startswith("[user:Help.\n\nLate.<|im_end|>[assistant:Yes?")


@pytest.mark.parametrize("system", ["", "Help."])
def test_tools_that_a_template_leaves_out_are_described_in_the_system_message(make_chat, system):
    signs = "{# <｜tool▁calls▁begin｜> #}"
    told = [{"role": "system", "content": system}] if system else []
    text = said(
        make_chat(WITHOUT_CALLS.replace("{{ m.tools }}", "") + signs), [*told, {"role": "user", "content": "go"}]
    )
    assert json.dumps(TOOL._asdict()) in text
    assert '<｜tool▁call▁begin｜>function_name<｜tool▁sep｜>{"parameter": "value"}<｜tool▁call▁end｜>' in text
    assert text.startswith(f"[system:{system}")
    assert text.endswith("][user:go]")


def test_a_template_that_counts_its_tools_gets_an_empty_list(make_chat):
    model = make_chat(chat(PLAIN, LISTED))
    ids = asyncio.run(model.prompt([{"role": "user", "content": "go"}]))
    assert model.tokenizer.decode(ids, skip_special_tokens=False) == "[user:go<|im_end|>[assistant:"


def test_late_system_messages_that_a_template_leaves_out_move_to_the_front(make_chat):
    late = {"role": "system", "content": "Late."}
    messages = [{"role": "user", "content": "go"}, assistant("Yes?"), late, {"role": "user", "content": "on"}]
    text = said(make_chat(chat(PLAIN, FIRST_ONLY)), [{"role": "system", "content": "Help."}, *messages])
    assert text.startswith("[system:Help.\n\nLate.<|im_end|>[user:go")


def test_a_result_has_the_name_of_what_was_called():
    call = {"id": "c", "type": "function", "function": {"name": "now", "arguments": "{}"}}
    asked = [{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}]
    *_, named, unknown = normalise([*asked, *({"role": "tool", "tool_call_id": id, "content": ""} for id in "cd")])
    assert named["name"] == "now"
    assert "name" not in unknown


def test_ids_are_shortened_alike_in_calls_and_results_and_kept_where_they_fit():
    calls = [("call_of_ours", "now", "{}"), ("abcdef123", "now", "{}")]
    results = [{"role": "tool", "tool_call_id": id, "content": ""} for id, *_ in calls]
    turn, *results = Habits(short_ids=True).fit([assistant("", calls), *results])
    ids = [call["id"] for call in turn["tool_calls"]]
    assert ids == [result["tool_call_id"] for result in results]
    assert ids[1] == "abcdef123" != ids[0]
    assert [len(id) for id in ids] == [9, 9]


def test_a_call_without_an_id_is_not_refused(make_chat):
    call = {"type": "function", "function": {"name": "now", "arguments": "{}"}}
    messages = normalise([{"role": "user", "content": "?"}, {"role": "assistant", "tool_calls": [call]}])
    assert "now {}" in said(make_chat(TEMPLATES["nine"][0]), messages)


def test_where_a_turn_holds_one_call_the_grammar_ends_behind_it(make_chat):
    for name, stops in (("plain", False), ("single", True)):
        model = make_chat(TEMPLATES[name][0] + '{# {"name": "f", "arguments": {}} #}')
        grammar = model.grammar([], [TOOL])
        assert grammar is not None
        assert json.loads(grammar.source)["format"]["stop_after_first"] is stops
