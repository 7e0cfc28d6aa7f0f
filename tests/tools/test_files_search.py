"""`grep` and `glob`: what they find, what they leave out, and that no argument or link makes them do anything else."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from agenthost.tools import Session, ToolError, default_tools
from agenthost.tools.bench import race
from agenthost.tools.files.beneath import Root
from agenthost.tools.files.directory import Directory
from agenthost.tools.files.grep import Query, grep
from agenthost.tools.files.ripgrep import find_ripgrep
from agenthost.tools.files.searching import Search

pytestmark = pytest.mark.anyio


@pytest.fixture
def offer(verdict, backend):
    return default_tools(verdict, files="full")


@pytest.fixture
def call(call):
    async def call_for_text(name: str, **arguments: object) -> str:
        return (await call(name, **arguments)).text

    return call_for_text


@pytest.fixture
def ws(session: Session) -> Path:
    """A small project."""
    for path, text in {
        "a.py": "import os\nTODO = 1\nprint('x')\n",
        "sub/b.py": "# todo: later\n",
        "sub/c.txt": "TODO\n",
        "build/out.py": "TODO\n",
        ".git/config": "TODO\n",
        ".gitignore": "build/\n",
    }.items():
        (session.workspace / path).parent.mkdir(exist_ok=True)
        (session.workspace / path).write_text(text)
    return session.workspace


async def test_lines_files_and_counts(call, ws):
    assert await call("grep", pattern="TODO") == "a.py:2: TODO = 1\nsub/c.txt:1: TODO"
    assert await call("grep", pattern="todo", ignoreCase=True, outputMode="files") == "a.py\nsub/b.py\nsub/c.txt"
    assert await call("grep", pattern="(?i)todo", outputMode="count") == "a.py: 1\nsub/b.py: 1\nsub/c.txt: 1"
    assert await call("grep", pattern="TODO", glob="*.py") == "a.py:2: TODO = 1"
    assert await call("grep", pattern="TODO", path="sub") == "sub/c.txt:1: TODO"
    assert await call("grep", pattern="TODO", path="sub/c.txt") == "sub/c.txt:1: TODO"
    assert await call("grep", pattern="TODO", excludePatterns=["sub"]) == "a.py:2: TODO = 1"
    assert await call("grep", pattern="nowhere") == "No matches found"
    assert await call("grep", pattern="print('x')", literal=True) == "a.py:3: print('x')"
    assert await call("grep", pattern="$", path="sub/c.txt") == "sub/c.txt:1: TODO"
    everything = await call("grep", pattern="TODO", includeIgnored=True, outputMode="files")
    assert everything == ".git/config\na.py\nbuild/out.py\nsub/c.txt"


async def test_lines_around_a_match_and_matches_over_lines(call, ws):
    assert await call("grep", pattern="TODO", path="a.py", context=1) == (
        "a.py-1- import os\na.py:2: TODO = 1\na.py-3- print('x')"
    )
    assert await call("grep", pattern="os.TODO", path="a.py", multiline=True) == "a.py:1: import os\na.py:2: TODO = 1"
    assert "Set multiline" in await call("grep", pattern="os\nTODO", path="a.py")
    (ws / "long").write_text("".join(f"{n}\n" for n in range(30)))
    assert await call("grep", pattern="^1[05]$", path="long", context=1) == (
        "long-10- 9\nlong:11: 10\nlong-12- 11\n--\nlong-15- 14\nlong:16: 15\nlong-17- 16"
    )


async def test_results_come_in_pages(call, ws):
    (ws / "many").write_text("".join(f"line {n}\n" for n in range(500)))
    first = await call("grep", pattern="line", path="many", limit=2)
    assert first == "many:1: line 0\nmany:2: line 1\n[results 1 to 2, there are more. Continue with offset 2.]"
    last = await call("grep", pattern="line", path="many", limit=2, offset=498)
    assert last == "many:499: line 498\nmany:500: line 499"
    assert await call("grep", pattern="line", path="many", offset=500) == "(no results from offset 500)"
    for number in range(300):
        (ws / f"f{number:03}").write_text("needle\n")
    found = (await call("grep", pattern="needle", limit=250)).split("\n")
    assert (found[0], found[-2]) == ("f000:1: needle", "f249:1: needle")
    assert len((await call("grep", pattern="needle", limit=10_000, outputMode="files")).split("\n")) == 300


@pytest.mark.parametrize(
    "pattern", ["--pre=./run", "-f/etc/passwd", "--files", "-", "--", "--pre", "-e", "--hostname-bin=./run", "-z"]
)
async def test_no_pattern_is_taken_for_an_option(call, ws, pattern):
    (ws / "run").write_text("#!/bin/sh\ntouch ran\n")
    (ws / "run").chmod(0o755)
    (ws / "-e").write_text(f"{pattern}\n")
    text = await call("grep", pattern=pattern, literal=True)
    assert text.startswith(f"-e:1: {pattern}")
    await call("grep", pattern="x", glob=pattern, path="-e")
    assert not (ws / "ran").exists()


@pytest.mark.timeout(30)
async def test_patterns_that_other_engines_hang_on_are_answered(call, ws):
    (ws / "a").write_text("a" * 100_000 + "\n")
    begun = time.monotonic()
    assert await call("grep", pattern="(a+)+$x", path="a") == "No matches found"
    for pattern in ("(a{1,1000}){1,1000}", "(", "[", "(?=a)", r"(a)\1", "(?P<n", "\\"):
        text = await call("grep", pattern=pattern)
        assert text.startswith("Error: the pattern cannot be used. Use Rust's syntax"), text
        assert "/proc/" not in text
    assert (await call("grep", pattern="x" * 2001)).startswith("Error: the pattern must have")
    assert (await call("grep", pattern="")).startswith("Error: the pattern must have")
    assert (await call("grep", pattern="a\0")).startswith("Error: the pattern must have")
    assert time.monotonic() - begun < 20


async def test_what_cannot_be_searched_is_said_or_passed_over(call, ws):
    (ws / "binary").write_bytes(b"TODO\0TODO\n")
    (ws / "late").write_bytes(b"x" * 5000 + b"\n" + b"\0TODO\n")
    (ws / "latin").write_bytes(b"caf\xe9 TODO\n")
    with (ws / "giant").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(ws / "fifo")
    (ws / "out").symlink_to("/etc/passwd")
    (ws / "wide").write_text("x" * 100_000 + "TODO\n")
    text = await call("grep", pattern="TODO|root")
    assert text.startswith("a.py:2: TODO = 1\nlatin:1: caf� TODO\nsub/c.txt:1: TODO\nwide:1: xxxx")
    assert text.endswith("\n[not searched: 1 larger than 32 MB and 1 binary]")
    assert "binary" not in text.split("[not")[0]
    assert len(text) < 2000
    for path, problem in (("out", "outside"), ("fifo", "No matches"), ("none", "no such"), ("../x", "outside")):
        assert problem in await call("grep", pattern="root", path=path)


async def test_results_that_are_long_stop_at_what_can_be_shown(call, ws):
    (ws / "big").write_text(("y" * 400 + "\n") * 50_000)
    text = await call("grep", pattern="y", path="big", limit=10_000)
    assert len(text) < 60_000
    assert "there are more. Continue with offset 1" in text


async def test_glob_gives_the_newest_first_and_pages(call, ws):
    for age, path in enumerate(("sub/b.py", "a.py", "sub/c.txt", "build/out.py")):
        os.utime(ws / path, (1_000_000 - age, 1_000_000 - age))
    assert await call("glob", pattern="*.py") == "sub/b.py\na.py"
    assert await call("glob", pattern="**/*.py", includeIgnored=True) == "sub/b.py\na.py\nbuild/out.py"
    assert await call("glob", pattern="*", path="sub") == "sub/b.py\nsub/c.txt"
    assert await call("glob", pattern="*.py", limit=1) == "sub/b.py\n[files 1 to 1 of 2. Continue with offset 1.]"
    assert await call("glob", pattern="*.py", offset=1) == "a.py\n[files 2 to 2 of 2.]"
    assert await call("glob", pattern="*.md") == "No matches found"
    for pattern in ("../*", "/etc/*", ""):
        assert (await call("glob", pattern=pattern)).startswith("Error: the pattern must")


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("*.log\n", ["d/keep", "keep", "x/build/f"]),
        ("*.log\n!keep.log\n", ["d/keep", "keep", "keep.log", "x/build/f"]),
        ("/d\n", ["a.log", "keep", "keep.log", "x/build/f"]),
        ("build/\n", ["a.log", "d/b.log", "d/keep", "keep", "keep.log"]),
        ("keep/\n", ["a.log", "d/b.log", "d/keep", "keep", "keep.log", "x/build/f"]),
        ("x/build\n", ["a.log", "d/b.log", "d/keep", "keep", "keep.log"]),
        ("d/*\n!d/keep\n", ["a.log", "d/keep", "keep", "keep.log", "x/build/f"]),
        ("# comment\n\\#x\n\n/\n[\n**/b.log\n", ["a.log", "d/keep", "keep", "keep.log", "x/build/f"]),
    ],
)
async def test_ignore_files_mean_what_git_says(call, session, rules, left):
    ws = session.workspace
    for path in ("a.log", "keep", "keep.log", "d/b.log", "d/keep", "x/build/f"):
        (ws / path).parent.mkdir(parents=True, exist_ok=True)
        (ws / path).touch()
    (ws / ".gitignore").write_text(rules)
    assert sorted((await call("glob", pattern="**")).split("\n")) == [".gitignore", *left]
    assert known_to_git(ws) == [".gitignore", *left], "this test knows git wrongly"


def known_to_git(folder: Path) -> list[str]:
    git = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    listed = subprocess.run([*git, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True)
    return sorted(listed.stdout.split())


async def test_a_deeper_ignore_file_says_last(call, session):
    ws = session.workspace
    (ws / "d").mkdir()
    (ws / ".gitignore").write_text("*.log\n")
    (ws / "d/.gitignore").write_text("!b.log\n")
    (ws / "d/b.log").touch()
    (ws / "c.log").touch()
    assert sorted((await call("glob", pattern="*.log")).split("\n")) == ["d/b.log"]
    assert await call("glob", pattern="*.log", path="d") == "d/b.log"
    (ws / "d/.gitignore").unlink()
    assert await call("glob", pattern="*.log", path="d") == "No matches found"


async def test_hostile_ignore_files_are_only_ignored(call, session):
    ws = session.workspace
    (ws / "f").touch()
    (ws / ".gitignore").write_text(("*a" * 200 + "\n") * 100_000 + "f\n")
    assert await call("glob", pattern="f") == "f"
    (ws / ".gitignore").unlink()
    os.mkfifo(ws / ".gitignore")
    assert await call("glob", pattern="f") == "f"
    (ws / ".gitignore").unlink()
    (ws / ".gitignore").symlink_to("/dev/zero")
    assert await call("glob", pattern="f") == "f"


async def test_many_files_are_searched_soon(call, session):
    for number in range(2000):
        (session.workspace / f"f{number}").write_text(f"text {number}\n")
    assert await call("grep", pattern="text 1999$") == "f1999:1: text 1999"


def test_a_racing_link_does_not_lead_a_search_out(tmp_path):
    program = find_ripgrep()
    assert program
    texts = set()
    with race.arena(tmp_path) as place:
        for _ in range(100):
            texts.add(grep(place.root, program, Query("side"), Search(place.root, ".", ignored=True)))
    assert texts <= {"No matches found", "swap/file:1: inside", "link/file:1: inside"}


def test_descriptors_and_processes_are_given_back(tmp_path):
    for number in range(300):
        (tmp_path / f"f{number}").write_text("x\n" * 100)
    program = find_ripgrep()
    assert program
    directory = Directory(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for query in (Query("x", limit=1), Query("x", offset=20_000), Query("(")):
        search = Search(Root(directory), ".")
        try:
            grep(search.root, program, query, search)
        except ToolError:
            assert query.pattern == "("
    assert len(os.listdir("/proc/self/fd")) == before
    directory.close()


def test_without_ripgrep_there_is_no_grep_and_it_is_said(verdict, backend, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _: None)
    offer = default_tools(verdict, files="full")
    assert "grep" not in offer.registry.tools
    assert offer.missing == ("The grep tool is off: ripgrep is missing. Install it (apt-get install ripgrep).",)
