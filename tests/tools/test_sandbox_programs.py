"""What honest programs do in a sandbox: the system call filter must not be in their way."""

from __future__ import annotations

import shutil

import pytest

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

LIBRARIES = """
import asyncio, concurrent.futures, mmap, multiprocessing, os, select, shutil, signal, sqlite3, tempfile, threading
from multiprocessing import shared_memory
import numpy, pandas, scipy.linalg, scipy.optimize
import matplotlib.pyplot as plt

table = numpy.random.rand(200, 200)
numpy.linalg.svd(table)
numpy.save("table.npy", table)
numpy.load("table.npy", mmap_mode="r").sum()
frame = pandas.DataFrame(table)
frame.to_csv("table.csv")
pandas.read_csv("table.csv").groupby("1").mean()
scipy.linalg.eig(table[:50, :50])
scipy.optimize.minimize(lambda x: (x**2).sum(), numpy.ones(5))
plt.plot([1, 2])
plt.savefig("plot.pdf")
plt.close()
with sqlite3.connect("data.db") as data:
    data.execute("pragma journal_mode=wal")
    data.execute("create table t(a)")
assert list(concurrent.futures.ThreadPoolExecutor(4).map(abs, [-1])) == [1]
for way in ("fork", "spawn"):
    with multiprocessing.get_context(way).Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
memory = shared_memory.SharedMemory(create=True, size=100)
memory.close()
memory.unlink()
async def main():
    child = await asyncio.create_subprocess_exec("echo", "hi", stdout=-1)
    return (await child.communicate())[0]
assert asyncio.run(main()) == b"hi\\n"
with tempfile.TemporaryDirectory() as folder:
    open(folder + "/a", "w").write("x")
    shutil.copy2(folder + "/a", folder + "/b")
    shutil.make_archive("archive", "zip", folder)
signal.setitimer(signal.ITIMER_REAL, 0)
mmap.mmap(-1, 4096)
os.posix_fallocate(os.open("file", os.O_RDWR | os.O_CREAT), 0, 100)
os.eventfd(0), os.pidfd_open(os.getpid()), os.nice(1), select.epoll()
"done"
"""
COMMANDS = {
    "git": "git init -q r && cd r && git -c user.name=a -c user.email=b commit -q --allow-empty -m x && git log",
    "gcc": "echo 'int main(){return 0;}' > a.c && gcc a.c -o a.out && ./a.out",
    "node": "node -e 'process.exit(0)'",
    "perl": "perl -e 'exit 0'",
    "tar": "echo x > t && tar czf t.tgz t && tar xzf t.tgz && touch -d yesterday t && chmod +x t",
    "sort": "printf 'b\\na\\n' | sort | uniq -c | xargs echo",
    "rg": "echo word > w && rg word w",
    "make": "printf 'all:\\n\\techo made\\n' > Makefile && make",
}


async def test_scientific_libraries_processes_and_shared_memory_work(call):
    result = await call("python", code=LIBRARIES)
    if "ModuleNotFoundError" in result.text:
        pytest.skip("the scientific packages are not installed")
    assert result.text.endswith("'done'")


@pytest.mark.parametrize("program", COMMANDS)
async def test_programs_of_the_system_work(call, program):
    if shutil.which(program, path="/usr/bin:/bin") is None:
        pytest.skip(f"there is no {program} here")
    code = f"import subprocess; subprocess.run({COMMANDS[program]!r}, shell=True, capture_output=True, text=True)"
    assert "returncode=0" in (await call("python", code=code)).text
