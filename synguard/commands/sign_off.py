"""`sign-off`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from synguard.commands import options

__all__ = ["COMMANDS"]


@click.command("sign-off")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--role", required=True, help="Your role: one that the policy asks for, or operator if you ran the generator.")
@click.option("--key", required=True, help="Your key: a file of `synguard keys init`, or a pkcs11: URI.")
@options.trust
@click.option("--refuse", is_flag=True, help="Sign a No. Needs a reason; no release is made while it stands.")
@click.option("--reason", default="", help="Why. Published with an approval, so write nothing private into one.")
@click.option("--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Days that it counts for.")
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@options.passphrase_file
@options.ledger
def sign_off(
    run: Path,
    role: str,
    key: str,
    trust: Path,
    refuse: bool,
    reason: str,
    days: int,
    yes: bool,
    passphrase_file: Path | None,
    ledger: str | None,
) -> None:
    """Show what is to be signed, then sign it: images, labels, results, policy and public report, by their digests.

    The signature counts until any of them changes, your key or role ends, a waiver runs out, or its days are over.

    \b
    Example:
      synguard sign-off runs/first --role privacy-officer --key osei.key --trust trust.json
      synguard sign-off runs/first --role governance-board --key ruiz.key --trust trust.json \\
        --refuse --reason "eleven grades are wrong"
    """
    from synguard.governance.keys.reference import open_key
    from synguard.governance.keys.trust import read_trust
    from synguard.governance.ledger import Ledger
    from synguard.governance.ledger.heads import head_of_run
    from synguard.governance.sign_off import sign_off as sign
    from synguard.governance.sign_off import signable, standing_of

    known = read_trust(trust)
    found = signable(run)
    book = Ledger.open_whole(ledger, [head_of_run(run)])
    for line in found.lines():
        click.echo(line, err=True)
    click.echo(f"you sign as {role}: {_meaning(role, refuse)}", err=True)
    if not yes:
        click.confirm("Sign?", abort=True, err=True)
    opened = open_key(key, options.secret(passphrase_file, key))
    now = datetime.now(UTC)
    verdict = "refuse" if refuse else "approve"
    made = sign(found, known, opened, role=role, verdict=verdict, reason=reason, now=now, days=days, book=book)  # type: ignore[arg-type]
    click.echo(f"signed: {run / 'attestations' / made.file}")
    for line in standing_of(found, known, now.date(), book).missing:
        click.echo(f"  still missing: {line}")


def _meaning(role: str, refuse: bool) -> str:
    from synguard.governance.attestations import OPERATOR

    if role == OPERATOR:
        return "you ran the generator, and will approve nothing of this run"
    return "you REFUSE this release" if refuse else "you approve this release"


COMMANDS = (sign_off,)
