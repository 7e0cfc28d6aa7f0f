"""What the probe says about machines that lack something."""

from __future__ import annotations

import pytest
from agenthost.tools import Limits, probe
from agenthost.tools.errors import SandboxUnavailable
from agenthost.tools.sandbox.inside import landlock
from agenthost.tools.sandbox.probe import BACKENDS


def test_missing_bubblewrap_is_explained(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    verdict = probe(names=["bubblewrap"])
    assert verdict.backend is None
    assert "apt install bubblewrap" in (verdict.problem or "")
    with pytest.raises(SandboxUnavailable, match="bubblewrap is missing"):
        verdict.require()


@pytest.mark.parametrize(("version", "said"), [(0, "this kernel has none"), (4, "this kernel has version 4 of it")])
def test_a_kernel_without_enough_landlock_is_named(monkeypatch, version, said):
    monkeypatch.setattr(landlock, "version", lambda: version)
    verdict = probe(names=["landlock"])
    assert verdict.backend is None
    assert "needs Landlock 6 (Linux 6.12)" in (verdict.problem or "")
    assert said in (verdict.problem or "")


def test_code_that_could_start_no_process_is_told_of():
    assert "can start no process" in (probe(Limits(processes=0), ["landlock"]).problem or "")


def test_all_ways_out_are_told_where_nothing_isolates(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    monkeypatch.setattr(landlock, "version", lambda: 0)
    problem = probe(names=["bubblewrap", "landlock"]).problem or ""
    assert "apt install bubblewrap" in problem
    assert "Linux 6.12" in problem


@pytest.mark.parametrize("name", BACKENDS)
def test_every_way_to_isolate_holds_here(name):
    verdict = probe(names=[name])
    assert verdict.problem is None
    backend = verdict.require()
    assert backend.name == name
    backend.close()


def test_what_a_way_to_isolate_lacks_is_among_its_facts():
    facts = probe(names=["landlock"]).facts
    assert facts["backend"].startswith("Landlock")
    assert "/tmp" in facts["lacks"]


def test_code_runs_without_isolation_only_where_an_operator_wants_it_and_nothing_else_works():
    assert probe(names=()).backend is None
    allowed = probe(names=(), allow_unsafe=True)
    assert allowed.require().name == "unconfined"
    assert "WITHOUT A SANDBOX" in (allowed.warning or "")
    isolated = probe(names=["landlock"], allow_unsafe=True)
    assert isolated.require().name == "landlock"
    assert isolated.warning is None
