"""The front stays light: it never loads the engine's libraries, and the command answers at once."""

import json
import subprocess
import sys

HEAVY = ("torch", "transformers", "xgrammar", "triton")
LIGHTER = ("fastapi", "pydantic", "jinja2", "zmq", "agenthost.tools")
LOADED = f"""
import json, sys, importlib
importlib.import_module(sys.argv[1])
print(json.dumps([name for name in {(*HEAVY, *LIGHTER)!r} if name in sys.modules]))
"""


def loaded_by(module):
    done = subprocess.run([sys.executable, "-c", LOADED, module], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_the_server_loads_no_model_library():
    assert not loaded_by("agenthost.server.app") & set(HEAVY)


def test_the_hosted_loop_and_its_tools_load_no_model_library():
    for module in ("agenthost.server.agent.loop", "agenthost.server.commands.run", "agenthost.tools"):
        assert not loaded_by(module) & set(HEAVY)


def test_benchmarks_of_the_server_load_no_model_library():
    for name in ("serve", "agent", "targets"):
        assert not loaded_by(f"agenthost.server.bench.{name}") & set(HEAVY)


def test_the_command_line_loads_nothing_before_it_knows_what_to_do():
    assert loaded_by("agenthost.server.cli") == set()


def test_run_does_not_load_the_web_framework():
    assert not loaded_by("agenthost.server.commands.run") & {"fastapi", "pydantic"}


def test_run_starts_the_engine_before_it_loads_the_tools():
    assert "agenthost.tools" not in loaded_by("agenthost.server.commands.run")


def test_the_grammar_compiler_works_without_torch_and_transformers():
    work = """
import sys
from agenthost.engine.sampling import grammar_compiler
grammar_compiler._load_xgrammar()
import numpy, xgrammar
info = xgrammar.TokenizerInfo([b"a", b"b", b"c"], xgrammar.VocabType.RAW, vocab_size=3, stop_token_ids=[2])
compiled = xgrammar.GrammarCompiler(info, max_threads=1).compile_regex("b")
mask = numpy.zeros((1, 1), numpy.int32)
xgrammar.GrammarMatcher(compiled).fill_next_token_bitmask(mask)
print(mask[0, 0] & 7, [name for name in ("torch", "transformers") if getattr(sys.modules[name], "__file__", None)])
"""
    done = subprocess.run([sys.executable, "-c", work], capture_output=True, text=True, check=True)
    assert done.stdout == "2 []\n"
