"""Configuration comes from flags, then variables, then a file; a mistake is named."""

import pytest
from agenthost.server.config import ServerConfig
from agenthost.server.settings import ConfigError


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
