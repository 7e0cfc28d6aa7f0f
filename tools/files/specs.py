"""The filesystem tools as models see them: the reference MCP filesystem server's names and arguments, plus `grep`.

Paths are relative to the workspace. How results read is fixed here too, since the embedded model is trained on it.
"""

from __future__ import annotations

from ..spec import Annotations, JsonObject, ToolSpec, parameters

_READS = Annotations(read_only=True, destructive=False, idempotent=True)
_WRITES = Annotations(destructive=True, idempotent=True)
_EDITS = Annotations(destructive=True)
_CREATES = Annotations(destructive=False, idempotent=True)
_CONTENT: JsonObject = {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}


def _path(description: str) -> JsonObject:
    return {"type": "string", "description": description}


_EXCLUDES: JsonObject = {"type": "array", "items": {"type": "string"}, "description": "Glob patterns to skip"}

READ_TEXT_FILE = ToolSpec(
    "read_text_file",
    "Read a text file of the workspace. Returns its text.",
    parameters(
        {
            "path": _path("Path of the file"),
            "head": {"type": "integer", "minimum": 1, "description": "Only the first N lines"},
            "tail": {"type": "integer", "minimum": 1, "description": "Only the last N lines"},
        },
        ["path"],
    ),
    _READS,
    _CONTENT,
)
READ_MEDIA_FILE = ToolSpec(
    "read_media_file",
    "Read an image or audio file of the workspace.",
    parameters({"path": _path("Path of the file")}, ["path"]),
    _READS,
)
READ_MULTIPLE_FILES = ToolSpec(
    "read_multiple_files",
    "Read several text files at once. Returns each path with its text.",
    parameters({"paths": {"type": "array", "items": {"type": "string"}, "minItems": 1}}, ["paths"]),
    _READS,
    _CONTENT,
)
WRITE_FILE = ToolSpec(
    "write_file",
    "Create a text file or replace all of it.",
    parameters(
        {
            "path": _path("Path of the file"),
            "content": {"type": "string", "description": "The whole new text"},
        },
        ["path", "content"],
    ),
    _WRITES,
    _CONTENT,
)
EDIT_FILE = ToolSpec(
    "edit_file",
    "Replace exact pieces of text in a file. Each oldText must occur exactly once. Returns a diff.",
    parameters(
        {
            "path": _path("Path of the file"),
            "edits": {
                "type": "array",
                "minItems": 1,
                "items": parameters(
                    {"oldText": {"type": "string"}, "newText": {"type": "string"}}, ["oldText", "newText"]
                ),
            },
            "dryRun": {"type": "boolean", "description": "Only show the diff"},
        },
        ["path", "edits"],
    ),
    _EDITS,
    _CONTENT,
)
CREATE_DIRECTORY = ToolSpec(
    "create_directory",
    "Create a directory, with its parents.",
    parameters({"path": _path("Path of the directory")}, ["path"]),
    _CREATES,
    _CONTENT,
)
LIST_DIRECTORY = ToolSpec(
    "list_directory",
    "List a directory: one [FILE] or [DIR] line for each entry.",
    parameters({"path": _path("Path of the directory, . for the workspace")}, ["path"]),
    _READS,
    _CONTENT,
)
LIST_DIRECTORY_WITH_SIZES = ToolSpec(
    "list_directory_with_sizes",
    "List a directory with file sizes.",
    parameters(
        {
            "path": _path("Path of the directory"),
            "sortBy": {"type": "string", "enum": ["name", "size"]},
        },
        ["path"],
    ),
    _READS,
    _CONTENT,
)
DIRECTORY_TREE = ToolSpec(
    "directory_tree",
    "Show a directory and everything below it as JSON.",
    parameters({"path": _path("Path of the directory"), "excludePatterns": _EXCLUDES}, ["path"]),
    _READS,
    _CONTENT,
)
MOVE_FILE = ToolSpec(
    "move_file",
    "Move or rename a file or directory. Fails if the destination exists.",
    parameters({"source": _path("Present path"), "destination": _path("New path")}, ["source", "destination"]),
    _EDITS,
    _CONTENT,
)
SEARCH_FILES = ToolSpec(
    "search_files",
    "Find files by name with a glob pattern such as *.txt, in a directory and below. Returns one path a line.",
    parameters(
        {
            "path": _path("Directory to start from"),
            "pattern": {"type": "string", "description": "Glob pattern"},
            "excludePatterns": _EXCLUDES,
        },
        ["path", "pattern"],
    ),
    _READS,
    _CONTENT,
)
GREP = ToolSpec(
    "grep",
    "Find lines that match a regular expression in a file, or in all files of a directory. Returns path:line: text.",
    parameters(
        {
            "pattern": {"type": "string", "description": "Regular expression"},
            "path": _path("File or directory, . by default"),
        },
        ["pattern"],
    ),
    _READS,
    _CONTENT,
)
GET_FILE_INFO = ToolSpec(
    "get_file_info",
    "Size, times, type and permissions of a file or directory.",
    parameters({"path": _path("Path of the file or directory")}, ["path"]),
    _READS,
    _CONTENT,
)
LIST_ALLOWED_DIRECTORIES = ToolSpec(
    "list_allowed_directories",
    "List the directories that these tools may use.",
    parameters({}),
    _READS,
    _CONTENT,
)

FILE_SPECS = (
    READ_TEXT_FILE,
    READ_MEDIA_FILE,
    READ_MULTIPLE_FILES,
    WRITE_FILE,
    EDIT_FILE,
    CREATE_DIRECTORY,
    LIST_DIRECTORY,
    LIST_DIRECTORY_WITH_SIZES,
    DIRECTORY_TREE,
    MOVE_FILE,
    SEARCH_FILES,
    GREP,
    GET_FILE_INFO,
    LIST_ALLOWED_DIRECTORIES,
)

EMPTY_FILE = "(empty file)"
EMPTY_DIRECTORY = "(empty directory)"
NO_MATCHES = "No matches found"


def wrote(path: str) -> str:
    return f"Successfully wrote to {path}"


def moved(source: str, destination: str) -> str:
    return f"Successfully moved {source} to {destination}"


def created(path: str) -> str:
    return f"Successfully created directory {path}"


def listing(entries: list[tuple[str, bool]]) -> str:
    """``entries`` are (name, is_directory), already sorted."""
    return "\n".join(f"[{'DIR' if is_dir else 'FILE'}] {name}" for name, is_dir in entries) or EMPTY_DIRECTORY


def no_such_file(path: str) -> str:
    return f"no such file: {path}. Use list_directory to see what is there."


def no_such_directory(path: str) -> str:
    return f"no such directory: {path}. Use list_directory to see what is there."


def not_a_file(path: str) -> str:
    return f"{path} is a directory, not a file. Use list_directory to see what is in it."


def not_regular(path: str) -> str:
    return f"{path} is not a regular file. Use another path."


def already_exists(path: str) -> str:
    return f"{path} already exists. Choose another destination."


def text_not_found(path: str) -> str:
    return f"oldText does not occur in {path}. Read the file and copy the text exactly."


def text_not_unique(path: str, count: int) -> str:
    return f"oldText occurs {count} times in {path}. Give more of the text around it so that it is unique."


def outside(path: str) -> str:
    return f"{path} is outside the workspace. Use a path relative to the workspace."
