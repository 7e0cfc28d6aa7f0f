"""The errors of the tools room."""


class ToolError(Exception):
    """Something the model should read: what was wrong and what to do next, in a sentence or two.

    The text never holds a host path.
    """

    def __init__(self, message: str, *, state_lost: bool = False) -> None:
        super().__init__(message)
        self.state_lost = state_lost


class SandboxUnavailable(Exception):
    """No isolation backend works on this machine; the message says what to install or allow."""


class BrowserUnavailable(Exception):
    """The browser tools cannot be set up as configured; the message says why and what to do. For the operator."""


class WorkspaceError(Exception):
    """A workspace cannot be used as asked; the message says why and what to do. For the user, not for the model."""


class TooManySessions(WorkspaceError):
    """This caller has as many sessions as it may have. For the user: close some, or wait until they expire."""


class UnknownSession(LookupError):
    """No such session for this caller: it never existed, is somebody else's, was closed, or expired."""


class RemoteConfigError(ValueError):
    """The configuration of external servers cannot be used; the message says where and what is expected."""
