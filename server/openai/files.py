"""``/v1/files``: what clients upload, for containers to work on."""

from __future__ import annotations

import secrets
import time
from typing import Literal, TypedDict

from fastapi import APIRouter, Request, Response

from ..http.answers import answer, answered
from ..http.caller import caller_of
from ..http.upload import file_of, form
from ..state import State
from ..store.files import StoredFile
from .errors import ApiError, not_found
from .pages import Deleted, Page, page

router = APIRouter()

_PURPOSES = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_SHORTEST, _LONGEST = 3600, 2_592_000  # seconds after which a file may expire


class FileObject(TypedDict):
    """An uploaded file."""

    id: str
    object: Literal["file"]
    bytes: int
    created_at: int
    expires_at: int | None
    filename: str
    purpose: str
    status: Literal["processed"]
    status_details: None


class Download(Response):
    """Bytes as a download, whatever they are: a browser must not run them as a page of ours."""

    media_type = "application/octet-stream"

    # FastAPI reads the default of `status_code` for the description.
    def __init__(self, content: bytes, status_code: int = 200) -> None:
        headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
        super().__init__(content, status_code, headers)


@router.post("/v1/files", openapi_extra=answered(FileObject))
async def upload(request: Request) -> Response:
    caller, fields = caller_of(request.scope), await form(request)
    given = file_of(fields)
    purpose = str(fields.get("purpose") or "user_data")
    if purpose not in _PURPOSES:
        raise ApiError(
            f"purpose is {purpose[:60]!r}, expected one of {', '.join(_PURPOSES)}.",
            code="invalid_value",
            param="purpose",
        )
    content = await given.read()
    now = time.time()
    file = StoredFile(
        f"file-{secrets.token_hex(12)}", caller.name, given.filename or "file", purpose,
        len(content), now, _expires(fields.get("expires_after[seconds]"), now),
    )  # fmt: skip
    state: State = request.app.state.kept
    await state.check_room(file.owner, len(content), caller.limits.stored_bytes)
    await state.files.add(file, content)
    return answer(shown(file))


@router.get("/v1/files", openapi_extra=answered(Page[FileObject]))
async def list_files(request: Request) -> Response:
    state: State = request.app.state.kept
    purpose = request.query_params.get("purpose")
    files = await state.files.list(caller_of(request.scope).name)
    return answer(page(request, [shown(file) for file in files if purpose in (None, file.purpose)], limit=10_000))


@router.get("/v1/files/{file_id}", openapi_extra=answered(FileObject))
async def retrieve(request: Request, file_id: str) -> Response:
    return answer(shown(await find(request, file_id)))


@router.get("/v1/files/{file_id}/content", response_class=Download)
async def content(request: Request, file_id: str) -> Response:
    file = await find(request, file_id)
    return Download(await request.app.state.kept.files.content(file))


@router.delete("/v1/files/{file_id}", openapi_extra=answered(Deleted))
async def delete(request: Request, file_id: str) -> Response:
    file = await find(request, file_id)
    await request.app.state.kept.files.delete(file.id, file.owner)
    return answer(Deleted(id=file.id, object="file", deleted=True))


async def find(request: Request, file_id: str) -> StoredFile:
    """The caller's file. Raises :class:`ApiError`."""
    file = await request.app.state.kept.files.get(file_id, caller_of(request.scope).name)
    if file is None:
        raise not_found("file", file_id)
    return file


def shown(file: StoredFile) -> FileObject:
    return {
        "id": file.id, "object": "file", "bytes": file.bytes, "created_at": int(file.created),
        "expires_at": None if file.expires is None else int(file.expires), "filename": file.filename,
        "purpose": file.purpose, "status": "processed", "status_details": None,
    }  # fmt: skip


def _expires(seconds: object, now: float) -> float | None:
    if seconds is None:
        return None
    if not isinstance(seconds, str) or not seconds.isdigit() or not _SHORTEST <= int(seconds) <= _LONGEST:
        raise ApiError(
            f"expires_after[seconds] must be from {_SHORTEST} to {_LONGEST}.",
            code="invalid_value",
            param="expires_after",
        )
    return now + int(seconds)
