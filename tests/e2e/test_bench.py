"""Small runs of the engine's benchmarks: their numbers agree, and the targets find their figures in them."""

import json

import pytest
from agenthost.server import cli
from agenthost.server.bench import targets

SMALL = {
    "single": ("--input", "8", "--output", "6", "--repeat", "1"),
    "batch": ("--batch", "3", "--input", "8", "--output", "4", "--repeat", "1"),
    "overhead": ("--batch", "3", "--depth", "20", "--steps", "4"),
    "memory": ("--requests", "6", "--aborts", "3", "--first", "2", "--concurrency", "3", "--kv-tokens", "1024"),
    "offline": ("--num", "3", "--min-input", "4", "--max-input", "9", "--min-output", "2", "--max-output", "5"),
}


SLOW = ("single", "memory", "offline")


def ratio(figures, above, below):
    return pytest.approx(figures[above] / figures[below])


def check(name, figures):
    match name:
        case "single":
            assert figures["ratio"] == ratio(figures, "agenthost", "transformers")
            assert 0 < figures["same_tokens"] <= 1  # the first token at least, by the same weights
        case "batch":
            assert figures["ratio"] == ratio(figures, "together", "one_stream")
        case "overhead":
            parts = (figures["scheduler"], figures["inputs"], figures["sampling"])
            assert all(0 < part < figures["step_without_model"] for part in parts)
        case "memory":
            assert figures["engine_restarts"] == 0
            for part in ("engine", "front"):
                late, early = f"{part}_late", f"{part}_early"
                assert 1 + figures[f"{part}_change"] / 100 == ratio(figures, late, early)
        case "offline":
            assert 0 < figures["output_rate"] < figures["total_rate"]


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in SMALL])
def test_the_numbers_agree(name, capsys, tmp_path):
    file = tmp_path / "report.json"
    assert cli.main(["bench", name, *SMALL[name], "--json", str(file)]) == 0
    assert f"agenthost bench {name}" in capsys.readouterr().out
    report = json.loads(file.read_text())
    assert report["benchmark"] == name
    assert report["settings"]["model"] == "pocket"
    assert report["versions"]["torch"]
    check(name, report["figures"])
    for target in targets.TARGETS:
        if targets.RUNS[target.run][0] == name:
            assert targets.row(target, report)["measured"] == report["figures"][target.figure]


def test_a_json_file_that_cannot_be_written_is_refused_before_anything_is_measured(capsys):
    for name in ("pocket", "/no/such/folder/report.json"):
        with pytest.raises(SystemExit):
            cli.main(["bench", "offline", "--json", name])
        assert "is not the name of a .json file" in capsys.readouterr().err
