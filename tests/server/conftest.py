"""A tiny model folder, an engine that plays a script, and a real server around either."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import tokenizers
import uvicorn
from agenthost.engine import AsyncEngine, EngineConfig, EngineError, EngineInfo, Request, TokenOutput, TokenStream
from agenthost.engine.request import TokenLogprob
from agenthost.server.app import create_app
from agenthost.server.config import ServerConfig
from tokenizers import decoders, pre_tokenizers

TEMPLATES = Path(__file__).parent / "templates"
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CONTEXT = 4000


def write_model(
    folder: Path,
    *,
    template: str = "chatml",
    special: tuple[str, ...] = (),
    words: tuple[str, ...] = (),
    eos: str = "<|im_end|>",
    generation=None,
) -> Path:
    """A model folder without weights: one token per byte, plus ChatML's marks, the ``special`` ones, and ``words``."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([*SPECIALS, *special])
    backend.add_tokens(list(words))
    backend.save(str(folder / "tokenizer.json"))
    end = backend.token_to_id(eos)
    named = {"bos_token": "<|endoftext|>", "eos_token": eos, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(named))
    (folder / "config.json").write_text(json.dumps({"model_type": "qwen3", "eos_token_id": end}))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end, **(generation or {})}))
    (folder / "chat_template.jinja").write_text((TEMPLATES / f"{template}.jinja").read_text())
    return folder


class ScriptedEngine(AsyncEngine):
    """Stands in for the engine where a test needs an exact output or a failure that no model gives on demand.

    ``play`` gets each request and returns the text to output, or an exception: raised when the request is submitted.
    An exception as the last item of a list ends the output after the texts before it. ``gate``, when set, is awaited
    before every token but the first.
    """

    def __init__(self, folder: Path, play: Callable) -> None:
        super().__init__(EngineConfig(model=str(folder)))
        self.play = play
        self.requests: list[Request] = []
        self.stops: list[tuple[str, ...]] = []
        self.aborted: list[str] = []
        self.gate: Callable | None = None
        self.context = CONTEXT
        self.state: Any = "ready"
        self.failure: Exception | None = None
        self._plays: dict[str, asyncio.Task] = {}

    async def __aenter__(self):
        return self

    async def __aexit__(self, kind, error, trace):
        for play in self._plays.values():
            play.cancel()

    @property
    def status(self):
        return self.state

    async def ready(self):
        if self.failure:
            raise self.failure
        return EngineInfo(
            model="scripted", device="cpu", dtype="float32", vocab_size=self.tokenizer.vocab_size,
            max_model_len=self.context, eos_token_ids=list(self.tokenizer.eos_token_ids), page_size=16, kv_pages=1,
        )  # fmt: skip

    async def submit_text(self, request, *, stop=(), include_stop=False, skip_special_tokens=True):
        self.stops.append(stop)
        return await super().submit_text(
            request, stop=stop, include_stop=include_stop, skip_special_tokens=skip_special_tokens
        )

    async def submit(self, request):
        self.requests.append(request)
        script = self.play(request)
        if isinstance(script, Exception):
            raise script
        watch = self.watcher.watch(request) if self.watcher is not None else None
        stream = TokenStream(request, self.abort, watch)
        self._plays[request.id] = asyncio.create_task(self._play(stream, script))
        return stream

    def abort(self, request_id):
        if request_id in self._plays:
            self.aborted.append(request_id)
            self._plays.pop(request_id).cancel()

    def prompt_text(self, index: int = -1) -> str:
        """The prompt of the request of that index, marks and all."""
        return self.tokenizer.decode(self.requests[index].prompt, skip_special_tokens=False)

    async def _play(self, stream: TokenStream, script) -> None:
        texts = script if isinstance(script, list) else [script]
        tokens = [token for text in texts if isinstance(text, str) for token in self.tokenizer.encode(text)]
        failure = texts[-1] if isinstance(texts[-1], Exception) else None
        if failure is None:
            tokens.append(self.tokenizer.eos_token_ids[0])
        sampling = stream.request.sampling
        for number, token in enumerate(tokens, start=1):
            if number > 1 and self.gate is not None:
                await self.gate()
            ends = failure is None and number == len(tokens)
            reason = "stop" if ends else "length" if number == sampling.max_tokens else None
            wanted = sampling.logprobs
            logprobs = None if wanted is None else [TokenLogprob(-0.5, [(token, -0.5)] * wanted)]
            stream.put(
                TokenOutput(
                    token_ids=[token], logprobs=logprobs, finish_reason=reason, stop_token=token if ends else None,
                    cached_tokens=7,
                )
            )  # fmt: skip
            if reason:
                break
            await asyncio.sleep(0)
        else:
            stream.put(failure if isinstance(failure, EngineError) else EngineError(str(failure)))
        self._plays.pop(stream.request.id, None)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


@contextmanager
def serving(config: ServerConfig, engine: AsyncEngine | None = None) -> Iterator[str]:
    """A real server on a free port, in a thread; gives its URL."""
    # Named as TCP, so that asyncio sends each part of an answer at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = create_app(config, engine)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
    started = threading.Event()
    original = server.startup

    async def startup(sockets=None):
        await original(sockets)
        started.set()

    server.startup = startup
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    assert started.wait(60)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


class Served:
    """A server around a scripted engine. Set ``engine.play`` to choose what it says."""

    def __init__(self, url: str, engine: ScriptedEngine) -> None:
        self.url = url
        self.engine = engine

    def says(self, *texts) -> None:
        script = list(texts)
        self.engine.play = lambda request: script.pop(0) if len(script) > 1 else script[0]


@pytest.fixture(scope="module")
def server(model_folder):
    engine = ScriptedEngine(model_folder, lambda request: "hello")
    config = ServerConfig(engine=EngineConfig(model=str(model_folder)), served_model_name=("m", "alias"))
    with serving(config, engine) as url:
        yield Served(url, engine)


@pytest.fixture(scope="session", name="write_model")
def write_model_fixture():
    return write_model


@pytest.fixture
def make_model(tmp_path) -> Callable[..., Path]:
    """Writes a model folder of the wanted kind, see write_model."""
    return lambda **wanted: write_model(tmp_path, **wanted)


@pytest.fixture(scope="session")
def make_engine() -> Callable[..., ScriptedEngine]:
    return ScriptedEngine


@pytest.fixture(scope="session")
def make_server():
    return serving


@pytest.fixture
def scripted(server):
    """The module's server, with nothing left of the last test."""
    server.engine.gate = None
    server.engine.requests.clear()
    server.engine.stops.clear()
    server.engine.aborted.clear()
    server.says("hello")
    return server


@pytest.fixture
def client(scripted) -> Iterator[openai.OpenAI]:
    """OpenAI's own client of the module's server; it checks every shape strictly."""
    with openai.OpenAI(
        base_url=f"{scripted.url}/v1", api_key="x", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture
def lenient_client(scripted) -> Iterator[openai.OpenAI]:
    """The same, for what OpenAI's API answers and its client's types leave out."""
    with openai.OpenAI(base_url=f"{scripted.url}/v1", api_key="x", max_retries=0) as client:
        yield client
