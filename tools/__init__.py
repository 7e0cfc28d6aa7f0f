"""The hands of an agent: code, files and a browser, in one workspace per session.

    async with Sessions() as sessions:
        offer = default_tools(probe())
        session = await sessions.create()
        result = await offer.registry.call("python", {"code": "6 * 7"}, ToolContext(session))

This room knows nothing of HTTP or models.
"""

from .browser.browsing import Browsing
from .browser.config import BrowserConfig
from .errors import (
    BrowserUnavailable,
    SandboxUnavailable,
    ToolError,
    TooManySessions,
    UnknownSession,
    WorkspaceError,
)
from .interaction import Progress, Question, Reply
from .offer import Offer, default_tools
from .sandbox.probe import Verdict, probe
from .sandbox.spec import Limits
from .spec import Annotations, FileLink, Media, Registry, Tool, ToolContext, ToolResult, ToolSpec
from .workspace import Session, Sessions

__all__ = [
    "Annotations",
    "BrowserConfig",
    "BrowserUnavailable",
    "Browsing",
    "FileLink",
    "Limits",
    "Media",
    "Offer",
    "Progress",
    "Question",
    "Registry",
    "Reply",
    "SandboxUnavailable",
    "Session",
    "Sessions",
    "TooManySessions",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "ToolSpec",
    "UnknownSession",
    "Verdict",
    "WorkspaceError",
    "default_tools",
    "probe",
]
