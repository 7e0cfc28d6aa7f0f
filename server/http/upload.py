"""Files that clients send as forms. Only the routes that are listed here take anything but JSON."""

from __future__ import annotations

import re

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..openai.errors import ApiError
from .disconnect import ClientGone

_UPLOADS = re.compile(r"/v1/(files|containers/[^/]+/files)")
FORM = "multipart/form-data"


def takes_forms(path: str) -> bool:
    """The route reads forms."""
    return _UPLOADS.fullmatch(path) is not None


async def form(request: Request) -> FormData:
    """Raises :class:`ApiError` for what is no form, :class:`ClientGone` for half of one."""
    try:
        return await request.form(max_files=1, max_fields=16)
    except HTTPException as error:  # what starlette makes of a form that cannot be parsed
        raise ApiError(f"The form cannot be read: {error.detail}", code="invalid_form") from error
    except ClientDisconnect as error:
        raise ClientGone from error


def file_of(fields: FormData) -> UploadFile:
    """The field ``file``. Raises :class:`ApiError`."""
    file = fields.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError("Missing required parameter: 'file'.", code="missing_required_parameter", param="file")
    return file
