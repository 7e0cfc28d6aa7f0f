"""Every tool-call format: what its template writes is read back, at every cut, and nothing raises."""

import itertools
import json
import random
import time

import jsonschema
import pytest
from agenthost.server.chat import formats
from agenthost.server.chat.formats import CallStart, FunctionTool, ToolChoice
from agenthost.server.chat.formats.markup import Marks

from .families import FAMILIES, FULL, ONE_CALL, PLAIN, TOOLS, VALUES, WAYS, detected, parsed, template, turn

CHUNKS = (1, 2, 3, 5, 11, 23, None)
MARKERLESS = {"llama3_json", "pythonic"}


def cases(family):
    """Turns by name: (what the assistant says, its calls)."""
    two = [("forecast", FULL), ("now", {})]
    found = {
        "no call": ("Hello there.", []),
        "one": ("", [("forecast", PLAIN)]),
        "no arguments": ("", [("now", {})]),
        "nested, escaped, not ASCII": ("", [("forecast", FULL)]),
    }
    if family not in ONE_CALL:
        found["parallel"] = ("", two)
        found["the same one twice"] = ("", [("now", {}), ("now", {})])
    if family not in MARKERLESS:
        found["text before"] = ("Let me look.", [("forecast", PLAIN)])
    return found


def test_what_may_become_a_mark_is_held_back_and_nothing_else():
    marks = ("<a<", "<a<<b", "ab<", "<")
    for chosen in (marks[:1], marks[:2], marks[:3], marks):
        for text in ("".join(letters) for size in range(7) for letters in itertools.product("<ab", repeat=size)):
            found = [(text.find(mark), -len(mark), mark) for mark in chosen if mark in text]
            held = max(n for n in range(len(text) + 1) if n == 0 or any(m.startswith(text[-n:]) for m in chosen))
            expected = (min(found)[0], min(found)[2]) if found else (len(text) - held, "")
            assert Marks(chosen).look(text) == expected, (chosen, text)


@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_template_writes_is_read_back(family, chunk):
    for name, (text, calls) in cases(family).items():
        written = turn(family, text, calls)
        content, _, read = parsed(detected(family).parser(TOOLS), written, chunk)
        assert content.strip() == text, (name, written)
        assert [(called, json.loads(arguments)) for called, arguments in read] == calls, (name, written)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_template_tells_the_format(family):
    assert detected(family).name == FAMILIES[family]
    assert formats.named(FAMILIES[family], template(family)).name == FAMILIES[family]


@pytest.mark.parametrize("family", FAMILIES)
def test_cuts_and_damage_change_nothing_but_the_text(family):
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    turns = [turn(family, *case) for case in cases(family).values()]
    marks = [*detected(family).markers, '"', "'", "{", "}", "[", "]", "\\", "<", "", ",", "\n", "(", ")", "="]
    for _ in range(60):
        text = "".join(rng.choices(turns, k=rng.randint(1, 2)))
        for _ in range(rng.randint(0, 4)):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(marks) + text[at + rng.randint(0, 3) :]
        text = text[: rng.randint(0, len(text))]
        whole = parsed(detected(family).parser(TOOLS), text)
        for chunk in CHUNKS:
            assert parsed(detected(family).parser(TOOLS), text, chunk) == whole, text


def test_an_object_that_is_no_call_is_the_same_text_at_every_cut():
    text = '{"name": "now", "parameters": {}}{"name": "nobody", "parameters": {"note": "1 < '
    whole = parsed(detected("llama3_json").parser(TOOLS), text)
    for chunk in range(1, len(text)):
        assert parsed(detected("llama3_json").parser(TOOLS), text, chunk) == whole


@pytest.mark.parametrize("family", FAMILIES)
def test_a_truncated_turn_keeps_what_was_certain(family):
    written = turn(family, "", [("forecast", FULL)])
    for length in range(len(written)):
        _, _, calls = parsed(detected(family).parser(TOOLS), written[:length])
        assert len(calls) <= 1
        for name, _ in calls:
            assert name == "forecast"


@pytest.mark.parametrize("family", FAMILIES)
def test_no_markup_leaks_around_a_whole_call(family):
    text = "" if family in MARKERLESS else "Hm."
    content, _, calls = parsed(detected(family).parser(TOOLS), turn(family, text, [("now", {})]))
    assert (content.strip(), len(calls)) == (text, 1)


def test_names_that_are_no_tools_make_text_where_calls_have_no_mark():
    for family, text in (("llama3_json", '{"name": "zz", "parameters": {}}'), ("pythonic", "[zz(a=1)]")):
        assert parsed(detected(family).parser(TOOLS), text) == (text, "", [])


FAN = {"x": {"$ref": "#/$defs/a"}, "y": {"type": "boolean"}}
CHOICES = {"a": {"anyOf": [{"$ref": "#/$defs/a"}] * 30}}
NAMES = {"a": {"type": "object", "properties": {"n" * 20_000: {"$ref": "#/$defs/a"}, "m": {"$ref": "#/$defs/a"}}}}
MANY = {"type": "object", "properties": {f"p{number}": {} for number in range(4_000)}}


@pytest.mark.parametrize("family", ["pythonic", "gemma", "gemma4"])
@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": FAN, "$defs": CHOICES},
        {"type": "object", "properties": FAN, "$defs": NAMES},
        MANY,
    ],
)
def test_the_size_of_a_grammar_is_bounded_whatever_a_schema_refers_to(family, schema):
    begun = time.thread_time()
    grammar = json.dumps(detected(family).tags([FunctionTool("f", schema)], False))
    assert time.thread_time() - begun < 1
    assert len(grammar) < 5_000_000
    assert all(name in grammar for name in schema["properties"])


@pytest.mark.parametrize(
    ("family", "text", "expected"),
    [
        ("qwen3_coder", "<function=now>\n</function>", [("now", "{}")]),
        ("qwen3_coder", "<tool_call>\n<function=now>\n<tool_call>\n<function=now></function></tool_call>", 2),
        ("qwen3_coder", "<tool_call><function=f><parameter=x>\n5\n</parameter></function>", [("f", '{"x": 5}')]),
        ("glm45", "<tool_call>now</tool_call>", [("now", "{}")]),
        ("mistral", '[TOOL_CALLS]now[CALL_ID]abc[ARGS]{}', [("now", "{}")]),
        ("llama3_json", '<|python_start|><|python_end|>{"name": "now", "parameters": {}}', [("now", "{}")]),
        ("mistral_args", '[TOOL_CALLS] [{"name": "now", "arguments": {}}]', [("now", "{}")]),
        ("kimi_k2", "<|tool_call_begin|>functions.now:3<|tool_call_argument_begin|>{}", [("now", "{}")]),
        ("llama3_json", '<|python_tag|>{"name": "now", "parameters": {}}', [("now", "{}")]),
        ("llama3_json", '{"type": "function", "name": "now", "parameters": {}}', [("now", "{}")]),
        ("pythonic", "[now(), forecast('Oslo', days=3)]", [("now", "{}"), ("forecast", '{"city": "Oslo", "days": 3}')]),
        ("pythonic", "[forecast(note='''it's''', city='a\\'b')]", [("forecast", '{"note": "it\'s", "city": "a\'b"}')]),
        ("gemma", "<start_function_call>call:now{}<end_function_call>", [("now", "{}")]),
        ("phi4_mini_json", '<|tool_call|>[{"name": "now", "arguments": {}}]<|/tool_call|>', [("now", "{}")]),
        ("openai", "<|channel|>commentary to=functions.now <|constrain|>json<|message|>", [("now", "{}")]),
        ("openai", " to=functions.now<|channel|>commentary json<|message|>{}", [("now", "{}")]),
    ],
)  # fmt: skip
def test_what_models_of_the_family_also_write(family, text, expected):
    for chunk in CHUNKS:
        content, _, calls = parsed(detected(family).parser(TOOLS), text, chunk)
        assert content == ""
        assert len(calls) == expected if isinstance(expected, int) else calls == expected


def test_harmony_tells_thoughts_from_words():
    text = (
        "<|channel|>analysis<|message|>think <b><|end|><|start|>assistant<|channel|>commentary<|message|>wait<|end|>"
        "<|start|>assistant<|channel|>final<|message|>said"
    )
    for chunk in CHUNKS:
        assert parsed(detected("openai").parser(), text, chunk) == ("waitsaid", "think <b>", [])
        assert parsed(detected("openai").parser(), "no channel at all", chunk) == ("no channel at all", "", [])


def test_ids_that_the_model_writes_are_passed_on():
    calls = "[TOOL_CALLS]now[CALL_ID]abcdef123[ARGS]{}[TOOL_CALLS]now[CALL_ID]abcdef124[ARGS]{}"
    for family, written, ids in (
        ("kimi_k2", turn("kimi_k2", "", [("now", {}), ("now", {})]), ["functions.now:0", "functions.now:1"]),
        ("mistral_ids", calls, ["abcdef123", "abcdef124"]),
    ):
        deltas = detected(family).parser().feed(written)
        assert [delta.id for delta in deltas if isinstance(delta, CallStart)] == ids


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ('<|header_start|> {"name": name, "parameters": {}} <|python_start|>words<|python_end|>', "llama3_json"),
        ("<|header_start|> Call as [func_name1(param1=value1), func_name2(...)]", "pythonic"),
        ("<|start_header_id|> <|python_tag|>print() <function=name>{}</function>", None),
        ('within <tool_call></tool_call>: <tool_calls>[{"name": f, "arguments": {}}]</tool_calls>', None),
    ],
)
def test_formats_that_look_alike_are_told_apart(template, name):
    found = formats.detect(template)
    assert (found and found.name) == name


def test_a_long_text_argument_is_passed_on_while_it_is_written():
    parser = detected("qwen3_coder").parser(TOOLS)
    parser.feed("<tool_call>\n<function=forecast>\n<parameter=note>\nbegin ")
    pieces = [parser.feed("word ") for _ in range(50)]
    assert all(len(piece) == 1 for piece in pieces)


# -- grammars ---------------------------------------------------------------------------------------------------------


def accepted_texts(family, choice):
    calls = [
        turn(family, "", [("forecast", PLAIN)]),
        turn(family, "", [("forecast", FULL)]),
        turn(family, "", [("now", {})]),
    ]
    if family not in ONE_CALL and choice.parallel:
        calls.append(turn(family, "", [("forecast", PLAIN), ("now", {})]))
    words = [turn(family, "hi there")]
    return calls if choice.mode == "required" else [*words, *calls]


@pytest.fixture(scope="module")
def accepts():
    """Whether xgrammar, compiling the tag as the engine does, lets a model write exactly this text."""
    xgrammar = pytest.importorskip("xgrammar")
    from agenthost.engine.sampling.grammar_schema import prepare_structural_tag

    end = 256
    vocabulary = [bytes([i]) for i in range(256)] + [b"<end>"]
    info = xgrammar.TokenizerInfo(vocabulary, xgrammar.VocabType.RAW, stop_token_ids=[end])
    compiler = xgrammar.GrammarCompiler(info)

    def check(tag):
        compiled = compiler.compile_structural_tag(prepare_structural_tag(json.dumps(tag), lambda _: False))

        def accept(text):
            matcher = xgrammar.GrammarMatcher(compiled)
            return matcher.accept_string(text) and matcher.accept_token(end)

        return accept

    return check


@pytest.mark.parametrize(
    "choice", [ToolChoice("auto"), ToolChoice("required"), ToolChoice("auto", parallel=False)], ids=str
)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_grammar_admits_what_the_template_writes(accepts, family, choice):
    accept = accepts(detected(family).grammar(TOOLS, choice))
    assert [text for text in accepted_texts(family, choice) if not accept(text)] == []


def test_arguments_stand_in_the_order_of_the_schema_or_of_their_names(accepts):
    properties = {name: {"type": "integer"} for name in ("z", "b", "Y", "a")}
    tools = [FunctionTool("f", {"type": "object", "properties": properties, "required": ["Y", "b"]})]
    written = {"pythonic": "[f({})]", "gemma4": "<|tool_call>call:f{{{}}}<tool_call|>"}
    for family, right, wrong in (
        ("pythonic", ["z=1, b=2, Y=3, a=4", "b=2, Y=3", "b=2, Y=3, a=4"], ["b=2, z=1, Y=3", "z=1, Y=3"]),
        ("gemma4", ["a:4,b:2,Y:3,z:1", "b:2,Y:3", "b:2,Y:3,z:1"], ["b:2,Y:3,a:4", "a:4,b:2"]),
    ):
        accept = accepts(detected(family).grammar(tools, ToolChoice("required")))
        assert [accept(written[family].format(text)) for text in right] == [True] * len(right)
        assert [accept(written[family].format(text)) for text in wrong] == [False] * len(wrong)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_grammar_refuses_wrong_calls(accepts, family):
    format = detected(family)
    wrong = [
        turn(family, "", [("forecast", {})]),
        turn(family, "", [("forecast", {**PLAIN, "days": "many"})]),
        turn(family, "", [("forecast", {**PLAIN, "unit": "K"})]),
        turn(family, "", [("forecast", {**PLAIN, "extra": 1})]),
        turn(family, "", [("unknown", {})]),
    ]
    for mode in ("auto", "required"):
        accept = accepts(format.grammar(TOOLS, ToolChoice(mode)))
        assert [text for text in wrong if accept(text)] == []
    accept = accepts(format.grammar(TOOLS, ToolChoice("required")))
    assert not accept(turn(family, "hi there"))
    named = accepts(format.grammar(TOOLS, ToolChoice("named", "now")))
    assert named(turn(family, "", [("now", {})]))
    assert not named(turn(family, "", [("forecast", PLAIN)]))
    allowed = accepts(format.grammar(TOOLS, ToolChoice("auto", allowed=("now",))))
    assert allowed(turn(family, "", [("now", {})]))
    assert not allowed(turn(family, "", [("forecast", PLAIN)]))
    none = accepts(format.grammar(TOOLS, ToolChoice("none")))
    assert none(turn(family, "hi there"))
    assert not none(turn(family, "", [("now", {})]))
    if family not in ONE_CALL:
        single = accepts(format.grammar(TOOLS, ToolChoice("required", parallel=False)))
        assert not single(turn(family, "", [("now", {}), ("now", {})]))


@pytest.mark.parametrize("family", WAYS)
def test_marks_inside_of_a_value_are_read_back_or_not_admitted(accepts, family):
    """A text may quote the very marks that end it: a careless model must not get out of its argument that way."""
    accept = accepts(detected(family).grammar(TOOLS, ToolChoice("required")))
    marks = {*detected(family).markers, "</parameter>", "</function>", "</tool_call>", "<escape>", "```", "}", ")", "]"}
    for mark in sorted(marks):
        for note in (mark, f"a {mark} b", f'{mark}"}}{mark}', f"'{mark}\\"):
            arguments = {**PLAIN, "note": note}
            written = turn(family, "", [("forecast", arguments)])
            if accept(written):
                for chunk in CHUNKS:
                    _, _, calls = parsed(detected(family).parser(TOOLS), written, chunk)
                    assert [(name, json.loads(given)) for name, given in calls] == [("forecast", arguments)], written


@pytest.mark.parametrize("family", FAMILIES)
def test_the_grammar_joins_calls_with_a_wanted_answer(accepts, family):
    answer = {"type": "json_schema", "json_schema": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    accept = accepts(detected(family).grammar(TOOLS, ToolChoice("auto"), answer))
    assert accept(turn(family, '{"a": 3}'))
    assert accept(turn(family, "", [("now", {})]))
    assert not accept(turn(family, "hi there"))


SCHEMAS = {
    "references": {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"],
        "$defs": {"A": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
    },
    "recursive": {
        "type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "required": ["a"],
        "$defs": {"A": {"type": "object", "properties": {"n": {"type": "integer"}, "next": {"$ref": "#/$defs/A"}}}},
    },
    "anything": {"type": "object", "properties": {"a": {}}, "required": ["a"]},
    "free object": {"type": "object", "properties": {"a": {"type": "object"}}, "required": ["a"]},
    "several types": {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
    "bounded list": {
        "type": "object", "required": ["a"],
        "properties": {"a": {"type": "array", "items": {"type": "boolean"}, "minItems": 1, "maxItems": 2}},
    },
    "only optional": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"const": "x"}}},
}  # fmt: skip
INSTANCES = {
    "references": {"a": {"n": 1}}, "recursive": {"a": {"n": 1, "next": {"n": 2}}}, "anything": {"a": [1, "x"]},
    "free object": {"a": {"k": 1}}, "several types": {"a": None}, "bounded list": {"a": [True, False]},
    "only optional": {"b": "x"},
}  # fmt: skip


@pytest.mark.parametrize("case", SCHEMAS)
@pytest.mark.parametrize("family", FAMILIES)
def test_schemas_of_every_kind_have_a_grammar(accepts, family, case):
    tool = formats.FunctionTool("f", SCHEMAS[case])
    written = turn(family, "", [("f", INSTANCES[case])])
    assert accepts(detected(family).grammar([tool], ToolChoice("required")))(written)
    _, _, calls = parsed(detected(family).parser([tool]), written)
    assert json.loads(calls[0][1]) == INSTANCES[case]


def test_the_cases_are_what_they_should_be():
    jsonschema.validate(FULL, VALUES)
    jsonschema.validate(PLAIN, VALUES)
    for case, instance in INSTANCES.items():
        jsonschema.validate(instance, SCHEMAS[case])
