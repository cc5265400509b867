"""`keys init|show|trust|revoke|people`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synguard.commands import options
from synguard.errors import InputError

if TYPE_CHECKING:
    from synguard.governance.keys.trust import Grant

__all__ = ["COMMANDS"]

KEY = click.argument("key")
TRUST = click.argument("trust_file", type=click.Path(path_type=Path))
ROOT_KEY = click.option("--root-key", required=True, help="The key that signs the trust file: a file or a pkcs11: URI.")
DAY = click.DateTime(["%Y-%m-%d"])


@click.group()
def keys() -> None:
    """Keys, and the signed trust file that says whose they are.

    \b
    Example:
      synguard keys init osei.key
    """


@keys.command()
@KEY
@options.passphrase_file
def init(key: str, passphrase_file: Path | None) -> None:
    """Make a key: an encrypted Ed25519 file, its public half beside it; or ECDSA P-256 in a token, named by a pkcs11: URI.

    \b
    Example:
      synguard keys init osei.key
      synguard keys init 'pkcs11:token=board;object=osei?module-path=/usr/lib/softhsm/libsofthsm2.so'
    """
    from synguard.governance.keys.reference import create_key

    made = create_key(key, options.secret(passphrase_file, key, new=True))
    _print(made.public)


@keys.command()
@KEY
@options.passphrase_file
def show(key: str, passphrase_file: Path | None) -> None:
    """Print the public half of a key and its id.

    \b
    Example:
      synguard keys show osei.key
    """
    from synguard.governance.keys.reference import open_key

    _print(open_key(key, options.secret(passphrase_file, key)).public)


@keys.command()
@TRUST
@click.option("--person", required=True, help="Who has the key, in lower case: a.osei")
@click.option("--role", "roles", required=True, multiple=True, help="A role that they have from now on. May be repeated.")
@click.option("--public", required=True, help="The person's public key, or the file that holds it: osei.key.pub")
@click.option("--from", "first", type=DAY, help="First day on which the key may sign; by default today.")
@click.option("--until", "last", type=DAY, help="Last day on which the key may sign; by default a year from the first.")
@ROOT_KEY
@options.passphrase_file
def trust(
    trust_file: Path,
    person: str,
    roles: tuple[str, ...],
    public: str,
    first: datetime | None,
    last: datetime | None,
    root_key: str,
    passphrase_file: Path | None,
) -> None:
    """Say whose a key is, and in which roles its owner may sign. The file is made where there is none.

    Given again, it sets roles and days anew: somebody who leaves gets an earlier last day, and what was signed before stays.
    `operator` is the role of who runs the generator, `publisher` of who signs a release; the others are named by the policy.

    \b
    Example:
      synguard keys trust trust.json --person a.osei --role privacy-officer --public osei.key.pub --root-key root.key
    """
    from synguard.governance.keys.reference import open_key
    from synguard.governance.keys.trust import Grant, Trust, grant, read_trust, write_trust

    begins = first.date() if first else datetime.now(UTC).date()
    ends = last.date() if last else begins + timedelta(days=365)
    root = open_key(root_key, options.secret(passphrase_file, root_key))
    before = read_trust(trust_file) if trust_file.exists() else Trust(root.public, 0, ())
    after = grant(before, person, roles, Grant(_public(public), begins, ends))
    write_trust(trust_file, after, root)
    click.echo(f"{trust_file}: number {after.serial}; {person} as {', '.join(sorted(set(roles)))}, {begins} to {ends}")


@keys.command("revoke")
@TRUST
@click.option("--key", "revoked", required=True, help="Id of the key, or its first 16 characters.")
@click.option("--reason", required=True, help="Why, in 10 characters or more. Everybody who gets the trust file reads it.")
@ROOT_KEY
@options.passphrase_file
def revoke_key(trust_file: Path, revoked: str, reason: str, root_key: str, passphrase_file: Path | None) -> None:
    """Revoke a key for good: nothing that it signed counts any more, whatever day it was signed on.

    \b
    Example:
      synguard keys revoke trust.json --key 4f2a9c0e77b1d3a5 --reason "laptop was stolen" --root-key root.key
    """
    from synguard.governance.keys.reference import open_key
    from synguard.governance.keys.trust import Revocation, read_trust, revoke, write_trust

    root = open_key(root_key, options.secret(passphrase_file, root_key))
    after = revoke(read_trust(trust_file), revoked, Revocation(datetime.now(UTC).date(), reason))
    write_trust(trust_file, after, root)
    click.echo(f"{trust_file}: number {after.serial}; key {revoked[:16]} is revoked")


@keys.command()
@TRUST
def people(trust_file: Path) -> None:
    """List who may sign, in which roles, with which keys.

    \b
    Example:
      synguard keys people trust.json
    """
    from synguard.governance.keys.public import key_id, scheme
    from synguard.governance.keys.trust import read_trust

    found = read_trust(trust_file)
    click.echo(f"number {found.serial}, signed by root key {key_id(found.root)}")
    for person in found.people:
        click.echo(f"{person.name}: {', '.join(person.roles)}")
        for held in person.keys:
            click.echo(f"  {key_id(held.public)[:16]}  {scheme(held.public):11}  {_days(held)}")


def _days(held: Grant) -> str:
    if held.revoked is not None:
        return f"REVOKED on {held.revoked.on}: {held.revoked.reason}"
    expired = " (expired)" if held.last < date.today() else ""
    return f"{held.first} to {held.last}{expired}"


def _public(named: str) -> str:
    from synguard.governance.keys.public import key_id

    path = Path(named)
    try:
        text = path.read_text().strip() if path.is_file() else named
    except (OSError, ValueError) as error:
        raise InputError.of(path, "no file that can be read as text", "a public key") from error
    try:
        key_id(text)
    except Exception as error:
        raise InputError.of("--public", f"no public key in {named!r}", "a .pub file of `synguard keys init`") from error
    return text


def _print(public: str) -> None:
    from synguard.governance.keys.public import key_id, scheme

    click.echo(f"public: {public}")
    click.echo(f"id:     {key_id(public)} ({scheme(public)})")


COMMANDS = (keys,)
