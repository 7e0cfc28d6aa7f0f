"""What is kept of a login, and the page on this machine to which it comes back. The suite's servers test the rest."""

from __future__ import annotations

import json
from contextlib import nullcontext

import anyio
import httpx2
import pytest
from agenthost.tools.remote import RemoteConfigError, ServerConfig, read_config
from agenthost.tools.remote.config import OAuth
from agenthost.tools.remote.login import Login, TokenFile
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

pytestmark = pytest.mark.anyio
DOCS = ServerConfig("docs", url="https://docs.example/mcp")


def provider(login: Login, config: ServerConfig = DOCS) -> OAuthClientProvider:
    auth = login.auth(config, nullcontext)
    assert isinstance(auth, OAuthClientProvider)
    return auth


async def test_tokens_are_kept_for_one_server_and_one_user(tmp_path):
    kept = TokenFile(tmp_path / "logins", DOCS, OAuth())
    assert await kept.get_tokens() is None
    await kept.set_tokens(OAuthToken(access_token="secret"))
    [file] = (tmp_path / "logins").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    again = await TokenFile(tmp_path / "logins", DOCS, OAuth()).get_tokens()
    assert again is not None
    assert again.access_token == "secret"
    other = ServerConfig("docs", url="https://elsewhere.example/mcp")
    assert await TokenFile(tmp_path / "logins", other, OAuth()).get_tokens() is None
    file.write_text("{broken")
    assert await TokenFile(tmp_path / "logins", DOCS, OAuth()).get_tokens() is None


async def test_a_registration_keeps_its_page(tmp_path):
    redirect = {"redirect_uris": ["http://127.0.0.1:41234/callback"]}
    client = OAuthClientInformationFull.model_validate({"client_id": "c", **redirect})
    await TokenFile(tmp_path, DOCS, OAuth()).set_client_info(client)
    uris = provider(Login(tmp_path)).context.client_metadata.redirect_uris
    assert [str(uri) for uri in uris or ()] == ["http://127.0.0.1:41234/callback"]


def test_a_configuration_with_credentials_of_its_own_needs_no_login():
    given = ServerConfig("docs", url="https://docs.example/mcp", headers={"authorization": "Bearer x"})
    assert Login().auth(given, nullcontext) is None
    assert Login().auth(ServerConfig("local", ("program",)), nullcontext) is None


async def test_without_a_person_the_operator_is_told_what_to_do():
    redirect = provider(Login()).context.redirect_handler
    assert redirect is not None
    with pytest.raises(OAuthFlowError, match="agenthost run"):
        await redirect("https://login.example/")


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd"])
async def test_only_pages_of_the_web_are_shown(url):
    shown = []

    async def show(label: str, page: str) -> None:
        shown.append(page)

    redirect = provider(Login(show=show)).context.redirect_handler
    assert redirect is not None
    with pytest.raises(OAuthFlowError, match="not on the web"):
        await redirect(url)
    assert shown == []


@pytest.mark.parametrize(
    ("query", "outcome"), [("code=c&state=s&iss=i", ("c", "s", "i")), ("error=access_denied", "access_denied")]
)
async def test_the_page_takes_the_login_and_nothing_else(query, outcome):
    async def show(label: str, page: str) -> None:
        assert (label, page) == ("docs", "https://login.example/")

    context = provider(Login(show=show)).context
    assert context.redirect_handler is not None
    assert context.callback_handler is not None
    await context.redirect_handler("https://login.example/")
    page = str((context.client_metadata.redirect_uris or [])[0])
    async with anyio.create_task_group() as group:

        async def visit() -> None:
            port = int(page.split(":")[2].partition("/")[0])
            for sent in (b"", b"GET /callback?code=half"):  # a browser may connect ahead of time, or give up
                async with await anyio.connect_tcp("127.0.0.1", port) as stream:
                    await stream.send(sent)
            async with httpx2.AsyncClient() as http:
                assert (await http.get(page.replace("callback", "favicon.ico"))).status_code == 404
                assert (await http.get(f"{page}?{query}")).status_code == 200

        group.start_soon(visit)
        if isinstance(outcome, tuple):
            result = await context.callback_handler()
            assert (result.code, result.state, result.iss) == outcome
        else:
            with pytest.raises(OAuthFlowError, match=outcome):
                await context.callback_handler()


def test_the_configuration_says_how_to_log_in(tmp_path):
    file = tmp_path / "mcp.json"
    oauth = {"clientId": "c", "clientSecret": "${SECRET}", "scopes": ["a", "b"], "grant": "client_credentials"}
    file.write_text(json.dumps({"mcpServers": {"docs": {"url": "https://docs.example/mcp", "oauth": oauth}}}))
    [config] = read_config(file, {"SECRET": "s"})
    assert config.oauth == OAuth("c", "s", None, "a b", None, client_credentials=True)


@pytest.mark.parametrize(
    ("oauth", "says"),
    [
        (True, "expected an object"),
        ({"client": "c"}, "unknown: client"),
        ({"grant": "password"}, "expected 'authorization_code'"),
        ({"grant": "client_credentials"}, "needs clientId and clientSecret"),
        ({"callbackPort": "80"}, "expected a port"),
    ],
)
def test_a_login_that_cannot_be_is_refused(tmp_path, oauth, says):
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": {"docs": {"url": "https://docs.example/mcp", "oauth": oauth}}}))
    with pytest.raises(RemoteConfigError, match=says):
        read_config(file, {})
