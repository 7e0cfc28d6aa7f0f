"""Sessions: whose they are, how long they live, what they leave."""

from __future__ import annotations

import errno
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import anyio
import anyio.from_thread
import pytest
from agenthost.tools import Sessions, ToolContext, ToolError, TooManySessions, UnknownSession, WorkspaceError
from agenthost.tools.files.read import read_text
from agenthost.tools.files.remove import remove_tree
from agenthost.tools.files.write import write_text
from agenthost.tools.sandbox import placement
from agenthost.tools.sandbox.identity import IDENTITIES, IdentityPool, _mapped_uids, acting_as

pytestmark = pytest.mark.anyio
AS_ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not AS_ROOT, reason="only a root server has to choose whom code runs as")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's directory, private to its owner."""
    folder = tmp_path / "project"
    folder.mkdir(mode=0o700)
    (folder / "mine.txt").write_text("mine")
    return folder


@pytest.fixture
def passable() -> Iterator[Path]:
    """An empty directory that session users can reach, which those of `tmp_path` are not."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    folder.rmdir()


async def test_whoever_gives_up_while_a_session_is_made_still_has_it_to_close(sessions, monkeypatch):
    make, made = sessions._create, None

    def made_too_late(*given):
        anyio.from_thread.run_sync(scope.cancel)
        return make(*given)

    monkeypatch.setattr(sessions, "_create", made_too_late)
    with anyio.CancelScope() as scope:
        made = await sessions.create()
    assert made is not None
    await sessions.close(made.id)
    assert len(sessions) == 0


async def test_a_session_is_found_by_its_owner_only(sessions):
    session = await sessions.create(owner="anna")
    assert sessions.get(session.id, "anna") is session
    for session_id, owner in [(session.id, "ben"), (session.id, "local"), ("guess", "anna"), ("", "anna")]:
        with pytest.raises(UnknownSession, match="no such session"):
            sessions.get(session_id, owner)
    assert len(session.id) >= 22  # 128 bits in base64


async def test_a_session_expires_after_its_last_use():
    async with Sessions(ttl=0.0) as sessions:
        session = await sessions.create()
        workspace = session.workspace
        with pytest.raises(UnknownSession):
            sessions.get(session.id)
        assert await sessions.expire() == 1
        assert not workspace.exists()
        assert len(sessions) == 0


async def test_closing_ends_the_interpreter_and_removes_the_workspace(sessions, offer):
    session = await sessions.create()
    result = await offer.registry.call("python", {"code": "import os; open('f', 'w').close()"}, ToolContext(session))
    assert not result.is_error
    await sessions.close(session.id)
    assert not session.workspace.exists()
    assert not session.workspace.parent.exists()
    with pytest.raises(UnknownSession):
        sessions.get(session.id)


async def test_leaving_closes_everything(offer):
    async with Sessions() as sessions:
        opened = [await sessions.create() for _ in range(3)]
        for session in opened:
            await offer.registry.call("python", {"code": "1"}, ToolContext(session))
    assert not any(session.workspace.exists() for session in opened)


async def test_what_still_works_in_a_closed_session_reaches_no_other_ones_workspace(sessions):
    late = await sessions.create()
    await sessions.close(late.id)
    other = await sessions.create()
    (other.workspace / "a.txt").write_text("secret")
    with pytest.raises(ToolError, match="session has ended"):
        read_text(late.files, "a.txt")
    with pytest.raises(ToolError, match="session has ended"):
        write_text(late.files, "b.txt", "forged", late.quota)
    assert os.listdir(other.workspace) == ["a.txt"]


async def test_workspaces_are_private(sessions):
    session = await sessions.create()
    assert session.workspace.stat().st_mode & 0o777 == 0o700
    assert session.id not in str(session.workspace)


async def test_a_users_directory_is_used_in_place_and_stays(sessions, offer, folder):
    session = await sessions.create(directory=folder)
    context = ToolContext(session)
    result = await offer.registry.call(
        "python", {"code": "open('code.txt', 'w').write(open('mine.txt').read())"}, context
    )
    assert not result.is_error, result.text
    await offer.registry.call("write_file", {"path": "made/file.txt", "content": "x"}, context)
    result = await offer.registry.call(
        "python", {"code": "open('made/file.txt', 'a').write('y'); open('mine.txt', 'a').write('!')"}, context
    )
    assert not result.is_error, result.text
    await sessions.close(session.id)
    assert {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.txt")} == {
        "mine.txt": "mine!",
        "code.txt": "mine",
        "made/file.txt": "xy",
    }
    for path in folder.rglob("*"):
        assert path.stat().st_uid == folder.stat().st_uid, path


@only_root
async def test_a_directory_of_another_user_keeps_its_owner(sessions, offer, folder):
    for path in (folder, folder / "mine.txt"):
        os.chown(path, 4321, 4322)
    await test_a_users_directory_is_used_in_place_and_stays(sessions, offer, folder)
    assert (folder / "code.txt").stat().st_gid == 4322


@only_root
async def test_without_mapped_mounts_code_runs_as_the_directorys_owner(sessions, offer, passable, monkeypatch):
    monkeypatch.setattr(placement, "_try_mapping", lambda *_: "not supported")
    os.chown(passable, 4321, 4322)
    session = await sessions.create(directory=passable)
    result = await offer.registry.call("python", {"code": "open('f', 'w').write('x')"}, ToolContext(session))
    assert result.text == "1"
    assert ((passable / "f").stat().st_uid, (passable / "f").stat().st_gid) == (4321, 4322)
    (passable / "f").unlink()


@only_root
async def test_without_mapped_mounts_a_directory_of_roots_is_refused(sessions, folder, monkeypatch):
    monkeypatch.setattr(placement, "_try_mapping", lambda *_: "not supported")
    with pytest.raises(WorkspaceError, match="chown"):
        await sessions.create(directory=folder)
    assert len(sessions) == 0


async def test_directories_that_cannot_be_workspaces(sessions, tmp_path):
    (tmp_path / "file").touch()
    for directory in (tmp_path / "missing", tmp_path / "file", Path("/")):
        with pytest.raises(WorkspaceError):
            await sessions.create(directory=directory)


@pytest.fixture
def root(passable: Path) -> Iterator[Path]:
    """A named directory for workspaces, removed at the end with what is in it."""
    yield passable / "workspaces"
    fd = os.open(passable, os.O_RDONLY)
    remove_tree(fd, "workspaces")
    os.close(fd)


async def test_a_restarted_server_finds_its_sessions_and_their_files(offer, root):
    async with Sessions(root) as sessions:
        hosts = tuple(f"{'long-' * 40}{number}.example" for number in range(100))
        session = await sessions.create(owner="anna", hosts=hosts)
        await offer.registry.call("python", {"code": "x = 1; open('f', 'w').write('kept')"}, ToolContext(session))
        other = await sessions.create(owner="ben")
        await sessions.close(other.id, "ben")
    async with Sessions(root) as sessions:
        assert len(sessions) == 1
        found = sessions.get(session.id, "anna")
        with pytest.raises(UnknownSession):
            sessions.get(session.id, "ben")
        assert (found.created, found.sandbox.user) == (session.created, session.sandbox.user)
        assert found.hosts == hosts
        result = await offer.registry.call(
            "python", {"code": "open('f', 'a').write('!'); open('f').read(), 'x' in globals()"}, ToolContext(found)
        )
        assert result.text.endswith("\n('kept!', False)")
        assert result.state_lost
        await sessions.close(session.id, "anna")
        assert os.listdir(root) == []


async def test_what_expired_or_nobody_knows_is_removed_at_the_next_start(root):
    async with Sessions(root) as sessions:
        for _ in range(2):
            await sessions.create()
    homes = sorted(root.iterdir())
    os.utime(homes[0] / "session.json", (0, 0))
    (homes[1] / "session.json").write_text("{}")
    (root / "mine.txt").touch()
    async with Sessions(root) as sessions:
        assert len(sessions) == 0
    assert os.listdir(root) == ["mine.txt"]


async def test_a_workspace_whose_record_cannot_be_read_for_now_is_kept(root, monkeypatch):
    async with Sessions(root) as sessions:
        session = await sessions.create()

    def fail(*_, **__):
        raise OSError(errno.EIO, "the disk is away")

    with monkeypatch.context() as patch:
        patch.setattr("agenthost.tools.workspace.records.read", fail)
        async with Sessions(root) as sessions:
            assert len(sessions) == 0
    async with Sessions(root) as sessions:
        assert sessions.get(session.id).id == session.id


async def test_a_record_without_a_time_to_live_gets_that_of_all(root):
    async with Sessions(root) as sessions:
        session = await sessions.create(ttl=1e9)
    record = session.workspace.parent / "session.json"
    content = json.loads(record.read_text())
    del content["ttl"]
    record.write_text(json.dumps(content))
    async with Sessions(root, ttl=700.0) as sessions:
        assert sessions.get(session.id).ttl == 700.0


async def test_use_of_a_session_is_noted_for_the_next_server(root):
    async with Sessions(root) as sessions:
        session = await sessions.create()
        os.utime(session.workspace.parent / "session.json", (0, 0))
        session.touch()
    async with Sessions(root) as sessions:
        assert time.time() - sessions.get(session.id).last_used < 100


async def test_users_of_sessions_found_again_are_taken(root):
    async with Sessions(root) as sessions:
        session = await sessions.create()
    async with Sessions(root) as sessions:
        assert session.sandbox.user is None or session.sandbox.user.uid in IDENTITIES._taken


async def test_two_servers_do_not_share_a_root(root):
    async with Sessions(root):
        with pytest.raises(WorkspaceError, match="another server"):
            async with Sessions(root):
                pass


async def test_a_caller_has_so_many_sessions_and_no_more():
    async with Sessions(per_owner=2) as sessions:
        mine = [await sessions.create("anna") for _ in range(2)]
        with pytest.raises(TooManySessions, match="2 open sessions"):
            await sessions.create("anna")
        await sessions.create("ben")
        await sessions.close(mine[0].id, "anna")
        await sessions.create("anna")


async def test_a_root_that_is_missing_is_made(passable):
    root = passable / "new" / "workspaces"
    (passable / "new").mkdir(mode=0o711)
    async with Sessions(root) as sessions:
        session = await sessions.create()
        assert session.workspace.is_relative_to(root)
        await sessions.close(session.id)
    root.rmdir()
    root.parent.rmdir()


async def test_a_root_that_others_may_write_in_is_refused_as_it_is(passable):
    passable.chmod(0o777)
    with pytest.raises(WorkspaceError, match="others may write"):
        async with Sessions(passable):
            pass
    assert passable.stat().st_mode & 0o777 == 0o777


@only_root
async def test_a_root_that_session_users_cannot_reach_is_refused(tmp_path):
    with pytest.raises(WorkspaceError, match="may not pass"):
        async with Sessions(tmp_path / "workspaces"):
            pass
    assert not (tmp_path / "workspaces").exists()


@only_root
def test_acting_as_somebody_ends_with_the_block(passable):
    user = IdentityPool().take()
    passable.chmod(0o777)

    def touch_and_fail() -> None:
        with acting_as(user):
            (passable / "theirs").touch()
            os.close(os.open("/etc/shadow", os.O_RDONLY))

    with pytest.raises(PermissionError):
        touch_and_fail()
    (passable / "ours").touch()
    owners = [path.stat().st_uid for path in sorted(passable.iterdir())]
    for path in passable.iterdir():
        path.unlink()
    assert owners == [0, user.uid]


def test_session_uids_are_distinct_and_never_root():
    pool = IdentityPool()
    taken = [pool.take() for _ in range(500)]
    assert len(set(taken)) == 500
    assert all(user.uid >= 1 for user in taken)
    pool.give_back(taken[0])


@pytest.mark.parametrize(
    ("uid_map", "expected"),
    [
        ("         0          0 4294967295\n", range(300_000, 360_000)),
        ("0 100000 65536\n", range(61438, 65534)),  # a rootless container
        ("0 1000 1\n1 100000 65536\n", range(61438, 65534)),
    ],
)
def test_session_uids_exist_in_this_user_namespace(uid_map, expected):
    assert _mapped_uids(uid_map) == expected
