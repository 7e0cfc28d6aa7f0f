"""Benchmarks of the server: their numbers agree with each other and with what the server counted. Never speeds."""

import json
import sys
from itertools import pairwise

import anyio
import pytest
from agenthost.engine import AsyncEngine, EngineConfig, EngineError
from agenthost.server import cli, served
from agenthost.server.bench import agent, front, serve, targets, turn
from agenthost.server.bench.client import Answer, Client, Endpoint
from agenthost.server.bench.cold_start import cold_start
from agenthost.server.bench.errors import RequestFailed, ServerFailed
from agenthost.server.bench.loop_steps import Step, loop_steps
from agenthost.server.bench.own_server import own_server
from agenthost.server.bench.prompts import Gauge
from agenthost.server.bench.second_turn import Turns, second_turns
from agenthost.server.config import ServerConfig

MODEL = {
    "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 32, "num_hidden_layers": 1,
    "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "intermediate_size": 64,
    "hidden_act": "silu", "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "max_position_embeddings": 4096,
    "tie_word_embeddings": True, "attention_bias": False, "vocab_size": 272, "eos_token_id": 258,
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, write_model):
    """A model folder without weights."""
    folder = write_model(tmp_path_factory.mktemp("models"))
    (folder / "config.json").write_text(json.dumps(MODEL))
    return folder


@pytest.fixture(scope="module")
def url(tiny, make_server):
    """A server with a tiny random model."""
    engine = AsyncEngine(EngineConfig(model=str(tiny), dummy_weights=True, dtype="float32", threads=1, seed=0))
    with make_server(ServerConfig(engine=engine.config, served_model_name=("tiny",)), engine) as url:
        anyio.run(until_ready, url)
        yield f"{url}/v1"


async def until_ready(url):
    """There is no event to wait for across the server's thread: ask until it answers."""
    async with Client(Endpoint(f"{url}/v1", "tiny")) as client:
        with anyio.fail_after(60):
            while True:
                try:
                    return await client.chat([{"role": "user", "content": "hi"}], 1)
                except RequestFailed:
                    await anyio.sleep(0.05)


def bench(capsys, *words):
    """A benchmark's JSON object, and its exit status."""
    capsys.readouterr()
    status = cli.main(["bench", *words, "--json"])
    return json.loads(capsys.readouterr().out), status


def check_row(row):
    assert row["total_rate"] * row["seconds"] == pytest.approx(row["prompt_tokens"] + row["output_tokens"])
    assert row["output_rate"] * row["seconds"] == pytest.approx(row["output_tokens"])
    assert 0 <= row["cached"] <= 100
    for name in ("first_token", "between_tokens", "end_to_end"):
        values = [row[name][percentile] for percentile in ("p50", "p90", "p99")]
        assert all(low <= high for low, high in pairwise([0, *values]))
    assert row["first_token"]["p50"] / 1000 <= row["end_to_end"]["p50"] <= row["seconds"]


def test_every_concurrency_has_a_row_whose_numbers_agree(url, capsys):
    words = ("--requests", "5", "--input-tokens", "60-90", "--output-tokens", "4-9", "--seed", "3")
    report, status = bench(capsys, "serve", "--url", url, *words, "--concurrency", "1", "3")
    assert status == 0
    assert report["hardware"]["cores"]
    assert report["versions"]["agenthost"]
    assert report["settings"]["model"] == "tiny"
    rows = report["load"]["rows"]
    assert [(row["concurrency"], row["requests"], row["errors"]) for row in rows] == [(1, 5, 0), (3, 5, 0)]
    options = serve.parser().parse_args(words)
    for number, row in enumerate(rows):
        check_row(row)
        jobs = serve.workload(options, Gauge(1, 0), number)
        assert row["output_tokens"] == sum(job.max_tokens for job in jobs)
        assert row["prompt_tokens"] == pytest.approx(5 * 75, rel=0.4)


def test_arrivals_at_random_and_a_shared_prefix(url, capsys):
    words = ("--input-tokens", "40", "--output-tokens", "2", "--shared-prefix", "200", "--seed", "4")
    report, status = bench(capsys, "serve", "--url", url, "--requests", "6", "--request-rate", "20", *words)
    (row,) = report["load"]["rows"]
    assert status == 0
    check_row(row)
    assert row["concurrency"] is None
    assert row["cached"] > 25  # most of it in all but the first, or the first few that came together


def test_a_seed_fixes_the_workload_and_no_two_rows_share_a_prompt():
    options = serve.parser().parse_args(["--requests", "8", "--request-rate", "5"])
    first, again, other = (serve.workload(options, Gauge(1.3, 20), number) for number in (0, 0, 1))
    assert first == again
    assert not {job.prompt for job in first} & {job.prompt for job in other}
    assert all(0 < (early.arrival or 0) < (late.arrival or 0) for early, late in pairwise(first))
    assert all(128 <= 1.3 * len(job.prompt.split()) + 20 <= 513 for job in first)
    assert all(32 <= job.max_tokens <= 128 for job in first)


def test_prompts_are_as_long_as_the_server_counts(url):
    async def lengths():
        async with Client(Endpoint(url)) as client:
            gauge = await Gauge.of(client, "x")
            options = serve.parser().parse_args(["--requests", "4", "--input-tokens", "400"])
            jobs = serve.workload(options, gauge, 0)
            return [await client.chat([{"role": "user", "content": job.prompt}], 1) for job in jobs]

    for answer in anyio.run(lengths):
        assert answer.prompt_tokens == pytest.approx(400, rel=0.2)  # one token a letter: words differ much here


def test_requests_that_fail_are_counted_and_named(scripted, capsys):
    calls = []

    def play(request):
        calls.append(request)
        return EngineError("it broke") if len(calls) % 3 == 0 else "four"

    scripted.engine.play = play
    load = ("--requests", "7", "--concurrency", "1", "--output-tokens", "3")
    capsys.readouterr()
    status = cli.main(["bench", "serve", "--url", f"{scripted.url}/v1", *load, "--json"])
    captured = capsys.readouterr()
    (row,) = json.loads(captured.out)["load"]["rows"]
    assert status == 1
    assert (row["requests"], row["errors"]) == (7, 3)  # two requests before them measure the tokenizer
    assert row["output_tokens"] == 4 * 3
    assert row["between_tokens"]["p50"] is not None
    check_row(row)
    assert "3 x HTTP 500" in captured.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serve", "--url", "http://127.0.0.1:9/v1"], "cannot reach"),
        (["serve", "--url", "http://127.0.0.1:9/v1", "--model", "m"], "ConnectError"),
        (["agent", "--model", "/no/such/folder"], "/no/such/folder"),
    ],
)
def test_what_cannot_be_measured_says_why(capsys, words, said):
    assert cli.main(["bench", *words]) == 2
    assert said in capsys.readouterr().err


def test_a_server_that_cannot_start_says_why():
    with pytest.raises(ServerFailed, match="/no/such/folder"), own_server("/no/such/folder"):
        pass


@pytest.mark.slow
def test_without_a_url_a_server_is_started(capsys, monkeypatch, tiny):
    monkeypatch.setenv("AGENTHOST_DUMMY_WEIGHTS", "true")
    monkeypatch.setenv("AGENTHOST_KV_TOKENS", "2048")
    load = ("--requests", "2", "--concurrency", "2", "--input-tokens", "30", "--output-tokens", "3")
    report, status = bench(capsys, "serve", "--model", str(tiny), *load)
    (row,) = report["load"]["rows"]
    assert (status, row["requests"], row["output_tokens"]) == (0, 2, 6)
    assert report["settings"]["model"] == tiny.name


def test_the_second_turn_finds_its_prefix_cached(url):
    (one, two) = anyio.run(second_turns, Endpoint(url), 600, 2, 7)
    for turns in (one, two):
        assert turns.first.cached_tokens < 60
        assert turns.first.prompt_tokens == pytest.approx(600, rel=0.2)
        assert turns.second.prompt_tokens > turns.second.cached_tokens >= turns.first.prompt_tokens - 20


def test_the_steps_of_the_loop_are_those_of_the_agent(monkeypatch, tmp_path, write_model, make_engine):
    monkeypatch.setattr(sys.modules[make_engine.__module__], "CONTEXT", 20_000)
    folder = write_model(tmp_path)
    call = '<tool_call>\n{"name": "read_text_file", "arguments": {"path": "expenses.csv"}}\n</tool_call>'
    script = [f"{call}\n{call}", "Done."]
    engine = make_engine(folder, lambda request: script.pop(0))
    monkeypatch.setattr(served, "AsyncEngine", lambda *_: engine)
    (first, second), ending = anyio.run(loop_steps, str(folder), "add them up")
    assert ending == "an answer"
    assert (first.tools, second.tools) == (["read_text_file"] * 2, [])
    assert [step.prompt for step in (first, second)] == [len(request.prompt) for request in engine.requests]
    assert first.output == len(f"{call}\n{call}") + 1
    assert first.tool_time > 0 == second.tool_time
    assert all(0 < step.first_token <= step.turn for step in (first, second))


@pytest.mark.slow
def test_a_cold_start_is_measured():
    assert cold_start("pocket") > 0


def test_the_agents_report_holds_what_was_measured():
    turns = [Turns(Answer(0, [t], t, "a", 100, 0, 1), Answer(0, [t / 10], t, "b", 110, 99, 1)) for t in (1, 2, 4)]
    steps = [Step(1, 50, 0, 9, 0.2, 1, ["python"], 0.5), Step(2, 80, 60, 9, 0.1, 1)]
    report = agent.report(agent.parser().parse_args([]), [3, 5, 4], turns, steps, "an answer").json()
    figures = report["figures"]
    assert (figures["cold_start"], figures["first_turn"], figures["second_turn"]) == (4, 2000, 200)
    assert figures["second_turn_ratio"] == pytest.approx(10)
    assert figures["second_turn_cached"] == pytest.approx(90)
    assert (figures["steps_cached"], figures["tool_time"]) == (75, 0.5)
    assert [row["tools"] for row in report["steps"]["rows"]] == ["python", ""]


@pytest.mark.parametrize(
    ("sense", "bound", "met", "missed"),
    [("at least", 1.4, 1.4, 1.39), ("at most", 5, 4.9, 5.1), ("within", 5, -5, -5.1), ("within", 5, 5, 5.1)],
)
def test_a_target_is_met_up_to_its_bound(sense, bound, met, missed):
    target = targets.Target("x", "run", "figure", sense, bound, "s")
    rows = [targets.row(target, {"figures": {"figure": value}}) for value in (met, missed)]
    assert [(row["measured"], row["verdict"]) for row in rows] == [(met, "pass"), (missed, "MISS")]


def test_targets_that_cannot_be_measured_say_so(capsys, monkeypatch):
    monkeypatch.setattr(targets, "find_spec", lambda name: None)
    report, status = bench(capsys, "targets", "--only", "single")
    assert status == 1
    (row,) = report["targets"]["rows"]
    assert (row["measured"], row["bound"]) == (None, 1.4)
    assert "transformers" in row["verdict"]


def test_files_reports_a_race_that_the_file_tools_do_not_lose(capsys):
    report, status = bench(capsys, "files", "--attempts", "400")
    assert status == 0
    assert report["figures"]["escapes"] == 0
    assert report["figures"]["attempts"] == 400
    rows = report["race"]["rows"]
    assert [(row["by"], row["what"]) for row in rows[:2]] == [("file tools", "read"), ("file tools", "write")]
    assert all(row["worked"] + row["refused"] + row["escaped"] == row["attempts"] == 200 for row in rows)


def test_what_a_turn_costs_the_front_is_measured_three_ways(capsys):
    assert turn.main(["--tokens", "4000", "--repeat", "3", "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert all(figures[name] > 0 for name in ("rendered", "hosted", "replayed"))
    assert figures["hosted_share"] == pytest.approx(100 * figures["hosted"] / figures["rendered"])


@pytest.mark.slow
def test_the_front_is_measured_alone(capsys):
    words = ["--streams", "2", "--chunks", "20", "--arrivals", "3", "--many", "20", "--tokens", "2000", "--json"]
    assert front.main(words) == 0
    figures = json.loads(capsys.readouterr().out)["figures"]
    assert figures["many_failed"] == 0
    assert 0 < figures["rate_ratio"] < 2
    assert all(figures[name] > 0 for name in ("chunk_rate", "bare_rate", "first_chunk", "many_memory"))
