"""How far exact history reaches: over 200 conversations with tools, in every format, hosted and replayed.

A turn is kept when the next prompt begins with all that the model had read and written, but the token that ended the
turn: the engine's prefix cache, which is exact to the token, then holds ``prompt + output - 1`` tokens of it. The model
is a script that writes its calls as no template would.
"""

import asyncio
import json
import random
from itertools import pairwise

import pytest
from agenthost.engine import Tokenizer
from agenthost.server.chat.conversation import Conversation
from agenthost.server.chat.messages import assistant, new_call_id, normalise
from agenthost.server.chat.model import ChatModel
from agenthost.server.chat.transcript import Transcript

from .families import ENDS, FAMILIES, FULL, ONE_CALL, PLAIN, TOOLS, WAYS, detected, parsed, turn

CONVERSATIONS = 14  # of each format
TURNS = 7
OFFERED = [{"type": "function", "function": tool._asdict()} for tool in TOOLS]


@pytest.fixture(params=WAYS)
def family(request):
    return request.param


@pytest.fixture
def model(family, make_model):
    end = ENDS.get(family, "<|im_end|>")
    folder = make_model(template=family, special=(end,), eos=end)
    return ChatModel.load(folder, Tokenizer.load(folder))


def written(family, chance):
    """The model's turn: what it writes, in JSON of its own."""
    calls = [chance.choice([("forecast", FULL), ("forecast", PLAIN), ("now", {})])]
    if family not in ONE_CALL and chance.random() < 0.4:
        calls.append(("now", {}))
    if chance.random() < 0.3:
        return turn(family, chance.choice(["Done.", "It is é."]), [])
    return turn(family, "", calls).replace('", "', '",  "').replace('": ', '":  ')


async def hosted(family, model, chance):
    """(prompts, what was written after each) of a conversation that the server leads itself."""
    conversation, following, steps = Conversation(model, OFFERED, "Be brief."), [user("go")], []
    for number in range(TURNS):
        prompt = await conversation.prompt(following)
        said = written(family, chance)
        content, reasoning, calls = parsed(detected(family).parser(TOOLS), said)
        ids = model.tokenizer.encode(said)
        steps.append((prompt, ids))
        calls = [(new_call_id(), *call) for call in calls]
        conversation.append_turn(content, calls, ids, reasoning=reasoning)
        following = [result(call, number) for call in calls] or [user(f"next {number}")]
    return steps


async def replayed(family, model, chance):
    """The same of one that a client sends whole every time, in its own JSON."""
    transcript, messages, steps = Transcript(), [{"role": "system", "content": "Be brief."}, user("go")], []
    for number in range(TURNS):
        conversation = Conversation(model, OFFERED, transcript=transcript, owner="me")
        prompt = await conversation.prompt(normalise(messages))
        said = written(family, chance)
        content, reasoning, calls = parsed(detected(family).parser(TOOLS), said)
        ids = model.tokenizer.encode(said)
        steps.append((prompt, ids))
        calls = [(new_call_id(), *call) for call in calls]
        conversation.record(content, calls, ids, reasoning=reasoning)
        message = assistant(content, calls)
        for call in message.get("tool_calls", ()):
            arguments = list(call["function"]["arguments"].items())
            chance.shuffle(arguments)
            call["function"]["arguments"] = json.dumps(dict(arguments), indent=chance.choice([None, 1]))
        messages += [message, *([result(call, number) for call in calls] or [user(f"next {number}")])]
    return steps


def user(text):
    return {"role": "user", "content": text}


def result(call, number):
    return {"role": "tool", "tool_call_id": call[0], "name": call[1], "content": f"result {number} é"}


@pytest.mark.parametrize("kind", [hosted, replayed])
def test_every_turn_is_kept(family, model, kind):
    for seed in range(CONVERSATIONS // 2):
        steps = asyncio.run(kind(family, model, random.Random(f"{family} {seed}")))
        for (prompt, ids), (following, _) in pairwise(steps):
            assert following[: len(prompt) + len(ids)] == [*prompt, *ids]


def test_there_are_more_than_two_hundred():
    assert len(FAMILIES) * CONVERSATIONS > 200


THINKING = """{%- set state = namespace(last=-1) %}
{%- for m in messages %}{% if m.role == 'user' %}{% set state.last = loop.index0 %}{% endif %}{% endfor %}
{%- for m in messages %}
{{- '<|im_start|>' + ('user' if m.role == 'tool' else m.role) + '\n' }}
{%- if m.role == 'assistant' and m.reasoning_content and loop.index0 > state.last %}
{{- '<think>\n' + m.reasoning_content + '\n</think>\n\n' }}
{%- endif %}{{- m.content }}
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}</tool_call>{% endfor %}{{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif %}"""


def test_thoughts_stay_while_tools_work_and_go_where_the_template_drops_them(make_model):
    folder = make_model()
    (folder / "chat_template.jinja").write_text(THINKING)
    model = ChatModel.load(folder, Tokenizer.load(folder))
    encode, decode = model.tokenizer.encode, model.tokenizer.decode

    async def talk():
        conversation = Conversation(model, OFFERED)
        first = await conversation.prompt([user("go")])
        said = encode("<think>\nI look.\n</think>\n\n<tool_call>now</tool_call>")
        conversation.append_turn("", [("c", "now", "{}")], said, reasoning="I look.")
        second = await conversation.prompt([result(("c", "now"), 1)])
        assert second[: len(first) + len(said)] == [*first, *said]
        conversation.append_turn("Noon.", [], encode("Noon."))
        third = await conversation.prompt([user("thanks")])
        assert third == await model.prompt(conversation.messages, OFFERED)
        assert "I look." not in decode(third)

    asyncio.run(talk())


BRACKETS = """{%- for m in messages %}{{- '[' + m.role + ':' }}
{%- if loop.last and m.role == 'assistant' %}{{- '<think></think>' }}{% endif %}{{- m.content }}
{%- for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }} {{ c.function.arguments }}</tool_call>{% endfor %}
{{- '<|im_end|>' }}{%- endfor %}"""
CLOSED = BRACKETS + "{% if add_generation_prompt %}[assistant:{% else %}<|endoftext|>{% endif %}"


@pytest.mark.parametrize(
    ("source", "kept"),
    [
        (BRACKETS + "[assistant:<think></think>", True),
        (BRACKETS.replace("<think></think>", "") + "[assistant:", True),
        (CLOSED, True),
        (CLOSED.replace("{%- for m", "{{ messages | length }}{%- for m", 1), False),
        (CLOSED.replace("{{- '<|im_end|>' }}", "{% if m.role == 'user' %}{{- '<|im_end|>' }}{% endif %}"), False),
    ],
    ids=["empty thoughts in the last turn", "always a prompt", "closed", "another past", "no end"],
)
def test_turns_are_kept_that_the_template_writes_otherwise_when_they_are_last(make_model, source, kept):
    folder = make_model()
    (folder / "chat_template.jinja").write_text(source)
    model = ChatModel.load(folder, Tokenizer.load(folder))
    written = model.tokenizer.encode('<tool_call>now  {  "a":1}</tool_call>')

    async def talk():
        conversation = Conversation(model, OFFERED)
        first = await conversation.prompt([user("go")])
        conversation.append_turn("", [("c", "now", '{"a": 1}')], written)
        second = await conversation.prompt([result(("c", "now"), 1)])
        assert (second[: len(first) + len(written)] == [*first, *written]) is kept
        if kept:
            rest = model.tokenizer.decode(second[len(first) + len(written) :], skip_special_tokens=False)
            assert rest.startswith("<|im_end|>[tool:result 1 é<|im_end|>[assistant:")
        else:
            assert second == await model.prompt(conversation.messages, OFFERED)

    asyncio.run(talk())
