"""The house itself: what is packaged, pinned, imported and promised agrees with what is there."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("engine", "server", "tools")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@cache
def tracked_files() -> list[Path]:
    """Files under version control that exist; new ones too, unless they are ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def test_every_package_is_in_the_distribution():
    folders = {path.parent.relative_to(ROOT) for path in tracked_files() if path.suffix == ".py"}
    packages = {
        f"agenthost.{'.'.join(folder.parts)}" for folder in folders if folder.parts and folder.parts[0] in ROOMS
    }
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(packages)


def test_every_package_has_an_init_file():
    missing = {
        str(path.parent.relative_to(ROOT))
        for path in tracked_files()
        if path.suffix == ".py"
        and path.relative_to(ROOT).parts[0] in ROOMS
        and not (path.parent / "__init__.py").exists()
    }
    assert missing == set()


def test_every_file_that_a_package_reads_is_in_the_distribution():
    """What is not Python must be matched by package-data, or `pip install .` leaves it out."""
    data = PROJECT["tool"]["setuptools"]["package-data"]
    left_out = []
    for path in tracked_files():
        parts = path.relative_to(ROOT).parts
        if parts[0] in ROOMS and path.suffix != ".py":
            patterns = data.get(f"agenthost.{'.'.join(parts[:-1])}", [])
            if not any(path.match(pattern) for pattern in patterns):
                left_out.append(str(path.relative_to(ROOT)))
    assert left_out == []


def test_every_direct_dependency_is_pinned_to_what_is_tested():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {canonicalize_name(line.split("==")[0]): line.split("==")[1] for line in lines if "==" in line}
    for text in requires("agenthost") or []:
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker is None or "dev" in str(requirement.marker):
            assert name in pins, f"{name} has no line in constraints.txt"
            assert pins[name] in requirement.specifier
            assert version(name).split("+")[0] == pins[name], f"{name} differs from constraints.txt: run make"


def test_no_file_names_a_path_of_someones_machine():
    someones = re.compile(r"/(?:home|Users|root)/(?!\.\.\.)[A-Za-z.]" + f"|{re.escape(str(ROOT))}/")
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in someones.finditer(text)]
    assert found == []


@pytest.mark.parametrize("module", ["agenthost.engine", "agenthost.tools", "agenthost.server.app"])
def test_importing_a_room_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit(' '.join({{'torch', 'transformers', 'xgrammar'}} & set(sys.modules)) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_the_make_targets_that_documents_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        # In code only: prose says "make sure" too.
        code = re.findall(r"```.*?```|`[^`]+`", (ROOT / name).read_text(), re.DOTALL)
        named = {target for part in code for target in re.findall(r"\bmake ((?:[a-z-]+ ?)+)", part)}
        for target in {word for words in named for word in words.split()}:
            assert target in targets, f"{name} names `make {target}`"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_that_documents_name_exist(name):
    text = (ROOT / name).read_text()
    code = "\n".join(re.findall(r"```.*?```|`[^`]+`", text, re.DOTALL))
    for command in sorted(set(re.findall(r"\bagenthost ([a-z]+)\b", code))):
        done = subprocess.run(
            [sys.executable, "-m", "agenthost.server.cli", command, "--help"], capture_output=True, check=False
        )
        assert done.returncode == 0, f"{name} names `agenthost {command}`"
