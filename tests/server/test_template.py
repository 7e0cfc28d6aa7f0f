"""Chat templates render exactly as transformers renders them, and cannot do harm."""

from pathlib import Path

import pytest
from agenthost.server.chat.messages import normalise
from agenthost.server.chat.template import ChatTemplate, TemplateError

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Weather of a city, <b>now</b> & 'here' – ünïcode.",
            "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        },
    }
]
CALL = {"id": "call00001", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Köln <&>"}'}}
PLAIN = [
    {"role": "system", "content": " Be brief. "},
    {"role": "user", "content": "Hi <there> & 'you' 🙂"},
    {"role": "assistant", "content": "Hello\n"},
    {"role": "user", "content": "Bye"},
]
WITH_CALL = [
    {"role": "user", "content": "Weather in Köln?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call00001", "content": [{"type": "text", "text": "12 °C"}]},
]
THOUGHT = [
    {"role": "user", "content": "2+2?"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
    {"role": "user", "content": "3+3?"},
]
CONVERSATIONS = {
    "plain": (PLAIN, None),
    "tools": (PLAIN, TOOLS),
    "call": (WITH_CALL, TOOLS),
    "thought": (THOUGHT, None),
}
TEMPLATES = {file.stem: file.read_text() for file in (Path(__file__).parent / "templates").glob("*.jinja")}
SPECIAL = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.parametrize("prompt", [True, False])
@pytest.mark.parametrize("conversation", CONVERSATIONS)
@pytest.mark.parametrize("template", TEMPLATES)
def test_renders_as_transformers_does(template, conversation, prompt):
    from transformers.utils.chat_template_utils import render_jinja_template

    messages, tools = CONVERSATIONS[conversation]
    messages = normalise(messages)
    theirs, _ = render_jinja_template(
        [messages],
        tools,
        None,
        TEMPLATES[template],
        add_generation_prompt=prompt,
        **SPECIAL,  # pyright: ignore
    )
    ours = ChatTemplate(TEMPLATES[template], SPECIAL).render(messages, tools, add_generation_prompt=prompt)
    assert ours == theirs[0]


def test_a_template_for_tools_is_used_only_with_tools():
    template = ChatTemplate("plain", tools_source="with tools")
    assert template.render([], None) == "plain"
    assert template.render([], TOOLS) == "with tools"


def test_a_template_that_refuses_says_so_in_its_own_words():
    with pytest.raises(TemplateError, match="single tool calls only"):
        ChatTemplate(TEMPLATES["llama3"], SPECIAL).render(
            normalise([WITH_CALL[0], {"role": "assistant", "tool_calls": [CALL, CALL]}]), TOOLS
        )


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ messages.append(1) }}",
        "{{ strftime_now.__globals__.sys }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ messages[0].nothing.here }}",
        "{{ 1 + 'x' }}",
        "{% set n = namespace() %}{% set n.__html__ = raise_exception %}{{ n }}",
        "{% set n = namespace(__html__=raise_exception) %}{{ n }}",
        "{{ 1 // 0 }}",
        "{{ range(10 ** 9) }}",
    ],
)
def test_the_sandbox_turns_mischief_into_an_error(source):
    with pytest.raises(TemplateError):
        ChatTemplate(source).render([{"role": "user", "content": "hi"}])


def test_a_broken_template_is_refused_at_once():
    with pytest.raises(TemplateError, match="not valid"):
        ChatTemplate("{% if %}")
