"""Codex's requests, with the tools and items that are its own."""

import json

import httpx

from .families import turn


def codex(**more):
    """A request as Codex sends it."""
    return {
        "model": "m", "instructions": "You write code.", "store": False, "stream": True, "tool_choice": "auto",
        "parallel_tool_calls": True, "include": ["reasoning.encrypted_content"], "prompt_cache_key": "thread-1",
        "text": {"verbosity": "low"}, "reasoning": {"effort": "medium", "summary": "auto"},
        "tools": [
            {"type": "function", "name": "exec_command", "strict": False,
             "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}, "required": ["cmd"]}},
            {"type": "custom", "name": "apply_patch", "description": "Edits files.",
             "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "*** Begin Patch" LF\nLF: /\\n/'}},
            {"type": "namespace", "name": "mcp__docs", "description": "Documents.", "tools": [
                {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {}}}]},
            {"type": "local_shell"}, {"type": "web_search", "external_web_access": False},
            {"type": "tool_search", "execution": "client", "description": "Finds tools.", "parameters": {}},
        ],
        **more,
    }  # fmt: skip


def test_codex_gets_along_with_its_own_tools_and_items(scripted):
    said = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "go"}]}]
    made = []
    calls = [("exec_command", {"cmd": "ls"}), ("mcp__docs.find", {}), ("apply_patch", {"input": "*** Begin Patch\n"})]
    for name, arguments in calls:
        scripted.says(turn("chatml", "", [(name, arguments)]))
        with httpx.stream("POST", f"{scripted.url}/v1/responses", json=codex(input=[*said, *made])) as stream:
            events = [json.loads(line[6:]) for line in stream.iter_lines() if line.startswith("data: {")]
        last = events[-1]
        assert last["type"] == "response.completed"
        assert {"cached_tokens", "cache_write_tokens"} <= last["response"]["usage"]["input_tokens_details"].keys()
        assert "reasoning_tokens" in last["response"]["usage"]["output_tokens_details"]
        [item] = last["response"]["output"]
        kind = item["type"]
        output = [{"type": "input_text", "text": "done"}] if kind == "function_call" else "done"
        made += [item, {"type": f"{kind}_output", "call_id": item["call_id"], "output": output}]
    assert [item["type"] for item in made[::2]] == ["function_call", "function_call", "custom_tool_call"]
    assert (made[2]["namespace"], made[2]["name"]) == ("mcp__docs", "find")
    made.append({"type": "agent_message", "author": "planner", "content": [{"type": "input_text", "text": "hm"}]})
    made.append({"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "Be quick."}]})
    scripted.says("ok")
    answer = httpx.post(f"{scripted.url}/v1/responses", json=codex(input=[*said, *made], stream=False))
    assert answer.json()["status"] == "completed"
    prompt = scripted.engine.prompt_text()
    assert "Be quick." in prompt
    assert "hm" in prompt
    # All that the model wrote in three turns is there as it wrote it.
    assert all(turn("chatml", "", [(name, arguments)]) in prompt for name, arguments in calls)
