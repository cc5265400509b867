"""The page for a study: one reader's images in a browser on this machine, one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from synguard.errors import SynguardError
from synguard.review.site import Forms, Titles, behind_guard, failed, file_route, picture_route, templates
from synguard.review.study.answers import SIDES
from synguard.review.study.session import StudySession

__all__ = ["application", "server"]

_FILES = Path(__file__).parent / "templates"
_SHARED = Path(__file__).parents[1] / "templates"
_GRADES = ((1, "guessing"), (2, "rather unsure"), (3, "fairly sure"), (4, "sure"), (5, "certain"))
_YES_AND_NO: Mapping[tuple[str, ...], tuple[str, ...]] = {("0", "1"): ("no", "yes")}
"""What is shown for the levels of conditions that are there or not."""


def application(session: StudySession, titles: Titles) -> Starlette:
    """The page's routes. Fields of conditions are numbered: no name of a condition becomes a name of a field."""
    page = templates(_FILES).get_template("study.html")
    fields_of = {f"condition-{number}": condition.name for number, condition in enumerate(session.conditions)}
    asked = [
        (field, one.name, tuple(zip(one.levels, _YES_AND_NO.get(one.levels, one.levels), strict=True)))
        for field, one in zip(fields_of, session.conditions, strict=True)
    ]
    words = {"sides": SIDES, "grades": _GRADES, "conditions": asked, "titles": titles}

    def shown(problem: str = "") -> Response:
        state = session.state()
        return HTMLResponse(page.render(state=state, csrf=forms.token, problem=problem, **words), 422 if problem else 200)

    forms = Forms(shown, most_fields=len(asked) + 10)

    def index(_: Request) -> Response:
        return shown()

    def answer(fields: Mapping[str, str]) -> None:
        seen = {name: fields.get(field, "") for field, name in fields_of.items()}
        session.answer(fields.get("image", ""), fields.get("answer", ""), fields.get("confidence", ""), seen)

    return Starlette(
        routes=[
            Route("/", index),
            picture_route(session.picture),
            Route("/answer", forms.posted(answer), methods=["POST"]),
            Route("/undo", forms.posted(lambda _: session.undo()), methods=["POST"]),
            file_route(_SHARED, "review.css", "text/css"),
            file_route(_SHARED, "review.svg", "image/svg+xml"),
            file_route(_FILES, "study.css", "text/css"),
            file_route(_FILES, "study.js", "text/javascript"),
        ],
        exception_handlers={SynguardError: failed},
    )


def server(session: StudySession, titles: Titles, names: Sequence[str]) -> tuple[uvicorn.Server, str]:
    """A server of the page that answers to these names, and the link that opens it, once."""
    return behind_guard(application(session, titles), names)
