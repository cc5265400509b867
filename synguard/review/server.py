"""The page for pairs: one reader's queue in a browser on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from synguard.errors import SynguardError
from synguard.review.decisions import NEEDS_REASON, VERDICTS
from synguard.review.session import Session
from synguard.review.site import (
    LOOPBACK,
    Forms,
    Titles,
    behind_guard,
    bind,
    failed,
    file_route,
    picture_route,
    templates,
)

__all__ = ["LOOPBACK", "Titles", "application", "bind", "server"]

_FILES = Path(__file__).parent / "templates"


def application(session: Session, titles: Titles) -> Starlette:
    """The page's routes. Ids in addresses are looked up among those of the session; none is ever a path."""
    page = templates(_FILES).get_template("review.html")

    def shown(problem: str = "", after: str = "") -> Response:
        state = session.state(after)
        status = 422 if problem else 200
        words = {"verdicts": VERDICTS, "needs_reason": NEEDS_REASON, "csrf": forms.token, "problem": problem}
        return HTMLResponse(page.render(state=state, titles=titles, **words), status)

    forms = Forms(shown)

    def index(request: Request) -> Response:
        return shown(after=request.query_params.get("after", ""))

    def decide(fields: Mapping[str, str]) -> None:
        session.decide(fields.get("pair", ""), fields.get("verdict", ""), fields.get("reason", ""))

    return Starlette(
        routes=[
            Route("/", index),
            picture_route(session.picture),
            Route("/decide", forms.posted(decide), methods=["POST"]),
            Route("/undo", forms.posted(lambda _: session.undo()), methods=["POST"]),
            file_route(_FILES, "review.css", "text/css"),
            file_route(_FILES, "review.js", "text/javascript"),
            file_route(_FILES, "review.svg", "image/svg+xml"),
        ],
        exception_handlers={SynguardError: failed},
    )


def server(session: Session, titles: Titles, names: Sequence[str]) -> tuple[uvicorn.Server, str]:
    """A server of the page that answers to these names, and the link that opens it, once."""
    return behind_guard(application(session, titles), names)
