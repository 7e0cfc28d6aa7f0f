"""The file tools as stronger models and MCP clients get them: more tools, and more arguments to those of `specs`.

Names and arguments are the reference MCP filesystem server's; what it lacks has names in the same spelling. Unlike
`specs` these may grow: the embedded model does not see them.
"""

from __future__ import annotations

from dataclasses import replace

from ..spec import Annotations, JsonObject, ToolSpec, parameters
from . import specs

_READS = specs.LIST_DIRECTORY.annotations
_CONTENT: JsonObject = {"type": "object", "properties": {"content": {"type": "string"}}, "required": ["content"]}


def _count(description: str, minimum: int = 1, maximum: int | None = None) -> JsonObject:
    schema: JsonObject = {"type": "integer", "minimum": minimum, "description": description}
    return schema if maximum is None else {**schema, "maximum": maximum}


def _extended(spec: ToolSpec, description: str, more: JsonObject) -> ToolSpec:
    properties = {**spec.parameters["properties"], **more}
    return replace(
        spec, description=description, parameters=parameters(properties, spec.parameters.get("required", []))
    )


_VERSIONED: JsonObject = {
    **_CONTENT,
    "properties": {"content": {"type": "string"}, "version": {"type": "string"}},
}
_IF_VERSION: JsonObject = {
    "type": "string",
    "pattern": "^[0-9a-f]{12}$",
    "description": "Only if the file is still in this version, as get_file_info tells it",
}
_PAGES: JsonObject = {
    "offset": _count("Skip that many entries", 0),
    "limit": _count("At most that many entries (default 1000)", 1, 10_000),
}

READ_TEXT_FILE = replace(
    _extended(
        specs.READ_TEXT_FILE,
        "Read a text file of the workspace, or some of its lines. Where a text is cut it says how to continue.",
        {
            "startLine": _count("First line, counted from 1"),
            "endLine": _count("Last line"),
            "lineNumbers": {"type": "boolean", "description": "Put its number and a tab before each line"},
        },
    ),
    output=_VERSIONED,
)
WRITE_FILE = replace(
    _extended(
        specs.WRITE_FILE,
        "Create a text file or replace all of it. Refused if the file has changed since it was last read.",
        {"ifVersion": _IF_VERSION},
    ),
    output=_VERSIONED,
)
EDIT_FILE = replace(
    _extended(
        specs.EDIT_FILE,
        "Replace exact pieces of text in a file, all or none of them. Each oldText must occur exactly once unless "
        "replaceAll is set. Returns a diff.",
        {
            "edits": {
                "type": "array",
                "minItems": 1,
                "items": parameters(
                    {
                        "oldText": {"type": "string"},
                        "newText": {"type": "string"},
                        "replaceAll": {"type": "boolean", "description": "Replace every occurrence"},
                    },
                    ["oldText", "newText"],
                ),
            },
            "ifVersion": _IF_VERSION,
        },
    ),
    output=_VERSIONED,
)
APPLY_PATCH = ToolSpec(
    "apply_patch",
    "Add, update, move and delete several files at once, all or none of them. The patch:\n"
    "*** Begin Patch\n"
    "*** Update File: path\n"
    "@@ a line above the change, where the lines are not unique without\n"
    " context line\n"
    "-old line\n"
    "+new line\n"
    "*** Add File: path\n"
    "+content line\n"
    "*** Delete File: path\n"
    "*** End Patch\n"
    "After the line `*** Update File: path`, `*** Move to: path` renames it.",
    parameters(
        {"patch": {"type": "string"}, "dryRun": {"type": "boolean", "description": "Only show the diff"}}, ["patch"]
    ),
    Annotations(destructive=True),
    _CONTENT,
)
READ_MEDIA_FILE = replace(
    specs.READ_MEDIA_FILE,
    description="Look at an image (PNG, JPEG, GIF, WebP, BMP) or get a sound (WAV, MP3, OGG, FLAC) of the workspace.",
)
READ_MULTIPLE_FILES = replace(
    specs.READ_MULTIPLE_FILES,
    description="Read several text files at once. Returns each path with its text; one that fails stops no other.",
)
READ_BINARY_FILE = ToolSpec(
    "read_binary_file",
    "Show bytes of any file, as offset, 16 bytes in hexadecimal, and text.",
    parameters(
        {
            "path": {"type": "string", "description": "Path of the file"},
            "offset": _count("First byte, counted from 0", 0),
            "length": _count("Number of bytes (default 512)", 1, 8192),
        },
        ["path"],
    ),
    _READS,
    _CONTENT,
)
LIST_DIRECTORY = _extended(specs.LIST_DIRECTORY, specs.LIST_DIRECTORY.description, _PAGES)
LIST_DIRECTORY_WITH_SIZES = _extended(
    specs.LIST_DIRECTORY_WITH_SIZES, "List a directory with sizes in bytes, by name or the largest first.", _PAGES
)
DIRECTORY_TREE = _extended(
    specs.DIRECTORY_TREE,
    "Show a directory and everything below it as JSON: name, type and, of directories, children. At most 1000 entries, "
    "those near the top first; a directory with `unlisted: true` has more, which its own tree shows.",
    {"maxDepth": _count("Levels to show")},
)
_SEARCHED: JsonObject = {
    "excludePatterns": specs.SEARCH_FILES.parameters["properties"]["excludePatterns"],
    "includeIgnored": {"type": "boolean", "description": "Also what .gitignore files name, and .git"},
}
GLOB = ToolSpec(
    "glob",
    "Find files by a glob pattern such as src/**/*.py, the last changed first. Leaves out what .gitignore files name.",
    parameters(
        {
            "pattern": {"type": "string", "description": "Glob pattern, relative to path"},
            "path": {"type": "string", "description": "Directory to start from, . by default"},
            **_SEARCHED,
            "offset": _PAGES["offset"],
            "limit": _count("At most that many files (default 100)", 1, 10_000),
        },
        ["pattern"],
    ),
    _READS,
    _CONTENT,
)
GREP = ToolSpec(
    "grep",
    "Find lines that match a regular expression (Rust's syntax) in a file, or in all files of a directory and below. "
    "Returns path:line: text. Leaves out binary files and what .gitignore files name.",
    parameters(
        {
            "pattern": {"type": "string", "description": "Regular expression"},
            "path": {"type": "string", "description": "File or directory, . by default"},
            "glob": {"type": "string", "description": "Only files that match this pattern, such as *.py"},
            "outputMode": {
                "type": "string",
                "enum": ["lines", "files", "count"],
                "description": "Lines (default), only the files' paths, or the number of lines in each file",
            },
            "ignoreCase": {"type": "boolean", "description": "Letters match in either case"},
            "literal": {"type": "boolean", "description": "The pattern is plain text"},
            "multiline": {"type": "boolean", "description": "Matches may span lines, and . matches line ends"},
            "context": _count("Lines to show before and after each match", 0, 20),
            **_SEARCHED,
            "offset": {**_PAGES["offset"], "description": "Skip that many results"},
            "limit": _count("At most that many results (default 200)", 1, 10_000),
        },
        ["pattern"],
    ),
    _READS,
    _CONTENT,
)
GET_FILE_INFO = replace(
    specs.GET_FILE_INFO,
    description="Size, times, type, permissions and version of a file, directory or link.",
)
LIST_ALLOWED_DIRECTORIES = specs.LIST_ALLOWED_DIRECTORIES
