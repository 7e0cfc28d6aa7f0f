"""What responses keep of an external server: the tools that it listed, and its URL without what may be secret."""

import time

import pytest
from agenthost.server.openai.responses.mcp.listing import pinned, renewed
from agenthost.server.openai.responses.mcp.wanted import redacted


def listed(*names):
    tools = [{"name": name, "input_schema": {"type": "object"}} for name in names]
    return {"type": "mcp_list_tools", "server_label": "tricky", "tools": tools}


def test_a_server_that_was_listed_all_too_often_is_asked_about_and_takes_no_time():
    items = [*[listed("q")] * 3_000, listed(*map(str, range(300)))]
    now = pinned(items, "tricky")
    assert now is not None
    begun = time.thread_time()
    assert renewed(items, "tricky", now) == set(now)
    assert time.thread_time() - begun < 1
    assert renewed(items[-9:], "tricky", now) == set()


@pytest.mark.parametrize("url", ["https://h?key=SECRET", "https://h#SECRET", "https://SECRET@h", "https://h/SECRET"])
def test_what_may_be_secret_in_a_url_is_not_shown(url):
    assert redacted(url).removesuffix("/<redacted>") == "https://h"
