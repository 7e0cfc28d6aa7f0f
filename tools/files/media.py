"""`read_media_file`: images and sounds, by what their bytes say and not by their names."""

from __future__ import annotations

from ..errors import ToolError
from ..spec import JsonObject, Media, Tool, ToolContext, ToolResult
from .beneath import Root, opened
from .full_specs import READ_MEDIA_FILE
from .result import in_thread
from .text import read_bytes

MEDIA_LIMIT = 8 << 20  # bytes of an image or sound; model APIs take little more

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
    b"BM": "image/bmp",
    b"ID3": "audio/mpeg",
    b"\xff\xfb": "audio/mpeg",
    b"\xff\xf3": "audio/mpeg",
    b"OggS": "audio/ogg",
    b"fLaC": "audio/flac",
}
_RIFF = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}


class ReadMediaFile(Tool):
    spec = READ_MEDIA_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        path = arguments["path"]
        media = await in_thread(context, read_media, path)
        return ToolResult(f"{path}: {media.mime_type}, {len(media.data)} bytes", media=(media,))


def read_media(root: Root, path: str) -> Media:
    """Raises ToolError: no such file, too large, or neither an image nor a sound that is known."""
    with opened(root, path) as (fd, _):
        data = read_bytes(fd, MEDIA_LIMIT + 1)
    kind = media_type(data[:16])
    if kind is None:
        raise ToolError(f"{path} is no known image or sound. Use read_text_file or read_binary_file.")
    if len(data) > MEDIA_LIMIT:
        raise ToolError(f"{path} has more than {MEDIA_LIMIT >> 20} MB. Make a smaller copy of it with python.")
    return Media(data, kind)


def media_type(start: bytes) -> str | None:
    """MIME type of a file that starts so; None if it is neither an image nor a sound."""
    if start.startswith(b"RIFF"):
        return _RIFF.get(start[8:12])
    return next((kind for prefix, kind in _STARTS.items() if start.startswith(prefix)), None)
