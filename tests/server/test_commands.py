"""The terminal commands: what they print, which exit status they give, and that real tools do the work.

The scripted engine plays the model, so that the calls are known; the tools and their sandbox are the real ones.
"""

import json
import socket
import subprocess
import sys

import pytest
from agenthost.engine import EngineError
from agenthost.server import cli, served
from agenthost.server.agent.events import CallFinished, CallStarted, Text
from agenthost.server.commands import serve
from agenthost.server.commands.display import Display
from agenthost.server.commands.doctor import findings
from agenthost.server.commands.printable import printable
from agenthost.server.http.listen import bind, port_of
from agenthost.tools import probe

from .calls import call


@pytest.fixture
def model_says(monkeypatch, tmp_path, write_model, make_engine):
    """Gives the command a model that says the given texts, one a turn."""
    tmp_path.joinpath("model").mkdir()
    # Room for the tools' schemas at one token a byte.
    monkeypatch.setattr(sys.modules[make_engine.__module__], "CONTEXT", 20_000)
    folder = write_model(tmp_path / "model")

    def prepare(*texts):
        script = list(texts)
        monkeypatch.setattr(served, "AsyncEngine", lambda *_: make_engine(folder, lambda request: script.pop(0)))
        monkeypatch.setenv("AGENTHOST_MODEL", str(folder))

    return prepare


def test_run_prints_one_json_object(model_says, capsys, tmp_path):
    workspace = tmp_path / "work"
    workspace.mkdir()
    model_says(
        "I write it.\n" + call("write_file", path="a.txt", content="né"),
        call("read_text_file", path="a.txt") + "\n" + call("read_text_file", path="b.txt"),
        "It says né.",
    )
    status = cli.main(["run", "do it", "--json", "--workspace", str(workspace)])
    report = json.loads(capsys.readouterr().out)
    assert status == 0
    assert set(report) == {"answer", "steps", "usage", "seconds"}
    assert report["answer"] == "It says né."
    assert [(step["tool"], step["arguments"]) for step in report["steps"]] == [
        ("write_file", {"path": "a.txt", "content": "né"}),
        ("read_text_file", {"path": "a.txt"}),
        ("read_text_file", {"path": "b.txt"}),
    ]
    assert all(set(step) == {"tool", "arguments", "output"} for step in report["steps"])
    assert report["steps"][1]["output"] == "né"
    assert report["steps"][2]["output"].startswith("Error: ")
    assert set(report["usage"]) == {"prompt_tokens", "cached_tokens", "completion_tokens"}
    assert report["usage"]["cached_tokens"] == 21
    assert (workspace / "a.txt").read_text() == "né"


@pytest.mark.skipif(probe().backend is None, reason="no sandbox works on this machine")
def test_run_shows_each_step_and_keeps_variables_between_calls(model_says, capsys):
    model_says(call("python", code="x = 2**100"), call("python", code="x + 1"), "There.")
    assert cli.main(["run", "compute"]) == 0
    printed = capsys.readouterr().out
    assert "→ python" in printed
    assert "x = 2**100" in printed
    assert str(2**100 + 1) in printed
    assert "prompt tokens (7 cached)" in printed
    assert "There." in printed


@pytest.mark.parametrize("script", [[EngineError("it broke")], ["   "]])
def test_run_fails_when_there_is_no_answer(model_says, capsys, script):
    model_says(*script)
    assert cli.main(["run", "go", "--json"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["answer"] is None
    assert "agenthost run: " in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "go", "--model", "/no/such/folder"], "/no/such/folder"),
        (["run", "go", "--workspace", "/no/such/folder"], "/no/such/folder"),
        (["serve", "--host", "0.0.0.0"], "api_key"),
        (["serve", "--config", "/no/such/file"], "/no/such/file"),
        (["serve", "--threads", "0"], "threads is 0"),
        (["serve", "--tool-call-parser", "telepathy"], "telepathy"),
        (["serve", "--reasoning-parser", "telepathy"], "telepathy"),
        (["serve", "--port", "0", "--state-dir", "/dev/null/state"], "/dev/null/state: Not a directory"),
    ],
)
def test_what_cannot_start_says_why_and_exits_with_2(capsys, arguments, said):
    assert cli.main(arguments) == 2
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_port_in_use_is_found_before_anything_is_started(capsys, monkeypatch):
    monkeypatch.setattr(serve, "create_app", lambda config: pytest.fail("the app was made"))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["serve", "--port", str(port)]) == 2
    assert f"cannot listen on port {port} of 127.0.0.1: Address already in use" in capsys.readouterr().err


def test_a_name_is_listened_to_at_all_its_addresses_on_one_port(monkeypatch):
    def addresses(host, port, **_):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (place, port)) for place in ("127.0.0.1", "127.0.0.2")]

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    first, second = bind("both", 0)
    with first, second:
        assert first.getsockname() == ("127.0.0.1", port_of([first]))
        assert second.getsockname() == ("127.0.0.2", port_of([first]))


def test_shell_keeps_the_conversation(model_says, capsys, monkeypatch):
    model_says("Hello, Ann.", "You are Ann.")
    lines = iter(["I am Ann.", "", "Who am I?"])

    def ask(prompt=""):
        line = next(lines, None)
        if line is None:
            raise EOFError
        return line

    monkeypatch.setattr("builtins.input", ask)
    assert cli.main(["shell"]) == 0
    printed = capsys.readouterr().out
    assert "Hello, Ann." in printed
    assert "You are Ann." in printed


@pytest.mark.parametrize("command", [[], ["serve"], ["run"], ["shell"], ["doctor"], ["bench"]])
def test_help_is_readable_and_ends_well(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([*command, "--help"])
    assert ended.value.code == 0
    assert "usage: agenthost" in capsys.readouterr().out


def test_peers_enabling_flags_are_accepted(capsys):
    flags = ["--enable-auto-tool-choice", "--enable-prompt-tokens-details", "--enable-cache-report"]
    assert cli.main(["serve", "--host", "0.0.0.0", *flags]) == 2  # for the missing key, not for the flags
    assert "api_key" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["m"], ["--model", "m"], ["--model-path", "m"], []])
def test_a_model_may_be_named_by_a_flag(words):
    for command in ("serve", "warmup"):
        assert vars(cli._parser().parse_args([command, *words])).get("model") == ("m" if words else None)


def test_the_version_is_shown(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("agenthost 0")


def test_a_url_without_a_configuration_to_print_is_refused(capsys):
    assert cli.main(["mcp", "--url", "http://127.0.0.1:8000/mcp"]) == 2
    assert "--print-config" in capsys.readouterr().err


def test_doctor_reports_every_area():
    found = {finding.what: finding for finding in findings()}
    assert {"Python", "torch", "CPU", "memory", "sandbox", "tools", "ripgrep", "embedded model", "disk"} <= set(found)
    assert found["torch"].state == "ok"
    assert all(finding.advice for finding in found.values() if finding.state != "ok")


def test_bench_lists_its_benchmarks(capsys):
    assert cli.main(["bench"]) == 2
    assert "offline" in capsys.readouterr().err


def test_terminal_escapes_of_models_and_tools_stay_harmless():
    from io import StringIO

    from rich.console import Console

    out = StringIO()
    display = Display(Console(file=out, force_terminal=False))
    for event in (
        Text("\x1b]0;owned\x07[bold]x[/bold]\n"),
        CallStarted("c", "python", '{"code": "print(\'\\u001b[2J\')"}'),
        CallFinished("c", "python", "{}", "a\x1b[2Jb\rc\x9bd", False, 0.1),
    ):
        display.show(event)
    assert not set(out.getvalue()) & {"\x1b", "\x07", "\r", "\x9b"}
    assert "[bold]x[/bold]" in out.getvalue()
    assert printable("a\tb\nc") == "a\tb\nc"


def test_the_command_is_installed():
    done = subprocess.run([sys.executable, "-m", "agenthost.server.cli", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "serve" in done.stdout
