"""The server refuses whatever does not come from the session that its one link opened, and whatever is not in the queue."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import pytest
from markupsafe import escape

from synguard.errors import InputError
from synguard.governance.ledger import Ledger
from synguard.review import server
from synguard.review.session import Session
from tests.support.page import read
from tests.support.pages import in_thread
from tests.support.reviewed import RUN, reviewed_run

HOSTILE = (
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe\u202c\u2066",
    "n" * 300,
    "{{ 7 * 7 }}</script>",
    "=cmd|' /C calc'!A0",
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Client:
    """A browser without any manners."""

    port: int
    link: str
    cookie: str = ""
    seen: list[Answer] = field(default_factory=list)

    def ask(self, path: str, method: str = "GET", fields: dict[str, str] | None = None, **headers: str | None) -> Answer:
        sent = {"Host": f"127.0.0.1:{self.port}", "Cookie": self.cookie}
        body = None
        if fields is not None:
            method, body = "POST", urlencode(fields)
            sent |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://127.0.0.1:{self.port}"}
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        sent = {name: value for name, value in (sent | given).items() if value}  # type: ignore[assignment]
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent.items():
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body.encode() if body else None)
        response = connection.getresponse()
        answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        connection.close()
        return answer

    def enter(self) -> Client:
        answer = self.ask(self.link)
        assert answer.status == 303
        self.cookie = answer.headers["set-cookie"].partition(";")[0]
        return self

    def form(self) -> dict[str, str]:
        """The hidden fields of the page's verdict."""
        found = re.findall(r'name="(csrf|pair)" value="([^"]*)"', self.ask("/").text)
        return {name: unescape(value) for name, value in found}


def start(run: Path, ledger: Ledger, reviewer: str = "ann", title: str = "tiny") -> Iterator[Client]:
    listening, names = server.bind()
    serving, link = server.server(Session(run, RUN, reviewer, ledger), server.Titles(title, reviewer), names)
    with in_thread(serving, listening) as port:
        yield Client(port, link.removeprefix(f"http://127.0.0.1:{port}"))


@pytest.fixture
def client(run: Path, ledger: Ledger) -> Iterator[Client]:
    yield from start(run, ledger)


def test_a_session_from_link_to_ledger(client: Client, ledger: Ledger):
    form = client.enter().form()
    answer = client.ask("/decide", fields={**form, "verdict": "copy", "reason": "the same disc"})
    assert (answer.status, answer.headers["location"]) == (303, "/")
    (entry,) = ledger.entries("review", RUN)
    assert {key: entry.payload[key] for key in ("run", "reviewer", "verdict", "reason")} == {
        "run": RUN,
        "reviewer": "ann",
        "verdict": "copy",
        "reason": "the same disc",
    }
    assert re.fullmatch("[0-9a-f]{64}", entry.payload["pair"])
    assert client.form()["pair"] != form["pair"]
    client.ask("/undo", fields={"csrf": form["csrf"]})
    assert [e.payload["verdict"] for e in ledger.entries("review", RUN)] == ["copy", "undone"]
    assert client.form() == form, "the pair that was taken back is shown again"
    assert ledger.verify() == ()


def test_no_token(client: Client):
    for path in ("/", "/picture/x", "/review.js", "/review.css", "/open", "/open?token=", "/open?token=x", "/nothing"):
        assert client.ask(path).status == 403
    assert client.ask("/decide", fields={"verdict": "unsure"}).status == 403
    assert client.ask("/", cookie="synguard_review=x").status == 403
    assert client.ask("/", cookie='synguard_review="\\').status == 403


def test_the_token_counts_once(client: Client):
    answer = client.ask(client.link)
    cookie = answer.headers["set-cookie"]
    assert (answer.status, answer.headers["location"]) == (303, "/")
    assert {part.strip().lower() for part in cookie.split(";")[1:]} >= {"httponly", "samesite=strict", "path=/"}
    assert "token" not in answer.text
    assert client.ask(client.link).status == 403
    assert client.ask(client.link.replace("/open", "/open", 1), method="POST", origin=None).status == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:PORT", "[::1]:PORT", None]
)
def test_foreign_hosts(client: Client, host: str | None):
    client.enter()
    named = None if host is None else host.replace("PORT", str(client.port))
    assert client.ask("/", host=named).status in (400, 421)
    assert client.ask("/", host=f"localhost:{client.port}").status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:PORT", "http://127.0.0.1:1", None])
def test_a_post_from_another_site(client: Client, ledger: Ledger, origin: str | None):
    form = client.enter().form()
    named = None if origin is None else origin.replace("PORT", str(client.port))
    assert client.ask("/decide", fields={**form, "verdict": "unsure"}, origin=named).status == 403
    assert client.ask("/undo", fields=form, origin=named).status == 403
    assert ledger.entries("review", RUN) == ()


def test_a_picture_on_another_site(client: Client):
    client.enter()
    assert client.ask("/", sec_fetch_site="cross-site").status == 403
    assert client.ask("/", sec_fetch_site="same-site").status == 403
    assert client.ask("/", sec_fetch_site="same-origin").status == 200


def test_a_form_of_another_session(client: Client, ledger: Ledger):
    form = client.enter().form()
    for csrf in ("", "x", form["csrf"][:-1]):
        assert client.ask("/decide", fields={**form, "csrf": csrf, "verdict": "unsure"}).status == 403
    sent = client.ask("/decide", fields={**form, "verdict": "unsure"}, content_type="text/plain")
    assert sent.status == 403
    assert client.ask("/decide", fields={**form, "verdict": "unsure", "reason": "x" * 30_000}).status == 403
    assert ledger.entries("review", RUN) == ()


PATHS = """/picture/../run.json /picture/..%2frun.json /../run.json //etc/passwd /picture/%2e%2e%2f%2e%2e%2frun.json
/run.json /picture/0001-candidate.png /pairs/0001-candidate.png /templates/review.html /picture/%00 /picture/"""


@pytest.mark.parametrize("path", PATHS.split())
def test_no_address_is_a_path(client: Client, path: str):
    answer = client.enter().ask(path)
    assert answer.status == 404
    assert RUN not in answer.text


def test_a_pair_that_is_not_in_the_queue(client: Client, ledger: Ledger):
    form = client.enter().form()
    for pair in ("x", "", "0" * 64, form["pair"] + "x"):
        assert client.ask("/decide", fields={**form, "pair": pair, "verdict": "unsure"}).status == 422
    assert ledger.entries("review", RUN) == ()
    assert client.ask("/decide", fields={**form, "verdict": "unsure"}).status == 303
    assert client.ask("/decide", fields={**form, "verdict": "copy", "reason": "changed my mind"}).status == 422, "judged"
    assert len(ledger.entries("review", RUN)) == 1


@pytest.mark.parametrize(("verdict", "reason"), [("copy", ""), ("same patient", "  "), ("cleared", "because"), ("", "")])
def test_a_verdict_without_its_reason(client: Client, ledger: Ledger, verdict: str, reason: str):
    form = client.enter().form()
    answer = client.ask("/decide", fields={**form, "verdict": verdict, "reason": reason})
    assert answer.status == 422
    assert 'role="alert">reason' in answer.text or 'role="alert">verdict' in answer.text
    assert ledger.entries("review", RUN) == ()


@pytest.mark.parametrize(("path", "method"), [("/decide", "GET"), ("/undo", "GET"), ("/", "PUT"), ("/", "DELETE")])
def test_other_methods(client: Client, path: str, method: str):
    client.enter()
    assert client.ask(path, method=method, origin=f"http://127.0.0.1:{client.port}").status == 405


def test_every_answer_is_kept_nowhere_and_runs_nothing_foreign(client: Client):
    answers = [client.ask("/"), client.enter().ask("/"), client.ask("/review.js"), client.ask("/picture/x")]
    picture = re.search(r'src="(/picture/[^"]+)"', answers[1].text)
    assert picture is not None
    for answer in [*answers, client.ask(picture[1])]:
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "server" not in answer.headers
        assert "etag" not in answer.headers
    page = read(answers[1].text)
    assert page.faults == []
    assert [s for s in page.all("script") if "src" not in s] == []
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.tags for name in attributes)


def test_no_answer_tells_the_kind_of_a_pair(run: Path, ledger: Ledger):
    """All pages and pictures of a whole session, by kind: apart from random ids and the progress they are the same bytes."""
    session = Session(run, RUN, "ann", ledger)
    kinds = {token: pair.kind for token, pair in session._by_id.items()}
    forms: dict[str, set[str]] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.synguard.review.test_server.Session", lambda *_: session)
        for client in start(run, ledger):
            client.enter()
            while "pair" in (form := client.form()):
                answer = client.ask("/")
                pictures = re.findall(r'src="(/picture/[^"]+)"', answer.text)
                sizes = {client.ask(picture).headers["content-length"] for picture in pictures}
                plain = re.sub(
                    r'/picture/[^"]+|value="[^"]*"|data-(?:following|id)="[^"]*"|\d+ of \d+| disabled', "", answer.text
                )
                names = sorted(set(answer.headers) - {"date"})
                forms.setdefault(kinds[form["pair"]], set()).add(f"{plain} {names} {sorted(sizes)}")
                assert client.ask("/decide", fields={**form, "verdict": "unsure"}).status == 303
    assert set(forms) == {"flagged", "known", "control"}
    assert len(set.union(*forms.values())) == 1


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_inert(tmp_path: Path, ledger: Ledger, name: str):
    run = reviewed_run(tmp_path / "hostile", ledger, name=name)
    for client in start(run, ledger, reviewer=name, title=name):
        text = client.enter().ask("/").text
        form = client.form()
        client.ask("/decide", fields={**form, "verdict": "copy", "reason": name})
        page = read(text)
        assert page.faults == []
        assert name in page.text()
        assert [image for image in page.all("img") if not str(image["src"]).startswith("/picture/")] == []
        assert text.count(f"<bdi>{escape(name)}</bdi>") == 2
    assert ledger.entries("review", RUN)[0].payload["reviewer"] == name


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "example.org", "", "224.0.0.1"])
def test_it_listens_at_one_address(host: str):
    with pytest.raises(InputError, match="--host"):
        server.bind(host)


def test_it_listens_at_loopback_unless_told():
    listening, names = server.bind()
    taken = listening.getsockname()
    listening.listen()
    try:
        assert taken[0] == "127.0.0.1"
        assert names == (f"127.0.0.1:{taken[1]}", f"localhost:{taken[1]}")
        with pytest.raises(InputError, match="--port"):
            server.bind(port=taken[1])
    finally:
        listening.close()
