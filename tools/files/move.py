"""`move_file`."""

from __future__ import annotations

import errno
import os

from ..errors import ToolError
from ..spec import JsonObject, Tool, ToolContext, ToolResult
from .beneath import Root, clean, told
from .folders import make_folders
from .rename import rename_new
from .result import content, in_turn
from .specs import MOVE_FILE, already_exists, moved, no_such_file
from .usage import Quota


class MoveFile(Tool):
    spec = MOVE_FILE

    async def call(self, arguments: JsonObject, context: ToolContext) -> ToolResult:
        source, destination = arguments["source"], arguments["destination"]
        await in_turn(context, move, source, destination, context.session.quota)
        return content(moved(source, destination))


def move(root: Root, source: str, destination: str, quota: Quota) -> None:
    """Rename without ever replacing anything. Makes the directories above the destination where they are missing.

    Raises:
        ToolError: no such source, the destination exists, or directories are missing and the workspace is full.
    """
    inner_source, inner_destination = clean(source), clean(destination)
    if above := inner_destination.rpartition("/")[0]:
        with told(source):
            os.close(root.open(inner_source, os.O_PATH | os.O_NOFOLLOW))  # before anything is made
        make_folders(root, above, quota)
    with (
        told(source),
        root.parent(inner_source) as (from_folder, old),
        told(destination),
        root.parent(inner_destination) as (to_folder, new),
    ):
        try:
            with root.acting():
                rename_new(from_folder, old, to_folder, new)
        except FileNotFoundError:
            raise ToolError(no_such_file(source)) from None
        except FileExistsError:
            raise ToolError(already_exists(destination)) from None
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise ToolError(f"{source} cannot be moved into itself. Choose another destination.") from error
            raise
