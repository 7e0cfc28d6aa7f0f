"""Model names: the embedded model, folders, hub ids in the local cache, and a hub that answers or does not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub.errors
import pytest
from agenthost.engine import resolve_model
from agenthost.engine.errors import ModelNotFound

REVISION = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "chat_template.jinja": b"template",
    "pytorch_model.bin": b"a pickle",
    "consolidated.safetensors": b"the same weights again",
    "original/params.json": b"{}",
    "README.md": b"text",
}


class Hub(BaseHTTPRequestHandler):
    """The hub's three routes that a download uses. A stand-in: tests must not depend on the internet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/team/tiny/revision/"):
            self._answer(json.dumps({"id": "team/tiny", "sha": REVISION, "siblings": self._siblings()}).encode())
        elif path.startswith("/api/models/team/tiny/tree/"):
            self._answer(json.dumps(self._tree()).encode())
        elif path.startswith(f"/team/tiny/resolve/{REVISION}/"):
            self._answer(FILES[path.split("/", 5)[5]])
        elif path.startswith("/api/models/team/gated/"):
            self._answer(b"", 403, {"X-Error-Code": "GatedRepo"})
        else:
            self._answer(b"", 404, {"X-Error-Code": "RepoNotFound"})

    def _siblings(self) -> list[dict[str, str]]:
        return [{"rfilename": name} for name in FILES]

    def _tree(self) -> list[dict[str, object]]:
        return [{"type": "file", "path": name, "size": len(body), "oid": "0" * 40} for name, body in FILES.items()]

    def _answer(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        entity = {"ETag": f'"{abs(hash(body)):040x}"', "X-Repo-Commit": REVISION}
        for name, value in {"Content-Length": str(len(body)), **entity, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep test output quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def resolve_elsewhere(name: str, **environment: str) -> str:
    """In a fresh process, since the hub client reads its environment once: the folder, or the error's message."""
    code = (
        "import sys\nfrom agenthost.engine import resolve_model\nfrom agenthost.engine.errors import ModelNotFound\n"
        "try: print(resolve_model(sys.argv[1]))\nexcept ModelNotFound as error: print(error)\n"
        "assert 'torch' not in sys.modules"
    )
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    command = [sys.executable, "-c", code, name]
    done = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_folder_is_itself(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    assert resolve_model(str(tmp_path)) == tmp_path


def test_a_folder_without_a_model_says_what_is_missing(tmp_path):
    with pytest.raises(ModelNotFound, match=r"config\.json"):
        resolve_model(str(tmp_path))


def test_pocket_is_the_embedded_model_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    (tmp_path / "pocket").mkdir()
    monkeypatch.chdir(tmp_path)
    folder = resolve_model("pocket")
    assert folder.name == "pocket"
    assert folder.parent.name == "engine"


@pytest.mark.parametrize("name", ["", "/no/such/folder", "../up", "a/b/c", "owner/name with space", "--flag", "a\nb"])
def test_a_name_that_can_be_nothing_says_what_would_do(name):
    with pytest.raises(ModelNotFound, match="pocket"):
        resolve_model(name)


def test_downloads_what_an_engine_reads_and_nothing_else(hub, tmp_path):
    folder = Path(resolve_elsewhere("team/tiny", HF_HOME=str(tmp_path), HF_ENDPOINT=hub))
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"}


def test_a_downloaded_model_needs_no_hub(hub, tmp_path):
    first = resolve_elsewhere("team/tiny", HF_HOME=str(tmp_path), HF_ENDPOINT=hub)
    assert resolve_elsewhere("team/tiny", HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1") == first


def test_a_connection_that_breaks_is_a_failed_download(monkeypatch):
    def cut(*arguments: object, **options: object) -> None:
        (base, *_) = huggingface_hub.errors.HfHubHTTPError.__bases__  # the HTTP library's
        raise base("the peer closed the connection")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cut)
    with pytest.raises(ModelNotFound, match=r"download of 'team/tiny' failed: the peer closed"):
        resolve_model("team/tiny")


@pytest.mark.parametrize(
    ("name", "offline", "message"),
    [("team/none", "0", "no hub repository"), ("team/gated", "0", "is gated"), ("team/tiny", "1", "HF_HUB_OFFLINE")],
)
def test_a_failed_download_says_why(hub, tmp_path, name, offline, message):
    said = resolve_elsewhere(name, HF_HOME=str(tmp_path), HF_ENDPOINT=hub, HF_HUB_OFFLINE=offline)
    assert message in said
