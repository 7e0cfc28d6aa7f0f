"""Which file tools are offered, in the order in which models see them."""

from __future__ import annotations

from ..spec import Tool
from .binary import ReadBinaryFile
from .checked import CheckedEditFile, CheckedWriteFile
from .edit import EditFile
from .folders import CreateDirectory, ListDirectory
from .grep import Grep
from .info import GetFileInfo, ListAllowedDirectories
from .lines import ReadTextLines
from .listing import DirectoryTree, ListDirectoryPages, ListDirectoryWithSizes
from .many import ReadMultipleFiles
from .media import ReadMediaFile
from .move import MoveFile
from .newest import GlobFiles
from .patch import ApplyPatch
from .read import ReadTextFile
from .ripgrep import find_ripgrep
from .search import SearchFiles
from .write import WriteFile


def core_file_tools() -> list[Tool]:
    """The few that the embedded model is trained on. Their specs and texts never change without it."""
    return [ReadTextFile(), WriteFile(), EditFile(), ListDirectory(), SearchFiles(), MoveFile(), CreateDirectory()]


def full_file_tools() -> list[Tool]:
    """For MCP clients and stronger models: the whole set of the reference MCP filesystem server, and more.

    Without ripgrep there is no `grep`.
    """
    ripgrep = find_ripgrep()
    return [
        ReadTextLines(),
        ReadMediaFile(),
        ReadMultipleFiles(),
        ReadBinaryFile(),
        CheckedWriteFile(),
        CheckedEditFile(),
        ApplyPatch(),
        CreateDirectory(),
        ListDirectoryPages(),
        ListDirectoryWithSizes(),
        DirectoryTree(),
        MoveFile(),
        SearchFiles(),
        GlobFiles(),
        *([Grep(ripgrep)] if ripgrep else []),
        GetFileInfo(),
        ListAllowedDirectories(),
    ]
