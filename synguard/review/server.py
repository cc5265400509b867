"""The page: one reader's queue in a browser on this machine."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from synguard.errors import InputError, SynguardError
from synguard.review.decisions import NEEDS_REASON, VERDICTS
from synguard.review.guard import Guard
from synguard.review.session import Session

__all__ = ["LOOPBACK", "Titles", "application", "bind", "server"]

_FILES = Path(__file__).parent / "templates"
_LARGEST_FORM = 20_000
LOOPBACK = "127.0.0.1"
"""Where the page is, unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class Titles:
    """What the page is headed with: names that others chose."""

    run: str
    reviewer: str


def application(session: Session, titles: Titles) -> Starlette:
    """The page's routes. Ids in addresses are looked up among those of the session; none is ever a path."""
    templates = Environment(
        loader=FileSystemLoader(_FILES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    page, csrf = templates.get_template("review.html"), secrets.token_urlsafe(32)

    def shown(problem: str = "", after: str = "") -> Response:
        state = session.state(after)
        status = 422 if problem else 200
        words = {"verdicts": VERDICTS, "needs_reason": NEEDS_REASON, "csrf": csrf, "problem": problem}
        return HTMLResponse(page.render(state=state, titles=titles, **words), status)

    def posted(act: Callable[[dict[str, str]], None]) -> Callable[[Request], Awaitable[Response]]:
        async def handle(request: Request) -> Response:
            fields = await _form(request)
            if not secrets.compare_digest(fields.get("csrf", "").encode(), csrf.encode()):
                return PlainTextResponse("refused: a form of another session\n", 403)
            try:
                await run_in_threadpool(act, fields)
            except InputError as error:
                return await run_in_threadpool(shown, str(error))
            return RedirectResponse("/", status_code=303)

        return handle

    def index(request: Request) -> Response:
        return shown(after=request.query_params.get("after", ""))

    def picture(request: Request) -> Response:
        data = session.picture(request.path_params["picture"])
        return PlainTextResponse("no such picture\n", 404) if data is None else Response(data, media_type="image/png")

    def decide(fields: dict[str, str]) -> None:
        session.decide(fields.get("pair", ""), fields.get("verdict", ""), fields.get("reason", ""))

    def failed(_: Request, error: Exception) -> Response:
        return PlainTextResponse(f"synguard: {error}\n", 500)

    return Starlette(
        routes=[
            Route("/", index),
            Route("/picture/{picture}", picture),
            Route("/decide", posted(decide), methods=["POST"]),
            Route("/undo", posted(lambda _: session.undo()), methods=["POST"]),
            _file("review.css", "text/css"),
            _file("review.js", "text/javascript"),
            _file("review.svg", "image/svg+xml"),
        ],
        exception_handlers={SynguardError: failed},
    )


def bind(host: str = LOOPBACK, port: int = 0) -> tuple[socket.socket, tuple[str, ...]]:
    """A socket that listens at one address, and the names it goes by. InputError for an address that is none, or all."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError as error:
        raise InputError.of("--host", repr(host), "an IP address of this machine") from error
    if address.is_unspecified or address.is_multicast:
        raise InputError.of("--host", host, "one address of this machine, not all: the page would answer to any name")
    listening = socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((str(address), port))
    except OSError as error:
        listening.close()
        raise InputError.of("--port", f"{host} port {port} ({error.strerror})", "a free one (0 takes any)") from error
    place = listening.getsockname()[1]
    names = [f"[{address}]" if address.version == 6 else str(address), *(["localhost"] if address.is_loopback else [])]
    return listening, tuple(f"{name}:{place}" for name in names)


def server(session: Session, titles: Titles, names: Sequence[str]) -> tuple[uvicorn.Server, str]:
    """A server that answers to these names, to be run on the socket that `bind` gave, and the link that opens it, once."""
    guard = Guard(application(session, titles), names)
    settings = uvicorn.Config(
        guard,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="error",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=2,
    )
    return uvicorn.Server(settings), f"http://{names[0]}{guard.link}"


def _file(name: str, kind: str) -> Route:
    data = (_FILES / name).read_bytes()
    return Route(f"/{name}", lambda _: Response(data, media_type=kind), name=name)


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form, each once; none of a form that is too long or of another kind."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return {}
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return {}
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=10)
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
