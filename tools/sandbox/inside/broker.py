"""Changes modes, owners, times and attributes of files for a session, in the session's own folders and nowhere else.

No Landlock rule is about these, so where other files belong to the same user the filter lets no such call through: each
waits for the keeper (seccomp_unotify(2)), which finds the file itself, looks where it is, and changes that very file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from . import kernel

_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, thread, flags; number, architecture, instruction, arguments
_ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_AT_FDCWD, _AT_SYMLINK_NOFOLLOW, _AT_EMPTY_PATH = -100, 0x100, 0x1000
_LONGEST_PATH, _LONGEST_NAME, _LARGEST_ATTRIBUTE = 4096, 256, 1 << 16
_FLAGS = {"fchmodat2": 3, "fchownat": 4, "utimensat": 3}  # which argument
_BENEATH = ("fchmodat", "fchmodat2", "fchownat", "futimesat", "utimensat")
_OPENED = ("fchmod", "fchown", "fsetxattr", "fremovexattr")
_OPENED_BY_NULL = ("futimesat", "utimensat")  # or beneath
_SELF = b"/proc/self/"

Change = Callable[[str], None]


class Broker:
    """
    Args:
        listener: where the calls come, as of `kernel.filter_and_listen`.
        names: of the calls, by number.
        folders: paths of the session's own directories.
    """

    def __init__(self, listener: int, names: Mapping[int, str], folders: Sequence[str]) -> None:
        self.listener = listener
        self.names = names
        self.folders = [os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for folder in folders]

    def answer(self) -> None:
        """One call that waits."""
        notification = bytearray(_NOTIFICATION.size)
        try:
            fcntl.ioctl(self.listener, _RECEIVE, notification)
        except OSError:  # it was killed meanwhile
            return
        number, thread, _, call, _, _, *arguments = _NOTIFICATION.unpack(notification)
        try:
            self.obey(number, Call(self.names[call], thread, arguments))
            error = 0
        except OSError as refusal:
            error = refusal.errno or errno.EPERM
        except (ValueError, OverflowError, struct.error):
            error = errno.EINVAL
        try:
            fcntl.ioctl(self.listener, _SEND, _ANSWER.pack(number, 0, -error, 0))
        except OSError:
            return

    def obey(self, number: int, call: Call) -> None:
        with call.target() as file:
            change = call.change()
            fcntl.ioctl(self.listener, _IS_VALID, struct.pack("=Q", number))  # all this was of the caller's
            if not self.owns(file):
                raise _error(errno.EPERM)
            change(f"/proc/self/fd/{file}")

    def owns(self, file: int) -> bool:
        path = _path(file)
        return any(path == folder or path.startswith(folder + b"/") for folder in map(_path, self.folders))


class Call:
    """What a thread asks for. Each method raises OSError as the call would.

    Args:
        arguments: six words.
    """

    def __init__(self, name: str, thread: int, arguments: Sequence[int]) -> None:
        self.name = name
        self.thread = thread
        self.flags = arguments[_FLAGS[name]] if name in _FLAGS else 0
        if name in _BENEATH:
            (folder, self.path), self.rest = arguments[:2], arguments[2:]
        elif name in _OPENED:
            folder, self.path, self.rest = arguments[0], 0, arguments[1:]
        else:
            folder, self.path, self.rest = _AT_FDCWD, arguments[0], arguments[1:]
        self.folder = _signed(folder)

    @contextmanager
    def target(self) -> Iterator[int]:
        """A descriptor of the file, which says where it is and opens nothing."""
        path = self.where()
        start = "cwd" if self.folder == _AT_FDCWD else f"fd/{self.folder}"
        flags = os.O_PATH | os.O_CLOEXEC
        follow = not self.name.startswith("l") and not self.flags & _AT_SYMLINK_NOFOLLOW
        try:
            file = os.open(f"/proc/{self.thread}/{start}", flags)
        except FileNotFoundError:
            raise _error(errno.EBADF) from None
        try:
            if path:
                file, folder = os.open(path, flags if follow else flags | os.O_NOFOLLOW, dir_fd=file), file
                os.close(folder)
            yield file
        finally:
            os.close(file)

    def where(self) -> bytes:
        """The path; empty for what is open already."""
        if self.name in _OPENED or (self.name in _OPENED_BY_NULL and not self.path):
            return b""
        path = self.text(self.path, _LONGEST_PATH)
        if not path and not self.flags & _AT_EMPTY_PATH:
            raise _error(errno.ENOENT)
        return f"/proc/{self.thread}/".encode() + path.removeprefix(_SELF) if path.startswith(_SELF) else path

    def change(self) -> Change:
        """What to do to the file, by its path."""
        rest = self.rest
        match self.name:
            case "chmod" | "fchmod" | "fchmodat" | "fchmodat2":
                return lambda path: os.chmod(path, rest[0] & 0o1777)
            case "chown" | "lchown" | "fchown" | "fchownat":
                return lambda path: os.chown(path, _signed(rest[0]), _signed(rest[1]))
            case "setxattr" | "lsetxattr" | "fsetxattr":
                if rest[2] > _LARGEST_ATTRIBUTE:
                    raise _error(errno.E2BIG)
                name, value = self.text(rest[0], _LONGEST_NAME), self.memory(rest[1], rest[2])
                return lambda path: os.setxattr(path, name, value, rest[3] & 3)
            case "removexattr" | "lremovexattr" | "fremovexattr":
                name = self.text(rest[0], _LONGEST_NAME)
                return lambda path: os.removexattr(path, name)
            case _:
                times = self.times(rest[0])
                return lambda path: kernel.set_times(path, times)

    def times(self, address: int) -> bytes | None:
        """As two ``struct timespec``; None for now."""
        if not address:
            return None
        if self.name == "utimensat":
            return self.memory(address, 32)
        if self.name == "utime":
            accessed, modified = struct.unpack("=2q", self.memory(address, 16))
            return struct.pack("=4q", accessed, 0, modified, 0)
        accessed, parts, modified, more = struct.unpack("=4q", self.memory(address, 32))
        return struct.pack("=4q", accessed, 1000 * parts, modified, 1000 * more)

    def text(self, address: int, longest: int) -> bytes:
        text, end, _ = self.memory(address, longest, short=True).partition(b"\0")
        if not end:
            raise _error(errno.ENAMETOOLONG)
        return text

    def memory(self, address: int, size: int, *, short: bool = False) -> bytes:
        """Of the thread's process. ``short``: less is enough, where the rest is not there."""
        memory = os.open(f"/proc/{self.thread}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.pread(memory, size, address)
        except (OSError, OverflowError):
            raise _error(errno.EFAULT) from None
        finally:
            os.close(memory)
        if len(found) < size and not short:
            raise _error(errno.EFAULT)
        return found


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


def _path(file: int) -> bytes:
    return os.readlink(f"/proc/self/fd/{file}".encode())


def _signed(word: int) -> int:
    """The low half of a word, as an int."""
    return struct.unpack("=i", struct.pack("=I", word & 0xFFFFFFFF))[0]
