"""The page of a study behind the same guard as that for pairs; hostile names are inert in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from markupsafe import escape

from synguard.governance.ledger import Ledger
from synguard.review import site
from synguard.review.study import page
from synguard.review.study.answers import KIND
from synguard.review.study.plan import Terms
from synguard.review.study.session import StudySession
from synguard.runs.study import Study, open_study
from tests.support.page import read
from tests.support.pages import in_thread
from tests.support.studied import HOSTILE, RUN, studied_run
from tests.synguard.review.test_server import Client

ANSWER = {"answer": "real", "confidence": "3", "condition-0": "mild", "condition-1": ""}


def start(study: Study, reviewer: str = "ann", title: str = "tiny") -> Iterator[Client]:
    listening, names = site.bind()
    session = StudySession(study.run, study.plan(), reviewer, study.book)
    serving, link = page.server(session, site.Titles(title, reviewer), names)
    with in_thread(serving, listening) as port:
        yield Client(port, link.removeprefix(f"http://127.0.0.1:{port}"))


@pytest.fixture
def client(study: Study) -> Iterator[Client]:
    study.fix(Terms(6, 1, 0.2))
    yield from start(study)


def form(client: Client) -> dict[str, str]:
    found = re.findall(r'name="(csrf|image)" value="([^"]*)"', client.ask("/").text)
    return {name: unescape(value) for name, value in found}


def test_from_link_to_ledger_without_script(client: Client, ledger: Ledger):
    fields = form(client.enter())
    answer = client.ask("/answer", fields={**fields, **ANSWER})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    (entry,) = ledger.entries(KIND, RUN)
    assert (entry.payload["answer"], entry.payload["confidence"], entry.payload["seen"]) == ("real", 3, {"grade": "mild"})
    assert form(client)["image"] != fields["image"]
    assert client.ask("/undo", fields={"csrf": fields["csrf"]}).status == 303
    assert form(client) == fields


def test_nothing_without_the_session_or_from_elsewhere(client: Client, ledger: Ledger):
    for path in ("/", "/picture/x", "/study.js", "/study.css", "/review.css"):
        assert client.ask(path).status == 403
    fields = {**form(client.enter()), **ANSWER}
    assert client.ask("/answer", fields=fields, origin="http://evil.example").status == 403
    assert client.ask("/answer", fields=fields, host="evil.example").status == 421
    assert client.ask("/answer", fields={**fields, "csrf": "x"}).status == 403
    assert client.ask("/answer", fields={**fields, **{f"more-{i}": "" for i in range(20)}}).status == 403
    assert client.ask("/answer", method="GET").status == 405
    assert client.ask("/picture/../plan.json").status == 404
    assert ledger.entries(KIND, RUN) == ()


@pytest.mark.parametrize(
    "change", [{"answer": ""}, {"answer": "fake"}, {"confidence": "9"}, {"condition-0": "worst"}, {"image": "x"}]
)
def test_what_is_no_answer_is_said_and_not_recorded(client: Client, ledger: Ledger, change: dict[str, str]):
    fields = form(client.enter())
    answer = client.ask("/answer", fields={**fields, **ANSWER, **change})
    assert answer.status == 422
    assert re.search(r'role="alert">[^<]+found', answer.text)
    assert ledger.entries(KIND, RUN) == ()


def test_no_page_tells_the_side_of_its_image(study: Study, client: Client):
    """All pages, pictures and headers of a whole session: apart from names and progress they are the same for both sides."""
    items = study.plan().for_reader("ann")
    client.enter()
    forms: dict[bool, set[str]] = {True: set(), False: set()}
    while "image" in (fields := form(client)):
        answer, picture = client.ask("/"), client.ask(f"/picture/{fields['image']}")
        plain = re.sub(r'[0-9a-f]{24}|value="\d+"|\d+ of \d+| disabled', "", answer.text)
        headers = sorted((k, v) for k, v in picture.headers.items() if k != "date")
        forms[items[fields["image"]].real].add(f"{plain} {headers}")
        assert client.ask("/answer", fields={**fields, **ANSWER}).status == 303
    assert len(forms[True]) == 1
    assert forms[True] == forms[False]
    assert "You have answered on all images" in client.ask("/").text


@pytest.mark.parametrize("name", [HOSTILE, "{{ 7 * 7 }}</script>", "=cmd|' /C calc'!A0", "n" * 300])
def test_hostile_names_are_inert(tmp_path: Path, ledger: Ledger, name: str):
    study = open_study(studied_run(tmp_path / "world", ledger, attribute=name, levels=(name, f"{name}2")), ledger.place)
    study.fix(Terms(6, 1, 0.2))
    for client in start(study, reviewer=name, title=name):
        text = client.enter().ask("/").text
        found = read(text)
        assert found.faults == []
        assert [image for image in found.all("img") if not str(image["src"]).startswith("/picture/")] == []
        assert text.count(f"<bdi>{escape(name)}</bdi>") == 3
        assert {o["value"] for o in found.all("option")} == {"", name, f"{name}2", "0", "1"}
        assert not any(a.startswith("on") or a == "style" for _, attributes in found.tags for a in attributes)
        assert [s for s in found.all("script") if "src" not in s] == []
        assert client.ask("/answer", fields={**form(client), **ANSWER, "condition-0": f"{name}2"}).status == 303
    entry = ledger.entries(KIND, RUN)[0]
    assert (entry.payload["reviewer"], entry.payload["seen"]) == (name, {name: f"{name}2"})
