"""`synguard review`: one reader, one run, one page."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import TYPE_CHECKING, Protocol

from synguard.errors import InputError
from synguard.governance.ledger.place import Where
from synguard.governance.record import RunRecord, read_run
from synguard.review.session import Session
from synguard.runs.decided import book_of

if TYPE_CHECKING:
    from synguard.review.site import Titles

__all__ = ["Reading", "Server", "open_reading", "reading", "require_extra"]


class Server(Protocol):
    """What answers to browsers."""

    def run(self, sockets: list[socket] | None = None) -> None:
        """Until interrupted."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A page that is ready to be served."""

    server: Callable[[Sequence[str]], tuple[Server, str]]
    listening: socket
    names: tuple[str, ...]

    @property
    def exposed(self) -> bool:
        """Whether others than users of this machine can reach it."""
        return not ipaddress.ip_address(self.listening.getsockname()[0]).is_loopback

    def serve(self, say: Callable[[str], None]) -> None:
        """Serve until interrupted; `say` is told the link that opens the page, once."""
        serving, link = self.server(self.names)
        self.listening.listen(64)  # from here on nobody who follows the link is turned away
        say(link)
        serving.run(sockets=[self.listening])


def require_extra() -> None:
    """InputError where what serves pages is not installed."""
    try:
        import synguard.review.site  # noqa: F401 # whether it can be imported is all that is asked
    except ModuleNotFoundError as error:
        raise InputError.of("review", f"no {error.name}", "the extra: pip install 'synguard[review]'") from error


def reading(
    server: Callable[[Titles, Sequence[str]], tuple[Server, str]], record: RunRecord, reviewer: str, *, host: str, port: int
) -> Reading:
    """A page, headed with run and reviewer, at an address of this machine. InputError where name or address will not do."""
    from synguard.review.site import Titles, bind

    titles = Titles(str(record.config.get("name", record.id)), reviewer)
    listening, names = bind(host, port)
    return Reading(lambda answered: server(titles, answered), listening, names)


def open_reading(run: Path, reviewer: str, *, host: str, port: int, ledger: Where = None) -> Reading:
    """The page of a reader on a finished run.

    Raises InputError where the extra is not installed, the run kept no pairs or was purged, or name or address will not
    do, and IntegrityError where run or ledger are not as they were written.
    """
    require_extra()
    from synguard.review.server import server

    book = book_of(run, ledger)
    if not (run / "pairs").is_dir():
        raise InputError.of(run, "no pictures of pairs", "a run that was not purged")
    record = read_run(run)
    session = Session(run, record.id, reviewer, book)
    return reading(lambda titles, names: server(session, titles, names), record, reviewer, host=host, port=port)
