"""`runs list|show|ledger-verify|ledger-head`."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import print_json
from synguard.errors import InputError, IntegrityError
from synguard.results import ExitCode

__all__ = ["COMMANDS"]


@click.group()
def runs() -> None:
    """Look at runs, and at the ledger that they are recorded in.

    \b
    Example:
      synguard runs list
    """


@runs.command("list")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@options.ledger
@options.as_json
def runs_list(folder: Path | None, ledger: str | None, as_json: bool) -> None:
    """List runs, oldest first: all that the ledger knows, those that were killed among them, or those in a folder.

    \b
    Example:
      synguard runs list
      synguard runs list runs
    """
    from synguard.governance.ledger import Ledger
    from synguard.runs.listing import list_runs, recorded_runs

    rows = recorded_runs(Ledger.open(ledger, create=False)) if folder is None else list_runs(folder)
    if as_json:
        print_json([row.as_dict() for row in rows])
        return
    for row in rows:
        click.echo(row.line())
    if not rows:
        click.echo(f"no runs {'in the ledger' if folder is None else f'under {folder}'}", err=True)


@runs.command("show")
@click.argument("run")
@options.ledger
@options.as_json
def runs_show(run: str, ledger: str | None, as_json: bool) -> None:
    """Show what the ledger holds about a run, named by its folder or by the beginning of its id.

    \b
    Example:
      synguard runs show runs/first
      synguard runs show 3f2a91
    """
    from synguard.governance.ledger import Ledger
    from synguard.runs.listing import find_run, show_run

    opened = Ledger.open(ledger, create=False)
    shown = show_run(opened, find_run(opened, run))
    if as_json:
        print_json(shown.as_dict())
        return
    for line in shown.lines():
        click.echo(line)


@runs.command("ledger-verify")
@click.option("--head", "heads", multiple=True, type=click.Path(path_type=Path), help="A signed head to hold it against.")
@click.option("--public-key", help="Public key that signed the heads, as base64.")
@click.option("--runs", "folder", type=click.Path(path_type=Path), help="Folder of runs; their heads are held against it.")
@click.option("--printed", multiple=True, metavar="NUMBER:HASH", help="A head as a report prints it.")
@options.ledger
@options.as_json
def ledger_verify(
    heads: tuple[Path, ...],
    public_key: str | None,
    folder: Path | None,
    printed: tuple[str, ...],
    ledger: str | None,
    as_json: bool,
) -> None:
    """Look for records that were altered, dropped, reordered or cut off. Ends with 30 where there are any.

    The ledger is held against itself, against the furthest head that you have seen of it, and against the heads given here.

    \b
    Example:
      synguard runs ledger-verify
      synguard runs ledger-verify --runs runs --head board.head.json --public-key "$(cat board.pub)"
    """
    from synguard.governance.ledger import Ledger
    from synguard.governance.ledger.heads import heads_of_runs, printed_head, signed_head

    if heads and public_key is None:
        raise InputError.of("--public-key", "nothing", "the public key that the heads are signed with")
    known = [printed_head(head) for head in printed]
    known += [signed_head(path, public_key or "") for path in heads]
    known += [] if folder is None else heads_of_runs(folder)
    opened = Ledger.open(ledger, create=False, check=False)
    faults = opened.verify(known)
    if as_json:
        head = None if faults else opened.head().as_dict()
        print_json({"ledger": str(opened.place), "head": head, "faults": [fault.as_dict() for fault in faults]})
    elif faults:
        for fault in faults:
            click.echo(f"{opened.place}: {fault}")
    else:
        held = f", held against {len(known)} heads" if known else ""
        click.echo(f"{opened.place}: as it was written, up to {opened.head()}{held}")
    if faults:
        raise click.exceptions.Exit(ExitCode.INTEGRITY)


@runs.command("ledger-head")
@click.option("--sign", "key", help="Key of a second party, to sign the head with: a file or a pkcs11: URI.")
@click.option("--out", type=click.Path(path_type=Path), help="New file for the signed head; by default it is printed.")
@options.passphrase_file
@options.ledger
@options.as_json
def ledger_head(key: str | None, out: Path | None, passphrase_file: Path | None, ledger: str | None, as_json: bool) -> None:
    """Print how far the ledger has come; with --sign, as a statement that a second party keeps.

    Nothing is signed that `runs ledger-verify` would object to.

    \b
    Example:
      synguard runs ledger-head
      synguard runs ledger-head --sign board.key --out board.head.json
    """
    from synguard.governance import envelope
    from synguard.governance.files import write_private
    from synguard.governance.keys.reference import open_key
    from synguard.governance.ledger import Ledger
    from synguard.governance.ledger.heads import head_statement

    opened = Ledger.open(ledger, create=False)
    if key is None:
        if as_json:
            print_json(opened.head().as_dict())
        else:
            click.echo(opened.head())
        return
    if out is not None and out.exists():
        raise InputError.of(out, "a file that exists already", "a new file for the signed head")
    if faults := opened.verify():
        raise IntegrityError(f"{opened.place}: found {faults[0]}, expected a ledger as it was written; nothing was signed")
    signed = envelope.sign(head_statement(opened.head()), open_key(key, options.secret(passphrase_file, key)))
    if out is None:
        click.echo(signed.decode(), nl=False)
    else:
        write_private(out, signed)
        click.echo(f"signed head: {out}")


COMMANDS = (runs,)
