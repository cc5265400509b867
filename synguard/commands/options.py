"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.errors import InputError
from synguard.governance.files import read_secret

__all__ = ["as_json", "fail_on_warn", "key_file", "ledger", "out", "passphrase_file", "quiet", "secret", "trust"]

out = click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the run.")
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
fail_on_warn = click.option("--fail-on-warn", is_flag=True, help="End with 10 where a passing release has warnings.")
ledger = click.option(
    "--ledger",
    metavar="FILE|URL",
    help="The ledger: a file, or postgresql://USER@HOST/DATABASE. By default SYNGUARD_LEDGER, else a file of your own.",
)
trust = click.option(
    "--trust", type=click.Path(path_type=Path), required=True, help="Trust file: who may sign, in which role."
)
passphrase_file = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="File whose first line is the passphrase of the key, or the PIN of the token; asked for otherwise.",
)
key_file = click.option("--key-file", type=click.Path(path_type=Path), help="Key that the index is encrypted under.")


def secret(file: Path | None, key: str, *, new: bool = False) -> str:
    """The passphrase or PIN of a key: the first line of a file that is its owner's alone, or what the user types."""
    if file is None:
        return str(click.prompt(f"Passphrase or PIN of {key}", hide_input=True, confirmation_prompt=new, err=True))
    found = read_secret(file, "a passphrase", "a file with the passphrase on its first line", pipe=True)
    try:
        return found.partition(b"\n")[0].decode().rstrip("\r")
    except ValueError as error:
        raise InputError.of(file, "bytes that are no text", "the passphrase on its first line") from error
