"""`synguard review`: one reader, one run, one page."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from socket import socket

from synguard.errors import InputError
from synguard.governance.ledger.place import Where
from synguard.governance.record import read_run
from synguard.review.session import Session
from synguard.runs.decided import book_of

__all__ = ["Reading", "open_reading"]


@dataclass(frozen=True, slots=True)
class Reading:
    """A page that is ready to be served."""

    session: Session
    run: str
    reviewer: str
    listening: socket
    names: tuple[str, ...]

    @property
    def exposed(self) -> bool:
        """Whether others than users of this machine can reach it."""
        return not ipaddress.ip_address(self.listening.getsockname()[0]).is_loopback

    def serve(self, say: Callable[[str], None]) -> None:
        """Serve until interrupted; `say` is told the link that opens the page, once."""
        from synguard.review.server import Titles, server

        serving, link = server(self.session, Titles(self.run, self.reviewer), self.names)
        self.listening.listen(64)  # from here on nobody who follows the link is turned away
        say(link)
        serving.run(sockets=[self.listening])


def open_reading(run: Path, reviewer: str, *, host: str, port: int, ledger: Where = None) -> Reading:
    """The page of a reader on a finished run.

    Raises InputError where the extra is not installed, the run kept no pairs or was purged, or name or address will not
    do, and IntegrityError where run or ledger are not as they were written.
    """
    try:
        from synguard.review.server import bind
    except ModuleNotFoundError as error:
        raise InputError.of("review", f"no {error.name}", "the extra: pip install 'synguard[review]'") from error
    book = book_of(run, ledger)
    if not (run / "pairs").is_dir():
        raise InputError.of(run, "no pictures of pairs", "a run that was not purged")
    record = read_run(run)
    session = Session(run, record.id, reviewer, book)
    listening, names = bind(host, port)
    return Reading(session, str(record.config.get("name", run.name)), reviewer, listening, names)
