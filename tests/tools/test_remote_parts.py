"""What is decided about external servers before any of them runs: configuration, names, definitions, results."""

from __future__ import annotations

import json
import time
import unicodedata

import mcp.types as types
import pytest
from agenthost.tools import Media
from agenthost.tools.arguments import problem_of
from agenthost.tools.remote import RemoteConfigError, ServerConfig, read_config
from agenthost.tools.remote.definition import BadDefinition, definition, visible
from agenthost.tools.remote.names import Aliases
from agenthost.tools.remote.result import tool_result
from agenthost.tools.remote.server import plain


def read(tmp_path, content, environment=None):
    file = tmp_path / "mcp.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    return read_config(file, environment or {})


def test_the_ecosystems_format_is_read(tmp_path):
    found = read(
        tmp_path,
        {
            "mcpServers": {
                "files": {"command": "npx", "args": ["-y", "x"], "env": {"TOKEN": "${TOKEN}"}, "autoApprove": ["read"]},
                "docs": {
                    "type": "http",
                    "url": "https://docs.example/mcp",
                    "headers": {"Authorization": "Bearer ${T:-d}"},
                },
                "off": {"command": "x", "disabled": True},
                "few": {"url": "http://127.0.0.1:1/mcp", "allowedTools": ["a"], "timeoutSeconds": 5, "defer": True},
            }
        },
        {"TOKEN": "secret"},
    )
    assert found == [
        ServerConfig("files", ("npx", "-y", "x"), {"TOKEN": "secret"}, approved=frozenset({"read"})),
        ServerConfig("docs", url="https://docs.example/mcp", headers={"Authorization": "Bearer d"}),
        ServerConfig("few", url="http://127.0.0.1:1/mcp", allowed=frozenset({"a"}), timeout=5.0, defer=True),
    ]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "cannot read"),
        ("[]", 'expected an object with "mcpServers"'),
        ({"mcpServers": {"a b": {"command": "x"}}}, "a label has"),
        ({"mcpServers": {"a": 3}}, "expected an object"),
        ({"mcpServers": {"a": {}}}, 'expected either "command"'),
        ({"mcpServers": {"a": {"command": "x", "url": "http://x"}}}, 'expected either "command"'),
        ({"mcpServers": {"a": {"command": 3}}}, "command: expected a string"),
        ({"mcpServers": {"a": {"command": "x", "args": "y"}}}, "args: expected a list"),
        ({"mcpServers": {"a": {"url": "file:///etc/passwd"}}}, "expected http:// or https://"),
        ({"mcpServers": {"a": {"type": "sse", "url": "http://x"}}}, "SSE transport is out of use"),
        ({"mcpServers": {"a": {"type": "websocket", "url": "http://x"}}}, "expected 'stdio' or 'http'"),
        ({"mcpServers": {"a": {"command": "x", "env": {"A": "${NOT_SET}"}}}}, "NOT_SET is not set"),
        ({"mcpServers": {"a__b": {"command": "x"}}}, "single '_'"),
        ({"mcpServers": {"a_": {"command": "x"}}}, "does not end with '_'"),
        ({"mcpServers": {"a": {"command": "x", "timeoutSeconds": -1}}}, "timeoutSeconds is -1"),
    ],
)
def test_a_bad_configuration_says_where_and_what_is_expected(tmp_path, content, problem):
    with pytest.raises(RemoteConfigError) as failure:
        read(tmp_path, content)
    assert problem in str(failure.value)
    assert "mcp.json" in str(failure.value)


def test_aliases_fit_every_api_and_never_collide():
    aliases = Aliases()
    originals = [("a", "x.y"), ("a", "x/y"), ("a", "x_y"), ("a", "t" * 200), ("a", "t" * 201), ("a", "ü"), ("b", "x_y")]
    names = [aliases.add(*original) for original in originals]
    assert len(set(names)) == len(names)
    assert all(
        len(name) <= 64 and name.isascii() and name.replace("-", "_").replace("_", "a").isalnum() for name in names
    )
    assert [aliases.add(*original) for original in originals] == names


def test_aliases_do_not_collide_whatever_labels_and_names_hold():
    aliases = Aliases()
    one = aliases.add("a", "b__c")
    two = aliases.add("a__b", "c")
    taken = Aliases()
    copy = taken.add("a", two.removeprefix("a__"))  # as the second one is called there
    names = [copy, *(taken.add(*original) for original in (("a", "b__c"), ("a__b", "c")))]
    assert (one, copy) == ("a__b__c", two)
    assert len({*names}) == 3


def tool(**more):
    return types.Tool(**{"name": "t", "description": "d", "input_schema": {"type": "object"}, **more})


def test_a_fingerprint_follows_name_description_and_schema():
    first = definition(tool())
    assert definition(tool()).fingerprint == first.fingerprint
    changes = [{"name": "u"}, {"description": "e"}, {"input_schema": {"type": "object", "required": []}}]
    assert len({definition(tool(**change)).fingerprint for change in changes} | {first.fingerprint}) == 4
    hidden = definition(tool(description="d\u200b"))  # what nobody is shown changes nothing
    assert hidden.description == "d"
    assert hidden.fingerprint == first.fingerprint


def nested(levels):
    schema = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"x": schema}}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        nested(40),
        {"type": "object", "description": "x" * 40_000},
        {"type": "object", "properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"type": "string"},
    ],
)
def test_bombs_and_foreign_references_are_refused(schema):
    with pytest.raises(BadDefinition):
        definition(tool(input_schema=schema))


def test_regular_expressions_of_others_are_not_run_but_arguments_may_be_called_pattern():
    schema = {"type": "object", "properties": {"pattern": {"type": "string", "pattern": "(a+)+$"}}}
    assert definition(tool(input_schema=schema)).parameters["properties"] == {"pattern": {"type": "string"}}


@pytest.mark.parametrize("reference", ["http://127.0.0.1:9/schema.json", "#/nowhere", "#/other", "#/properties/x"])
def test_a_reference_that_leads_nowhere_is_a_problem_of_the_call_and_fetches_nothing(reference):
    schema = {"type": "object", "properties": {"x": {"$ref": reference}}, "other": 5}
    assert "cannot be used" in str(problem_of({"x": 1}, schema))


FAN = {f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(30)}
ANEW = {"properties": {"x": {"allOf": [{"$ref": "#/$defs/anew"}] * 2}}}  # at every level of the arguments
DEEP: dict = {}
for _ in range(40):
    DEEP = {"x": DEEP}


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ({"properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": {**FAN, "d30": {"type": "string"}}}, {"x": "a"}),
        ({"properties": {"x": {"$ref": "#/$defs/anew"}}, "$defs": {"anew": ANEW}}, DEEP),
        ({"properties": {"x": {"anyOf": [{"type": "string"}] * 1000}}}, {"x": {"y": "z" * 1_000_000}}),
        ({"properties": {"x": {"uniqueItems": True}}}, {"x": [{"y": number} for number in range(5_000)]}),
        ({"properties": {"x": {"pattern": "^(a+)+$"}}}, {"x": "a" * 40 + "!"}),
    ],
)
def test_no_schema_and_no_arguments_hold_up_others(schema, arguments):
    schema = definition(tool(input_schema={"type": "object", **schema})).parameters
    begun = time.thread_time()
    problem = problem_of(arguments, schema)
    assert time.thread_time() - begun < 1
    assert problem is None or "takes too long" in problem


def test_a_schema_that_refers_to_itself_is_checked():
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "value": {"type": "integer"}}}
    schema = definition(tool(input_schema=tree)).parameters
    assert problem_of({"left": {"left": {"value": 1}}}, schema) is None
    problem = problem_of({"left": {"left": {"value": "x"}}}, schema)
    assert problem == "['left']['left']['value']: 'x' is not of type 'integer'."


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("a\x1b[31mb\x1b[0m\x1b]8;;http://x\x07c", "abc"),
        ("a\u200b\u202e\ufeff\U000e0041b", "ab"),
        ("é\n\t日本", "é\n\t日本"),
        ("\x00\x07\x9b", ""),
    ],
)
def test_hidden_characters_are_dropped(text, seen):
    assert visible(text, 100) == seen


def test_of_long_texts_only_the_beginning_is_looked_at(monkeypatch):
    looked = []
    category = unicodedata.category
    monkeypatch.setattr(unicodedata, "category", lambda c: looked.append(c) or category(c))
    given = types.CallToolResult(content=[types.TextContent(text="a" * 1_000_000)])
    assert "900000 characters left out" in tool_result("x", given).text
    hidden = types.CallToolResult(content=[types.TextContent(text="\u200b" * 1_000_000)])
    assert "900000 characters left out" in tool_result("x", hidden).text
    assert plain("a" * 1_000_000, 1000) == "a" * 1000
    assert len(looked) < 500_000


def test_every_kind_of_content_reads_as_text():
    given = types.CallToolResult(
        content=[
            types.TextContent(text="text"),
            types.ImageContent(data="AP8=", mime_type="image/png"),
            types.ImageContent(data="not base64", mime_type="image/png"),
            types.EmbeddedResource(resource=types.TextResourceContents(uri="a://b", text="inside")),
            types.EmbeddedResource(resource=types.BlobResourceContents(uri="a://c", blob="AA==")),
            types.ResourceLink(name="n", uri="a://d"),
        ]
    )
    result = tool_result("x", given)
    lines = result.text.splitlines()
    assert lines[1:] == [
        "text", "[image: image/png]", "[image: could not be read]", "[a://b]", "inside", "[a://c: binary]",
        "[link: n a://d]",
    ]  # fmt: skip
    assert result.media == (Media(b"\x00\xff", "image/png"),)
    only_structured = tool_result("x", types.CallToolResult(content=[], structured_content={"a": 1}))
    assert only_structured.text.endswith('\n{"a": 1}')
    assert tool_result("x", types.CallToolResult(content=[])).text.endswith("\n(no text)")
