"""Text that clients keep for us and cannot read: ``encrypted_content``. It is no secret, only compressed."""

from __future__ import annotations

import base64
import binascii
import zlib

_OURS = "ah1."
_MOST = 4_000_000


def seal(text: str) -> str:
    """``text`` for us to read again."""
    return _OURS + base64.urlsafe_b64encode(zlib.compress(text.encode())).decode()


class Unsealer:
    """Reads all the sealed texts of one request, of which a small one may else stand for any amount of text.

    Args:
        most: bytes of all of them together.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._left = most

    def read(self, content: object) -> str:
        """What :func:`seal` was given; nothing for what others have sealed. Raises ValueError for too much."""
        if not isinstance(content, str) or not content.startswith(_OURS):
            return ""
        try:
            sealed = base64.urlsafe_b64decode(content.removeprefix(_OURS))
            data = zlib.decompressobj().decompress(sealed, self._left + 1)
            text = data.decode()
        except (zlib.error, binascii.Error, UnicodeDecodeError, ValueError):
            return ""
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"the encrypted_content of all items is more than {self._most} bytes of text.")
        return text
