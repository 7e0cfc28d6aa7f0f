"""Configuration comes from flags, then variables, then a file; a mistake is named."""

import dataclasses

import pytest
from agenthost.server.config import ServerConfig
from agenthost.server.settings import BROWSER_SETTINGS, SANDBOX_SETTINGS, ConfigError
from agenthost.tools import BrowserConfig
from agenthost.tools.sandbox.config import SandboxConfig


def test_flags_win_over_variables_and_these_over_the_file(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text('port = 1\nhost = "localhost"\nmodel = "from-file"\nmax-model-len = 100\n')
    config = ServerConfig.load(
        {"port": 3, "config": str(file), "enable_metrics": True},
        {"AGENTHOST_PORT": "2", "AGENTHOST_MODEL": "from-variable", "AGENTHOST_SERVED_MODEL_NAME": "a,b c"},
    )
    assert (config.port, config.host, config.engine.model, config.engine.max_model_len) == (
        3, "localhost", "from-variable", 100,
    )  # fmt: skip
    assert config.served_model_name == ("a", "b", "c")


def test_variables_have_the_types_of_the_settings():
    config = ServerConfig.load({}, {"AGENTHOST_PREFIX_CACHE": "false", "AGENTHOST_THREADS": "3", "OTHER": "x"})
    assert config.engine.prefix_cache is False
    assert config.engine.threads == 3


@pytest.mark.parametrize(
    ("flags", "variables", "said"),
    [
        ({}, {"AGENTHOST_PORT": "seventy"}, "port"),
        ({"port": 70000}, {}, "port"),
        ({"threads": "many"}, {}, "threads"),
        ({"dtype": "float8"}, {}, "float8"),
        ({"host": "0.0.0.0"}, {}, "api_key"),
        ({"host": "::"}, {}, "api_key"),
        ({"host": "0.0.0.0", "allow_unsafe_code": True}, {}, "api_key"),
        ({"allowed_origins": ["*"]}, {}, "allowed_origins"),
        ({"config": "/no/such/file.toml"}, {}, "no/such/file"),
    ],
)
def test_a_mistake_is_named(flags, variables, said):
    with pytest.raises(ConfigError, match=said):
        ServerConfig.load(flags, variables)


def test_an_unknown_setting_in_the_file_is_named(tmp_path):
    file = tmp_path / "a.toml"
    file.write_text("prot = 8000\n")
    with pytest.raises(ConfigError, match="prot"):
        ServerConfig.load({"config": str(file)}, {})


def test_others_may_call_only_with_a_key():
    assert ServerConfig(host="0.0.0.0", api_key="k").host == "0.0.0.0"
    assert ServerConfig(host="127.0.0.5").api_key is None


def test_the_browser_tools_are_set_up_by_flags_and_variables(tmp_path):
    config = ServerConfig.load(
        {"browser": "text", "allow_host": ["a.example:8080"]},
        {"AGENTHOST_BRAVE_KEY": "k", "AGENTHOST_ALLOW_HOST": "b.example", "AGENTHOST_BROWSER_CONTROL": "false"},
    )
    assert config.browsing == BrowserConfig(browser="text", allow_host=("a.example:8080",), brave_key="k")
    config = ServerConfig.load({}, {"AGENTHOST_ALLOW_HOST": "b.example, c.example:1"})
    assert config.browsing.allow_host == ("b.example", "c.example:1")


def test_the_settings_of_the_tools_are_their_configurations_fields():
    assert {field.name for field in dataclasses.fields(BrowserConfig)} == BROWSER_SETTINGS
    assert {field.name for field in dataclasses.fields(SandboxConfig)} == SANDBOX_SETTINGS


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"browser": "netscape"}, "browser"),
        ({"allow_host": ["http://x"]}, "allow_host"),
        ({"search_index": "/no/such/folder"}, "search_index"),
        ({"search_url": "file:///etc"}, "search_url"),
        ({"sandbox_allow_hosts": ["http://x"]}, "sandbox_allow_hosts"),
        ({"allow_unsafe_code": "perhaps"}, "allow_unsafe_code"),
    ],
)
def test_a_mistake_in_the_tools_settings_is_named(flags, said):
    with pytest.raises(ConfigError, match=said):
        ServerConfig.load(flags, {})


def test_how_code_runs_is_set_by_flags_and_variables():
    config = ServerConfig.load({"allow_unsafe_code": True}, {"AGENTHOST_SANDBOX_ALLOW_HOSTS": "pypi.org, a.example:80"})
    assert config.sandbox == SandboxConfig(True, ("pypi.org", "a.example:80"))
    assert ServerConfig.load({}, {}).sandbox == SandboxConfig(False, ())


def test_state_is_where_the_system_expects_it(monkeypatch):
    monkeypatch.setattr("agenthost.tools.sandbox.identity.server_is_root", lambda: False)
    assert ServerConfig.load({}, {"HOME": "/home/..."}).state_dir == "/home/.../.local/state/agenthost"
    monkeypatch.setattr("agenthost.tools.sandbox.identity.server_is_root", lambda: True)
    assert ServerConfig.load({}, {"HOME": "/home/..."}).state_dir == "/var/lib/agenthost"
    assert ServerConfig.load({}, {"XDG_STATE_HOME": "/state"}).state_dir == "/state/agenthost"
