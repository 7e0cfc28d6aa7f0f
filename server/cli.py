"""The ``agenthost`` command. Little more than argparse is imported here, so that ``--help`` is instant."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

# Peers need these to switch on what is always on here.
_NO_OPS = (
    "--enable-auto-tool-choice",
    "--enable-prompt-tokens-details",
    "--enable-cache-report",
    "--enable-response-store",
    "--enable-metrics",
    "--enable-prefix-caching",
    "--enable-force-include-usage",
    "--enable-chunked-prefill",
    "--disable-log-requests",
    "--disable-log-stats",
    "--trust-remote-code",
)

_MCP_CLIENTS = (
    "claude-code", "claude-desktop", "cline", "codex", "continue", "cursor", "gemini-cli", "goose", "lm-studio",
    "opencode", "vscode", "windsurf", "zed",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, import the subcommand, run it. Returns the exit status."""
    options = vars(_parser().parse_args(arguments))
    try:
        module = importlib.import_module(options.pop("module"), __package__)
        return module.main(options)
    except KeyboardInterrupt:
        return 130


class _Version(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"agenthost {version('agenthost')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="agenthost", description="One server for both halves of an agent: the model and its sandboxed tools."
    )
    parser.add_argument(
        "--version", action=_Version, nargs=0, default=argparse.SUPPRESS, help="show the version and exit"
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _serve(_command(commands, "serve", "serve a model and its tools over HTTP, as OpenAI, Anthropic and MCP do"))
    _run(_command(commands, "run", "let an agent solve one task in the terminal"))
    _shell(_command(commands, "shell", "chat with an agent"))
    _mcp(_command(commands, "mcp", "offer the tools to one MCP client over stdin and stdout"))
    _bench(_command(commands, "bench", "reproducible measurements"))
    warmup = _command(commands, "warmup", "compile a model's kernels ahead of the first start")
    _model(warmup)
    _engine(warmup)
    _command(commands, "doctor", "what this machine has and lacks, and how to get it")
    return parser


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.set_defaults(module=f".commands.{name}")
    return parser


def _serve(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Every setting can also be given as AGENTHOST_NAME (for --max-model-len: AGENTHOST_MAX_MODEL_LEN) or in the "
        "TOML file of --config. Flags win over variables, variables over the file."
    )
    _model(parser)
    listen = parser.add_argument_group("where to listen, and who may call")
    listen.add_argument("--host", help="address to listen on (default 127.0.0.1; others need --api-key)")
    listen.add_argument("--port", type=int, help="port (default 8000)")
    listen.add_argument("--api-key", metavar="KEY", help="what clients must send")
    listen.add_argument("--api-key-file", metavar="FILE", help="a line for each key: NAME SHA256 [LIMIT=NUMBER ...]")
    listen.add_argument("--allowed-hosts", nargs="+", metavar="NAME", help="further Host names to answer to")
    listen.add_argument(
        "--allowed-origins", nargs="+", metavar="ORIGIN", help="web origins whose pages may call; * for any"
    )
    limits = parser.add_argument_group("limits of each key (default: none) and of the server")
    limits.add_argument("--requests-per-minute", type=int, metavar="N")
    limits.add_argument("--concurrent-requests", type=int, metavar="N")
    limits.add_argument("--stored-bytes", type=int, metavar="N", help="of uploaded files")
    limits.add_argument("--sessions-per-key", type=int, metavar="N", help="workspaces at a time (default 1000)")
    limits.add_argument("--session-minutes", type=float, metavar="N", help="an unused workspace lives (default 60)")
    limits.add_argument("--workspace-bytes", type=int, metavar="N", help="that a workspace holds (default 1 GiB)")
    limits.add_argument("--workspace-files", type=int, metavar="N", help="that a workspace holds (default 50000)")
    limits.add_argument(
        "--prefix-cache-per-key",
        action="store_true",
        help="keys share no cached prefixes, whose timing tells",
    )
    limits.add_argument("--max-body-bytes", type=int, metavar="N", help="largest request body (default 32 MiB)")
    limits.add_argument(
        "--sse-keep-alive-interval", type=float, metavar="S", help="comment in a silent stream (default 15 s; 0: never)"
    )
    limits.add_argument("--drain-seconds", type=int, metavar="S", help="for what runs at SIGTERM (default 30)")
    state = parser.add_argument_group("what is kept")
    state.add_argument(
        "--state-dir",
        metavar="DIR",
        help="database, files, workspaces (default ~/.local/state/agenthost; root: /var/lib/agenthost)",
    )
    state.add_argument("--store-url", metavar="URL", help="another database: postgresql+psycopg://user@host/name")
    state.add_argument(
        "--retention-days", type=float, metavar="N", help="of stored responses (default 30, 0: for ever)"
    )
    state.add_argument("--audit-log", metavar="FILE", help="a line for every call of a hosted tool")
    limits.add_argument("--mcp-calls-per-second", type=float, metavar="N", help="by one caller (default 50; 0: any)")
    oauth = parser.add_argument_group("tokens for /mcp, besides keys")
    oauth.add_argument("--oauth-issuer", metavar="URL", help="authorization server whose tokens open /mcp")
    oauth.add_argument("--oauth-resource", metavar="URL", help="of /mcp as clients know it: what tokens are made for")
    oauth.add_argument("--oauth-scopes", nargs="+", metavar="SCOPE", help="scopes that a token must have")
    chat = parser.add_argument_group("names and chat format")
    chat.add_argument("--served-model-name", nargs="+", metavar="NAME", help="what clients may call the model")
    chat.add_argument("--chat-template", metavar="FILE", help="instead of the model's own template")
    chat.add_argument("--tool-call-parser", metavar="NAME", help="tool-call format (default: from the template)")
    chat.add_argument(
        "--reasoning-parser", metavar="NAME", help="marks of the model's thoughts: a name, or 'OPEN,CLOSE' (likewise)"
    )
    _engine(parser)
    machines = parser.add_argument_group("several machines that share the model, each with its part of the ranks")
    machines.add_argument("--nnodes", type=int, metavar="N", help="how many")
    machines.add_argument("--node-rank", type=int, metavar="N", help="which one this is; the first, 0, serves")
    machines.add_argument("--rendezvous", metavar="HOST:PORT", help="of the first, where its ranks and others meet")
    _browser(parser)
    _sandbox(parser)
    _external(parser).add_argument(
        "--mcp-allow-host", nargs="+", metavar="HOST[:PORT]",
        help="requests may name MCP servers there although it is not on the public internet",
    )  # fmt: skip
    other = parser.add_argument_group("other")
    other.add_argument("--config", metavar="FILE", help="TOML file with settings")
    other.add_argument(
        "--otlp-traces-endpoint", metavar="URL", help="send OpenTelemetry spans there (pip install 'agenthost[otel]')"
    )
    other.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    other.add_argument(
        "--conformance-fixtures", action="store_true", help="serve what MCP's conformance suite calls at /mcp, no tools"
    )
    for flag in _NO_OPS:
        other.add_argument(flag, action="store_true", help=argparse.SUPPRESS)


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help="what to do")
    parser.add_argument("--json", action="store_true", default=False, help="print one JSON object instead")
    _agent(parser)


def _shell(parser: argparse.ArgumentParser) -> None:
    _agent(parser)


def _agent(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", metavar="M", help="pocket (the embedded model, the default), a folder or a hub id")
    parser.add_argument("--workspace", metavar="DIR", help="where to work (default: an empty directory, removed after)")
    parser.add_argument("--system", metavar="TEXT", help="system message")
    parser.add_argument("--temperature", type=float, metavar="T", help="0 is greedy (default: as the model recommends)")
    _external(parser)
    parser.add_argument("--max-steps", type=int, metavar="N", help="give up after N turns of the model (default 24)")
    _engine(parser)
    _browser(parser)
    _sandbox(parser)


def _sandbox(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("code")
    group.add_argument(
        "--sandbox-allow-hosts", nargs="+", metavar="HOST[:PORT]",
        help="code may reach these by HTTP(S), such as pypi.org and files.pythonhosted.org (default: no network)",
    )  # fmt: skip
    group.add_argument(
        "--allow-unsafe-code", action="store_true",
        help="where no sandbox works, run code WITHOUT one; only on a machine of your own",
    )  # fmt: skip


def _browser(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("browser tools")
    group.add_argument(
        "--browser", choices=["off", "text", "chromium"],
        help="open web pages: as text over HTTP, or in headless Chromium (default: text with a search, else off)",
    )  # fmt: skip
    group.add_argument(
        "--browser-control",
        action="store_true",
        help="also offer the browser_* tools, which click and type in Chromium",
    )
    group.add_argument("--search-index", metavar="DIR", help="search this folder of documents; needs no network")
    group.add_argument("--search-url", metavar="URL", help="search by this SearXNG server")
    group.add_argument("--brave-key", metavar="KEY", help="search by Brave (better in AGENTHOST_BRAVE_KEY)")
    group.add_argument("--tavily-key", metavar="KEY", help="search by Tavily (better in AGENTHOST_TAVILY_KEY)")
    group.add_argument(
        "--allow-host", nargs="+", metavar="HOST[:PORT]", help="may be opened although it is not on the public internet"
    )


def _mcp(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workspace", metavar="DIR", help="where to work (default: an empty directory, removed after)")
    parser.add_argument(
        "--print-config", metavar="CLIENT", choices=_MCP_CLIENTS,
        help=f"print what to write into the configuration of a client: {', '.join(_MCP_CLIENTS)}",
    )  # fmt: skip
    parser.add_argument("--url", help="with --print-config: reach a running server, such as http://127.0.0.1:8000/mcp")
    parser.add_argument("--log-level", choices=["debug", "info", "warning", "error"])
    parser.add_argument("--model", metavar="M", help="behind the agent tool (default: pocket, the embedded model)")
    _engine(parser)
    _sandbox(parser)


def _external(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    group = parser.add_argument_group("external MCP servers")
    group.add_argument("--mcp-config", metavar="FILE", help="mcp.json with MCP servers, whose tools the model may use")
    group.add_argument(
        "--mcp-approval", choices=["ask", "never"],
        help="whether calls of their tools need approval (default: ask, but for those in autoApprove)",
    )  # fmt: skip
    return group


def _bench(parser: argparse.ArgumentParser) -> None:
    from .commands.bench import listing

    parser.usage = "agenthost bench BENCHMARK [-h] ..."
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"benchmarks:\n{listing()}"
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)


def _model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="pocket (the embedded model, the default), a folder or a hub id"
    )
    parser.add_argument("--model", "--model-path", metavar="MODEL", help="the same, as a flag")


def _engine(parser: argparse.ArgumentParser) -> None:
    engine = parser.add_argument_group("engine")
    engine.add_argument("--device", choices=["auto", "cpu", "cuda"])
    engine.add_argument("--dtype", choices=["auto", "float32", "bfloat16"])
    engine.add_argument("--max-model-len", "--context-length", type=int, metavar="N", help="longest prompt plus output")
    engine.add_argument(
        "--max-running",
        "--max-num-seqs",
        "--max-running-requests",
        type=int,
        metavar="N",
        help="decoded together (default: 256 on CUDA, 64 on CPU)",
    )
    engine.add_argument("--max-waiting", type=int, metavar="N", help="further requests that may wait (default 4096)")
    engine.add_argument("--kv-tokens", "--max-total-tokens", type=int, metavar="N", help="size of the KV cache")
    engine.add_argument("--kv-memory", type=int, metavar="BYTES", help="the same in bytes (default: what is free)")
    engine.add_argument(
        "--step-budget", type=int, metavar="N", help="most tokens of prompts in a step that also decodes"
    )
    engine.add_argument("--page-size", "--block-size", type=int, metavar="N", help="tokens in a page of KV cache")
    engine.add_argument(
        "--kv-dtype", "--kv-cache-dtype", choices=["auto", "fp8"], help="fp8 halves the KV cache on CUDA, less exactly"
    )
    engine.add_argument(
        "--attention", "--attention-backend", choices=["auto", "torch", "triton", "flashinfer"],
        help="default: torch on CPU; on CUDA flashinfer where it is installed, else triton",
    )  # fmt: skip
    engine.add_argument(
        "--disable-cuda-graph", "--enforce-eager", dest="cuda_graphs", action="store_false",
        help="decode operator by operator",
    )  # fmt: skip
    engine.add_argument(
        "--disable-overlap-schedule", dest="overlap", action="store_false", help="wait for each step before the next"
    )
    engine.add_argument(
        "--tensor-parallel-size", "--tp-size", "--tp", type=int, metavar="N",
        help="divide the model among N CUDA devices, or N processes on CPU",
    )  # fmt: skip
    engine.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    engine.add_argument("--seed", type=int, metavar="N", help="for requests without a seed of their own")
    engine.add_argument(
        "--disable-radix-cache", "--no-enable-prefix-caching", dest="prefix_cache", action="store_false",
        help="compute equal prefixes again",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
