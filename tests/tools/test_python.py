"""What a model sees of the `python` tool."""

from __future__ import annotations

import asyncio
import os
import struct
import time

import pytest
from agenthost.tools import FileLink, Media, Progress, ToolContext

pytestmark = pytest.mark.anyio


async def test_value_of_the_last_expression_and_variables_between_calls(run):
    assert await run("x = 2**100\nx") == "1267650600228229401496703205376"
    assert await run("print('x is'); x + 1") == "x is\n1267650600228229401496703205377"
    assert await run("_") == "1267650600228229401496703205377"


async def test_no_output_says_so(run):
    assert await run("y = 1") == "(no output)"
    assert await run("None") == "(no output)"
    assert await run("") == "(no output)"


async def test_traceback_has_the_users_frames_only(call):
    await call("python", code="import json\ndef load(text):\n    return json.loads(text)\n")
    result = await call("python", code="print('before')\nload('{')")
    assert result.is_error
    assert result.text == (
        "before\n"
        "Traceback (most recent call last):\n"
        "  Cell 2, line 2, in <module>\n"
        "    load('{')\n"
        "  Cell 1, line 3, in load\n"
        "    return json.loads(text)\n"
        "json.decoder.JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    )


async def test_name_error_reads_as_the_model_was_taught(run):
    text = await run("a = 1\n\ntotal = x + 1")
    assert text == (
        "Traceback (most recent call last):\n"
        "  Cell 1, line 3, in <module>\n"
        "    total = x + 1\n"
        "NameError: name 'x' is not defined"
    )


async def test_syntax_error_points_at_the_place(run):
    assert await run("if True:\n    x = = 1") == "  Cell 1, line 2\n    x = = 1\n        ^\nSyntaxError: invalid syntax"


async def test_chained_exceptions_show_both(run):
    text = await run("try:\n    1/0\nexcept ZeroDivisionError as e:\n    raise ValueError('bad') from e")
    assert (
        text.index("ZeroDivisionError: division by zero") < text.index("direct cause") < text.index("ValueError: bad")
    )


async def test_deep_recursion_is_shortened(run):
    text = await run("def f(): return f()\nf()")
    assert "frames left out" in text
    assert text.endswith("RecursionError: maximum recursion depth exceeded")
    assert len(text) < 4500


async def test_exception_with_a_broken_text_is_still_reported(run):
    text = await run("class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E")
    assert "E" in text
    assert await run("1") == "1"


async def test_modules_of_the_workspace_can_be_imported_and_appear_in_tracebacks(call, run):
    await call("write_file", path="helper.py", content="def fail():\n    raise KeyError('k')\n")
    text = await run("import helper\nhelper.fail()")
    assert "  File \"helper.py\", line 2, in fail\n    raise KeyError('k')" in text
    assert (await call("list_directory", path=".")).text == "[FILE] helper.py"


async def test_output_of_children_and_order(run):
    await run("import subprocess, sys")
    code = "print('one')\nsubprocess.run(['echo', 'two'])\nprint('three')\nprint('err', file=sys.stderr)"
    assert await run(code) == "one\ntwo\nthree\nerr"


async def test_text_of_any_kind_comes_through(run):
    assert await run("print('naïve 漢字 🎈')") == "naïve 漢字 🎈"
    assert await run(r"print('\ud800')") == r"\ud800"
    assert (await run(r"'\ud800'")).encode()
    assert "�" in await run("import os; os.write(1, b'\\xff\\xfe'); None")


async def test_nothing_that_a_terminal_would_obey_comes_through(run):
    assert await run(r"print('\x1b[31mred\x07\tand\r\nnew\x9b')") == "\\x1b[31mred\\x07\tand\nnew\\x9b"
    await run(r"class R:" "\n    def __repr__(self): return chr(27)")
    assert await run("R()") == "\\x1b"


async def test_long_output_keeps_both_ends_and_says_what_is_missing(run):
    text = await run("print('start'); print('x' * 100_000); print('end')")
    assert text.startswith("start\n")
    assert text.endswith("x\nend")
    assert "bytes of output left out" in text
    assert len(text) < 13_000


async def test_long_value_is_shortened(run):
    text = await run("'y' * 1_000_000")
    assert "characters left out" in text
    assert len(text) < 4_200


async def test_standard_input_is_empty(run):
    assert (await run("input()")).endswith("EOFError: EOF when reading a line")


@pytest.mark.parametrize("code", ["exit()", "import sys; sys.exit(0)", "raise SystemExit"])
async def test_leaving_is_not_an_error_and_keeps_variables(run, code):
    await run("kept = 5")
    assert await run(code) == "(no output)"
    assert await run("kept") == "5"


async def test_a_cell_that_forks_answers_once(run):
    assert (
        await run("import os\nif os.fork() == 0:\n    x = 'child'\nelse:\n    os.wait(); x = 'parent'\nx") == "'parent'"
    )
    assert await run("x") == "'parent'"


async def test_main_is_a_real_module(run):
    assert await run("class P: pass\nimport pickle; type(pickle.loads(pickle.dumps(P()))).__module__") == "'__main__'"
    await run("from multiprocessing import get_context\ndef square(n): return n * n")
    code = "with get_context('fork').Pool(2) as pool: squares = pool.map(square, [1, 2, 3])\nsquares"
    assert await run(code) == "[1, 4, 9]"


async def test_streams_that_a_cell_closed_or_replaced_come_back(run):
    await run("import sys, io; sys.stdout = io.StringIO()")
    assert await run("print('back')") == "back"
    await run("sys.stdout.close()")
    assert await run("print('again')") == "again"


async def test_a_forgotten_child_does_not_hold_the_call(run):
    begun = time.monotonic()
    assert await run("import subprocess; p = subprocess.Popen(['sleep', '60'])") == "(no output)"
    assert time.monotonic() - begun < 5
    assert await run("p.poll()") == "(no output)"


async def test_figures_come_as_images_and_are_closed(call):
    result = await call("python", code="import matplotlib.pyplot as plt\nplt.plot([1, 3, 2])\nplt.show()")
    assert (result.text, result.is_error) == (f"[figure 1: {'x'.join(map(str, size_of(result.media[0])))} PNG]", False)
    assert [media.mime_type for media in result.media] == ["image/png"]
    result = await call("python", code="fig, ax = plt.subplots(figsize=(2, 2))\nprint('two')\nplt.figure()\nNone")
    assert result.text.splitlines()[0] == "two"
    assert len(result.media) == 2
    assert size_of(result.media[0]) < size_of(result.media[1])
    assert (await call("python", code="1")).media == ()
    result = await call("python", code="fig")
    assert len(result.media) == 1
    assert result.text.startswith("<Figure size 200x200 with 1 Axes>\n[figure 1: ")


def size_of(media: Media) -> tuple[int, int]:
    assert media.data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", media.data[16:24])
    return width, height


async def test_too_many_and_too_large_figures_are_told(call):
    result = await call(
        "python", code="import matplotlib.pyplot as plt\nfor _ in range(10): plt.figure(figsize=(1, 1))"
    )
    assert len(result.media) == 8
    assert result.text.startswith("2 more figures are not shown")
    code = "import numpy\nplt.figure(figsize=(12, 12)).figimage(numpy.random.rand(1200, 1200, 3))\nNone"
    result = await call("python", code=code)
    assert result.media == ()
    assert result.text.startswith("Figure 1 is not shown: its image is too large.")


async def test_a_figure_that_cannot_be_drawn_is_an_error(call):
    result = await call("python", code="import matplotlib.pyplot as plt\nplt.title('$\\\\frac{$')\nNone")
    assert result.is_error
    assert "ParseException" in result.text or "ValueError" in result.text
    assert (await call("python", code="1")).text == "1"


async def test_files_that_a_call_wrote_are_reported(call):
    await call("write_file", path="given.csv", content="a,b\n1,2\n")
    code = "import os\nos.mkdir('out')\nopen('out/new.csv', 'w').write('x')\nopen('plain', 'w').close()"
    result = await call("python", code=code)
    assert result.files == (FileLink("out/new.csv", "text/csv", 1), FileLink("plain", None, 0))
    assert result.text == "(no output)"
    assert (await call("python", code="open('given.csv').read(); None")).files == ()
    assert [file.path for file in (await call("python", code="open('given.csv', 'a').write('3')")).files] == [
        "given.csv"
    ]


async def test_all_of_a_long_output_is_in_a_file(call):
    result = await call("python", code="print('start'); print('é' * 50_000); print('end')")
    assert "python-output-1.txt has all of it" in result.text
    assert [file.path for file in result.files] == ["python-output-1.txt"]
    assert (
        await call("python", code="open('python-output-1.txt').read() == f\"start\\n{'é' * 50_000}\\nend\\n\"")
    ).text == "True"
    result = await call("python", code="import sys\nfor _ in range(3): print('e' * 9000, file=sys.stderr)")
    assert "python-errors-3.txt has all of it" in result.text


@pytest.mark.parametrize("trap", ["os.symlink('/etc/passwd', NAME)", "os.mkfifo(NAME)", "os.mkdir(NAME)"])
async def test_the_file_for_long_output_goes_nowhere_else(call, trap):
    result = await call("python", code=f"import os\nNAME = 'python-output-1.txt'\n{trap}\nprint('x' * 100_000)")
    assert not result.is_error
    assert "bytes of output left out ..." in result.text
    assert (await call("python", code="1")).text == "1"


async def test_what_a_call_prints_is_told_while_it_runs(offer, session):
    told: asyncio.Queue[str] = asyncio.Queue()

    async def report(progress: Progress) -> None:
        assert progress.total is not None
        assert 0 < progress.done <= progress.total
        await told.put(progress.output or "")

    wait = "while not os.path.exists('heard'): time.sleep(0.01)"
    code = f"import os, time\nprint('early', flush=True)\n{wait}\nprint('late')"
    call = asyncio.create_task(
        offer.registry.call("python", {"code": code}, ToolContext(session, report=report)),
    )
    assert await told.get() == "early\n"
    (session.workspace / "heard").touch()
    assert (await call).text == "early\nlate"


async def test_files_and_numbers_of_a_sandbox(backend, session):
    sandbox = await backend.create(session.sandbox)
    fd = sandbox.open("made", os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(fd, b"by the host")
    os.close(fd)
    execution = await sandbox.exec_code("open('made', 'a').write('!'); kept = b'x' * 2**24; sum(range(10**6))", 1)
    assert (await execution.answer).value == "499999500000"
    for path in ("../x", "/etc/passwd", "made/x"):
        with pytest.raises(OSError, match="Errno"):
            sandbox.open(path, os.O_RDONLY)
    stats = await sandbox.stats()
    assert 1 <= (stats.processes or 0) <= 5
    assert (stats.memory or 0) > 1 << 24
    assert (stats.cpu_seconds or 0) >= 0.01
    await sandbox.close()


async def test_calls_of_one_session_wait_for_each_other(interpreter):
    await interpreter.execute("log = []", 10)
    code = "import time\nlog.append('in'); time.sleep(0.05); log.append('out')"
    await asyncio.gather(*(interpreter.execute(code, 10) for _ in range(5)))
    assert (await interpreter.execute("log == ['in', 'out'] * 5", 10)).value == "True"


async def test_wrong_arguments_are_explained(call):
    result = await call("python", source="1")
    assert result.is_error
    assert result.text.startswith("Error: wrong arguments for python: ")
    result = await call("python", code=7)
    assert "['code']" in result.text


async def test_sandboxes_of_two_sessions_are_apart(sessions, offer):
    one, other = await sessions.create(), await sessions.create()
    await offer.registry.call("python", {"code": "x = 1; open('f', 'w').close()"}, ToolContext(one))
    result = await offer.registry.call(
        "python", {"code": "import os; 'x' in globals(), os.listdir()"}, ToolContext(other)
    )
    assert result.text == "(False, [])"
    assert os.geteuid() != 0 or one.sandbox.user != other.sandbox.user
