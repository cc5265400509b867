"""`review`."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.commands import options

__all__ = ["COMMANDS"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--reviewer", required=True, help="Who reads. It is written into the ledger with every verdict.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; any free one unless said.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; another shows private images there."
)
@options.ledger
def review(run: Path, reviewer: str, port: int, host: str, ledger: str | None) -> None:
    """Look at flagged pairs in a browser: is it a copy, the same patient, alike by chance?

    Among them are pairs that measure reading itself. A second reader does not see what the first one said, and pairs on
    which they differ go to a third. Every verdict is in the ledger at once: stop with Ctrl-C whenever you like, and give
    the command again to go on. Afterwards `synguard gate` decides again. No review clears a verified copy.

    \b
    Example:
      synguard review runs/first --reviewer "A. Osei"
    """
    from synguard.runs.reading import open_reading

    reading = open_reading(run, reviewer, host=host, port=port, ledger=ledger)
    if reading.exposed:
        click.echo(f"warning: {host} is not loopback: whoever is on the way there can see private images", err=True)
    reading.serve(lambda link: click.echo(f"open this link, which counts once, in a browser: {link}"))


COMMANDS = (review,)
