"""The programs that run beyond the server (`inside/`) as one source text, so that they need no file of ours there.

``python -I -c TEXT ARGUMENTS...`` runs the ``main(arguments)`` of one of them. They import each other relatively, and
nothing else of this project.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

_PACKAGE = "agenthost_inside"
# fmt: off
_MODULES = {  # in the order of their imports of each other
    "worker": ("tracebacks", "figures", "worker"),
    "mapped_launch": ("kernel", "mapped", "mapped_launch"),
    "box": ("kernel", "box"),
    "keeper": (
        "kernel",
        "landlock",
        "children",
        "supervisor",
        "tracebacks",
        "figures",
        "worker",
        "broker",
        "allowance",
        "keeper",
    ),
    "zygote": (
        "kernel",
        "box",
        "mapped",
        "children",
        "tracebacks",
        "figures",
        "worker",
        "nursery",
        "supervisor",
        "session",
        "zygote",
    ),
}
# fmt: on
_START = """\
import sys, types
package = sys.modules[{package!r}] = types.ModuleType({package!r})
package.__path__ = []
for name, source in {sources!r}:
    module = types.ModuleType(f"{package}.{{name}}")
    module.__package__ = {package!r}
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    exec(compile(source, f"<{{module.__name__}}>", "exec"), module.__dict__)
module.main(sys.argv[1:])
"""


@cache
def program(name: str) -> str:
    """The source of ``inside/<name>.py`` with what it imports."""
    folder = Path(__file__).with_name("inside")
    sources = [(module, (folder / f"{module}.py").read_text(encoding="utf-8")) for module in _MODULES[name]]
    return _START.format(package=_PACKAGE, sources=sources)
