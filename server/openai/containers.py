"""``/v1/containers``: workspaces by id, their files, and how long they live.

A container is a session of the tools room; ``session_id`` is its name there and for MCP clients. It expires some
minutes after it was last used: what ran in it and what was in its workspace is gone then.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Literal, TypedDict

import anyio
from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from ...tools import Session, ToolError, UnknownSession, WorkspaceError
from ...tools.files.beneath import Root, clean, regular, told
from ...tools.files.folders import make_folders
from ...tools.files.usage import Quota
from ...tools.files.walk import shown, walk
from ...tools.files.write import replace
from ..hands import Hands
from ..http import body
from ..http.answers import answer, answered
from ..http.caller import caller_of
from ..http.upload import FORM, file_of, form
from ..json_values import JsonObject
from ..state import State
from ..store.containers import StoredContainer
from .errors import ApiError, no_workspace, not_found
from .files import Download
from .network import hosts_of
from .pages import Deleted, Page, page

router = APIRouter()

MINUTES = 20  # as OpenAI's containers live after their last use
_MOST_FILES = 10_000


class ExpiresAfter(BaseModel):
    anchor: str = "last_active_at"
    minutes: Annotated[int, Field(ge=1, le=1440)] = MINUTES


class ContainerRequest(BaseModel):
    """The body of ``POST /v1/containers``."""

    name: str = "container"
    expires_after: ExpiresAfter | None = None
    file_ids: list[str] | None = None
    network_policy: JsonObject | None = None


class FileRequest(BaseModel):
    """The body of ``POST /v1/containers/{id}/files`` when it copies an uploaded file."""

    file_id: str


Source = Literal["user", "assistant"]


class Expiry(TypedDict):
    """A container ends so many minutes after it was last used."""

    anchor: Literal["last_active_at"]
    minutes: int


class Container(TypedDict):
    """A workspace with what runs in it."""

    id: str
    object: Literal["container"]
    created_at: int
    status: Literal["running", "expired"]
    expires_after: Expiry
    last_active_at: int
    name: str
    memory_limit: str
    network_policy: JsonObject
    session_id: str


class ContainerFile(TypedDict):
    """A file of a container; ``bytes`` is its size."""

    id: str
    object: Literal["container.file"]
    created_at: int
    bytes: int
    container_id: str
    path: str
    source: Source


class ContainerService:
    """Makes and finds containers."""

    def __init__(self, state: State, hands: Hands) -> None:
        self._state = state
        self._hands = hands

    async def create(
        self,
        owner: str,
        name: str = "auto",
        minutes: int = MINUTES,
        file_ids: Sequence[str] = (),
        hosts: tuple[str, ...] | None = None,
    ) -> tuple[StoredContainer, Session]:
        """``hosts``: see :class:`Session`. Raises :class:`ApiError`."""
        files = [await self._state.files.get(file_id, owner) for file_id in file_ids]
        for file, file_id in zip(files, file_ids, strict=True):
            if file is None:
                raise not_found("file", file_id)
        try:
            session = await self._hands.sessions.create(owner, ttl=60.0 * minutes, hosts=hosts)
        except WorkspaceError as error:
            raise no_workspace(error) from error
        now = time.time()
        container = StoredContainer(f"cntr_{secrets.token_hex(20)}", owner, name, session.id, minutes, now, now)
        try:
            for file in files:
                assert file is not None
                await put(session, os.path.basename(file.filename), await self._state.files.content(file))
            await self._state.containers.add(container)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.remove(container)
            raise
        return container, session

    async def open(self, container_id: str, owner: str) -> tuple[StoredContainer, Session]:
        """A container that is alive, and its session; it counts as used. Raises :class:`ApiError`."""
        container = await self._state.containers.get(container_id, owner)
        if container is None:
            raise not_found("container", container_id)
        session = self.session(container)
        if session is None:
            raise ApiError(f"Container is expired: {container_id}. Create a new one.", code="container_expired")
        await self._state.containers.touch(container_id)
        return container, session

    async def remove(self, container: StoredContainer) -> None:
        """With all that runs in it and all that it holds."""
        with suppress(UnknownSession):
            await self._hands.sessions.close(container.session, container.owner)
        await self._state.containers.delete(container.id)

    def session(self, container: StoredContainer) -> Session | None:
        """None when the container has expired."""
        try:
            return self._hands.sessions.get(container.session, container.owner)
        except UnknownSession:
            return None

    def shown(self, container: StoredContainer) -> Container:
        session = None if container.expired else self.session(container)
        return {
            "id": container.id, "object": "container", "created_at": int(container.created),
            "status": "expired" if session is None else "running",
            "expires_after": {"anchor": "last_active_at", "minutes": container.minutes},
            "last_active_at": int(container.last_active), "name": container.name, "memory_limit": "1g",
            "network_policy": self._hands.network_policy(session), "session_id": container.session,
        }  # fmt: skip


@router.post("/v1/containers", openapi_extra=body.documented(ContainerRequest, answered(Container)))
async def create(request: Request) -> Response:
    wanted = await body.read(request, ContainerRequest)
    minutes = wanted.expires_after.minutes if wanted.expires_after else MINUTES
    service: ContainerService = request.app.state.containers
    owner = caller_of(request.scope).name
    hosts = hosts_of(wanted.network_policy, request.app.state.hands, "network_policy")
    container, _ = await service.create(owner, wanted.name[:200], minutes, wanted.file_ids or (), hosts)
    return answer(service.shown(container))


@router.get("/v1/containers", openapi_extra=answered(Page[Container]))
async def list_containers(request: Request) -> Response:
    service, state = request.app.state.containers, request.app.state.kept
    containers = await state.containers.list(caller_of(request.scope).name)
    return answer(page(request, [service.shown(container) for container in containers]))


@router.get("/v1/containers/{container_id}", openapi_extra=answered(Container))
async def retrieve(request: Request, container_id: str) -> Response:
    return answer(request.app.state.containers.shown(await _find(request, container_id)))


@router.delete("/v1/containers/{container_id}", openapi_extra=answered(Deleted))
async def delete(request: Request, container_id: str) -> Response:
    container = await _find(request, container_id)
    await request.app.state.containers.remove(container)
    return answer(Deleted(id=container.id, object="container.deleted", deleted=True))


@router.post("/v1/containers/{container_id}/files", openapi_extra=body.documented(FileRequest, answered(ContainerFile)))
async def add_file(request: Request, container_id: str) -> Response:
    """A form with the file, or JSON with the ``file_id`` of an uploaded one."""
    container, session = await _open(request, container_id)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM:
        given = file_of(await form(request))
        name, content = given.filename or "file", await given.read()
    else:
        wanted = await body.read(request, FileRequest)
        state: State = request.app.state.kept
        file = await state.files.get(wanted.file_id, container.owner)
        if file is None:
            raise not_found("file", wanted.file_id)
        name, content = file.filename, await state.files.content(file)
    path = os.path.basename(name)
    await put(session, path, content)
    return answer(_file(container.id, path, len(content), time.time(), "user"))


@router.get("/v1/containers/{container_id}/files", openapi_extra=answered(Page[ContainerFile]))
async def list_files(request: Request, container_id: str) -> Response:
    container, session = await _open(request, container_id)
    return answer(page(request, [file for _, file in await asyncio.to_thread(_files, session.files, container.id)]))


@router.get("/v1/containers/{container_id}/files/{file_id}", openapi_extra=answered(ContainerFile))
async def retrieve_file(request: Request, container_id: str, file_id: str) -> Response:
    return answer((await _find_file(request, container_id, file_id))[2])


@router.get("/v1/containers/{container_id}/files/{file_id}/content", response_class=Download)
async def file_content(request: Request, container_id: str, file_id: str) -> Response:
    session, path, _ = await _find_file(request, container_id, file_id)
    return Download(await asyncio.to_thread(_read, session.files, path))


@router.delete("/v1/containers/{container_id}/files/{file_id}", openapi_extra=answered(Deleted))
async def delete_file(request: Request, container_id: str, file_id: str) -> Response:
    session, path, _ = await _find_file(request, container_id, file_id)
    await asyncio.to_thread(_remove, session.files, path)
    return answer(Deleted(id=file_id, object="container.file.deleted", deleted=True))


async def put(session: Session, path: str, content: bytes) -> None:
    """Write a file into a session's workspace. Raises :class:`ApiError` when it cannot be there."""
    try:
        await asyncio.to_thread(_write, session.files, path, content, session.quota)
    except ToolError as error:
        raise ApiError(
            f"The file cannot be put into the container: {error}", code="invalid_value", param="file"
        ) from error


async def _find(request: Request, container_id: str) -> StoredContainer:
    container = await request.app.state.kept.containers.get(container_id, caller_of(request.scope).name)
    if container is None:
        raise not_found("container", container_id)
    return container


async def _open(request: Request, container_id: str) -> tuple[StoredContainer, Session]:
    return await request.app.state.containers.open(container_id, caller_of(request.scope).name)


async def _find_file(request: Request, container_id: str, file_id: str) -> tuple[Session, str, ContainerFile]:
    """The session, the file's path there, and the file as clients see it."""
    container, session = await _open(request, container_id)
    for path, file in await asyncio.to_thread(_files, session.files, container.id):
        if file["id"] == file_id:
            return session, path, file
    raise not_found("container file", file_id)


def _files(root: Root, container_id: str) -> list[tuple[str, ContainerFile]]:
    """All regular files of a workspace that are not hidden, by their paths, oldest first. Raises :class:`ApiError`."""
    found: list[tuple[str, ContainerFile]] = []
    try:
        for path, entry in walk(root, skip=lambda path, _: path.rpartition("/")[2].startswith(".")):
            with suppress(OSError):  # gone meanwhile
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append((path, _file(container_id, path, status.st_size, status.st_mtime, "assistant")))
            if len(found) == _MOST_FILES:
                break
    except ToolError as error:  # it has just been closed
        raise not_found("container", container_id) from error
    return sorted(found, key=lambda one: (one[1]["created_at"], one[0]))


def _file(container_id: str, path: str, size: int, created: float, source: Source) -> ContainerFile:
    """A file goes by its path, so its id is a digest of it."""
    digest = hashlib.blake2b(f"{container_id}\0{path}".encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return {
        "id": f"cfile_{digest}", "object": "container.file", "created_at": int(created), "bytes": size,
        "container_id": container_id, "path": shown(path), "source": source,
    }  # fmt: skip


def _write(root: Root, path: str, content: bytes, quota: Quota) -> None:
    inner = clean(path)
    if excess := quota.excess(root):
        raise ToolError(excess)
    if quota.bytes is not None and len(content) > quota.bytes:
        raise ToolError(f"it has {len(content)} bytes, and the workspace takes {quota.bytes}.")
    if folder := inner.rpartition("/")[0]:
        make_folders(root, folder)
    with told(path):
        replace(root, inner, content)


def _read(root: Root, path: str) -> bytes:
    try:
        with told(shown(path)):
            fd = root.open(path, os.O_RDONLY)
            try:
                regular(fd, shown(path))
                with os.fdopen(fd, "rb", closefd=False) as file:
                    return file.read()
            finally:
                os.close(fd)
    except ToolError as error:
        raise ApiError(str(error), status=404, code="not_found") from error


def _remove(root: Root, path: str) -> None:
    try:
        with root.parent(path) as (folder, name), root.acting():
            os.unlink(name, dir_fd=folder)
    except (OSError, ToolError) as error:
        raise not_found("container file", shown(path)) from error
