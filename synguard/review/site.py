"""What the pages for readers share: where they listen, forms that only their own session can send, files."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from synguard.errors import InputError
from synguard.review.guard import Guard

__all__ = ["LOOPBACK", "Forms", "Titles", "behind_guard", "bind", "failed", "file_route", "picture_route", "templates"]

_LARGEST_FORM = 20_000
LOOPBACK = "127.0.0.1"
"""Where the page is, unless somebody says otherwise."""


@dataclass(frozen=True, slots=True)
class Titles:
    """What the page is headed with: names that others chose."""

    run: str
    reviewer: str


class Forms:
    """Forms of one session: each carries a token, without which nothing is done."""

    def __init__(self, shown: Callable[[str], Response], *, most_fields: int = 10) -> None:
        """`shown` gives the page again, with what was wrong."""
        self.token = secrets.token_urlsafe(32)
        self._shown, self._most = shown, most_fields

    def posted(self, act: Callable[[Mapping[str, str]], None]) -> Callable[[Request], Awaitable[Response]]:
        """A handler that does `act` with a form's fields and leads back to the page."""

        async def handle(request: Request) -> Response:
            fields = await _form(request, self._most)
            if not secrets.compare_digest(fields.get("csrf", "").encode(), self.token.encode()):
                return PlainTextResponse("refused: a form of another session\n", 403)
            try:
                await run_in_threadpool(act, fields)
            except InputError as error:
                return await run_in_threadpool(self._shown, str(error))
            return RedirectResponse("/", status_code=303)

        return handle


def templates(folder: Path) -> Environment:
    """Templates of a folder: everything is escaped, and a name that a template misspells is an error."""
    return Environment(
        loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def file_route(folder: Path, name: str, kind: str) -> Route:
    """A file of the package under its own name."""
    data = (folder / name).read_bytes()
    return Route(f"/{name}", lambda _: Response(data, media_type=kind), name=name)


def picture_route(find: Callable[[str], bytes | None]) -> Route:
    """Pictures by ids that `find` looks up; none is ever a path."""

    def picture(request: Request) -> Response:
        data = find(request.path_params["picture"])
        return PlainTextResponse("no such picture\n", 404) if data is None else Response(data, media_type="image/png")

    return Route("/picture/{picture}", picture)


def failed(_: Request, error: Exception) -> Response:
    """What is said of a `SynguardError` that no form can be told."""
    return PlainTextResponse(f"synguard: {error}\n", 500)


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


def behind_guard(application: Starlette, names: Sequence[str]) -> tuple[uvicorn.Server, str]:
    """A server that answers to these names, to be run on the socket that `bind` gave, and the link that opens it, once."""
    guard = Guard(application, names)
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


async def _form(request: Request, most: int) -> dict[str, str]:
    """The fields of a form, each once; none of a form that is too long, has more fields, or is of another kind."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return {}
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return {}
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=most)
    except ValueError:
        return {}
    return {name: values[0] for name, values in fields.items() if len(values) == 1}
