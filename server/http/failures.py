"""Answers for what nobody foresaw, so that they look like all others and the connection goes on behind them."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..openai.errors import from_exception


class Failures:
    """ASGI middleware, inside of those that give every answer its headers.

    An answer that has begun cannot become another one: the server cuts its connection, which tells the client that the
    rest is missing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except Exception as error:
            problem = from_exception(error)
            if not begun:
                await problem.response(scope["path"])(scope, receive, send)
