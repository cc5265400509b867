"""Who may talk to the page: whoever opened the link that the command printed, from the page itself, under its own address.

The link's token counts once and becomes a cookie. Host is checked against DNS rebinding, Origin and Sec-Fetch-Site against
other sites (OWASP, Cross-Site Request Forgery Prevention); forms carry a token of the session on top, which `server` checks.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["COOKIE", "Guard"]

COOKIE = "synguard_review"
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # Not no-referrer: browsers would then send "Origin: null" with the page's own forms.
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Lets nothing through to `app` that is not from the session that was opened with the token."""

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._token: str | None = secrets.token_urlsafe(32)
        self._cookie = secrets.token_urlsafe(32)

    @property
    def link(self) -> str:
        """Path and query of the link that opens the session, once."""
        return f"/open?token={self._token}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or refuse it."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] != "http":
            return
        refused = self._refused(Request(scope))
        await (refused or self._app)(scope, receive, with_headers)

    def _refused(self, request: Request) -> Response | None:
        headers = request.headers
        if headers.getlist("host") != [headers.get("host")] or headers["host"] not in self._hosts:
            return _no(421, "another host")
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{host}" for host in self._hosts}:
            return _no(403, "another site")
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _no(403, "another site")
        if request.method not in ("GET", "HEAD") and origin is None:
            return _no(403, "no origin")
        if request.url.path == "/open":
            return self._open(request.method, request.query_params.get("token", ""))
        if not secrets.compare_digest(_cookie(headers).encode(), self._cookie.encode()):
            return _no(403, "no session: open the link that `synguard review` printed, once, or start it again")
        return None

    def _open(self, method: str, token: str) -> Response:
        if method != "GET" or self._token is None or not secrets.compare_digest(token.encode(), self._token.encode()):
            return _no(403, "a link that was used, or another: start `synguard review` again")
        self._token = None
        response = RedirectResponse("/", status_code=303)
        response.set_cookie(COOKIE, self._cookie, httponly=True, samesite="strict", path="/")
        return response


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        found = None
    return "" if found is None else found.value


def _no(status: int, found: str) -> Response:
    return PlainTextResponse(f"refused: {found}\n", status_code=status)
