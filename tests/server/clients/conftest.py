"""Servers for real clients: one with the embedded model, one with a model that has learnt its lines by heart."""

import json
import shutil
import threading
from pathlib import Path

import agents
import httpx
import pytest
from agenthost.engine import AsyncEngine, EngineConfig, resolve_model
from agenthost.server.config import ServerConfig

REHEARSED = Path(__file__).parent / "rehearsed.py"
agents.set_tracing_disabled(True)


class Stage:
    """A server around the rehearsed model, see ``rehearsed.py``. Its name is ``m``."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self._file = folder / "lines.json"

    def rehearse(self, lines: dict[str, str]) -> None:
        """From now on the model says what ``lines`` has after the cue that it heard last."""
        self._file.with_suffix(".new").write_text(json.dumps(lines))
        self._file.with_suffix(".new").replace(self._file)


def call(tool: str, **arguments: object) -> str:
    """A call as the embedded model's template has it."""
    return f'<tool_call>\n{{"name": "{tool}", "arguments": {json.dumps(arguments)}}}\n</tool_call>'


def wait_until_ready(url: str) -> None:
    for _ in range(1200):
        if httpx.get(f"{url}/health").status_code == 200:
            return
        threading.Event().wait(0.05)
    pytest.fail("the server did not become ready within a minute")


@pytest.fixture(scope="session")
def whole_stage(tmp_path_factory, make_server):
    folder = tmp_path_factory.mktemp("rehearsed")
    embedded = resolve_model("pocket")
    for file in embedded.iterdir():
        if file.suffix in (".json", ".jinja") and "safetensors" not in file.name:
            shutil.copy(file, folder)
    config = json.loads((folder / "config.json").read_text())
    small = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 64, "num_attention_heads": 1}
    config |= {**small, "num_key_value_heads": 1, "head_dim": 64, "max_position_embeddings": 65536}
    (folder / "config.json").write_text(json.dumps(config))
    engine = AsyncEngine(EngineConfig(model=str(folder), dummy_weights=True, dtype="float32", kv_tokens=200_000))
    engine.program = (str(REHEARSED), str(folder))
    stage = Stage("", folder)
    stage.rehearse({})
    with make_server(ServerConfig(engine=engine.config, served_model_name=("m",)), engine) as url:
        wait_until_ready(url)
        stage.url = url
        yield stage


@pytest.fixture
def stage(whole_stage):
    """With nothing learnt yet."""
    whole_stage.rehearse({})
    return whole_stage


@pytest.fixture(scope="session")
def pocket(make_server):
    """The URL of a server with the embedded model."""
    with make_server(ServerConfig()) as url:
        wait_until_ready(url)
        yield url


@pytest.fixture(scope="session", name="call")
def call_fixture():
    return call
