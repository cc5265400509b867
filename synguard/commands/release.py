"""`release`, `verify`, `withdraw` and `purge`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import print_json, progress_display
from synguard.errors import InputError

__all__ = ["COMMANDS"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), required=True, help="New folder for the release.")
@options.trust
@click.option("--key", required=True, help="Key of a publisher: a file of `synguard keys init`, or a pkcs11: URI.")
@click.option("--title", required=True, help="What the data set is called.")
@click.option("--publisher", required=True, help="Who publishes it.")
@click.option("--contact", required=True, help="Whom to write to where an image should be taken down.")
@click.option("--licence", default="cc-by-4.0", show_default=True, help="Licence, by its name on the Hugging Face hub.")
@click.option(
    "--layout",
    type=click.Choice(["imagefolder", "parquet", "webdataset", "dicom"]),
    default="imagefolder",
    show_default=True,
)
@click.option(
    "--c2pa-key",
    type=click.Path(path_type=Path),
    help="Private key as PEM: each image gets a C2PA manifest. Needs synguard[c2pa].",
)
@click.option(
    "--c2pa-certificate", type=click.Path(path_type=Path), help="X.509 certificates of that key as PEM, its own first."
)
@options.passphrase_file
@options.ledger
@options.quiet
def release(
    run: Path,
    to: Path,
    trust: Path,
    key: str,
    title: str,
    publisher: str,
    contact: str,
    licence: str,
    layout: str,
    c2pa_key: Path | None,
    c2pa_certificate: Path | None,
    passphrase_file: Path | None,
    ledger: str | None,
    quiet: bool,
) -> None:
    """Publish the accepted images of a run that passed and was signed off by all whom its policy asks.

    Every image is written anew from its pixels, marked as synthetic, under a fresh name. The folder is there whole at the
    end, verified, or not at all. Ends with 20 or 22 where the run is no pass, with 21 where approvals are missing or stale.

    \b
    Example:
      synguard release runs/first --to release --trust trust.json --key moss.key --title "Fundus, synthetic" \\
        --publisher "Hospital X" --contact privacy@hospital-x.example
    """
    from synguard.governance.keys.reference import open_key
    from synguard.governance.keys.trust import read_trust
    from synguard.governance.ledger import Ledger
    from synguard.governance.ledger.heads import head_of_run
    from synguard.release.c2pa_mark import open_credentials
    from synguard.release.documents import Details
    from synguard.release.make import release as make

    known = read_trust(trust)
    details = Details(title=title, publisher=publisher, contact=contact, licence=licence)
    details.check()
    if (c2pa_key is None) != (c2pa_certificate is None):
        raise InputError.of("--c2pa-key, --c2pa-certificate", "one of them", "both or neither")
    book = Ledger.open_whole(ledger, [head_of_run(run)])
    opened = open_key(key, options.secret(passphrase_file, key))
    now = datetime.now(UTC)
    credentials = None
    if c2pa_key is not None and c2pa_certificate is not None:
        credentials = open_credentials(c2pa_key, c2pa_certificate, lambda: options.secret(None, str(c2pa_key)), now)
    with progress_display(quiet) as progress:
        done = make(
            run, to, known, opened, details, layout=layout, credentials=credentials, now=now, book=book, progress=progress
        )
    click.echo(f"released: {to}")
    for line in done.lines:
        click.echo(f"  - {line}")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@options.trust
@click.option("--root", help="Id of the root key that the trust file must be signed by, as the publisher told you.")
@click.option(
    "--recall", "recalls", type=click.Path(path_type=Path), multiple=True, help="A recall notice. May be repeated."
)
@options.as_json
def verify(folder: Path, trust: Path, root: str | None, recalls: tuple[Path, ...], as_json: bool) -> None:
    """Check a release, any copy of it, without a network and with public keys alone; say in words what was checked.

    Ends with 30 where anything is not as it was published, with 21 where approvals do not count.

    \b
    Example:
      synguard verify release --trust trust.json
    """
    from synguard.governance.keys.trust import read_trust
    from synguard.release.verify import verify as check
    from synguard.release.withdraw import check_not_recalled

    known = read_trust(trust, root=root)
    done = check(folder, known, datetime.now(UTC))
    check_not_recalled(done.published.manifest, recalls, known)
    if as_json:
        approvals = [{"person": item.person, "role": item.role} for item in done.standing.approvals]
        print_json({"verified": True, "publisher": done.publisher, "approvals": approvals, "checked": list(done.lines)})
        return
    click.echo(f"VERIFIED: {folder}")
    for line in done.lines:
        click.echo(f"  - {line}")


@click.command()
@click.option("--patient", required=True, help="Id of the patient. It is written nowhere.")
@click.option("--private", required=True, help="The private set to look the patient up in.")
@click.option("--column", required=True, help="Metadata column of the private set with the patient id.")
@click.option("--runs", type=click.Path(path_type=Path), required=True, help="Folder that the runs lie in.")
@options.trust
@click.option("--key", help="Key of a publisher, for the notice.")
@click.option("--reason", default="", help="Why, for everybody who gets the notice. Name no patient.")
@click.option("--out", type=click.Path(path_type=Path), help="New file for the signed notice; without it, only look.")
@options.passphrase_file
@options.ledger
def withdraw(
    patient: str,
    private: str,
    column: str,
    runs: Path,
    trust: Path,
    key: str | None,
    reason: str,
    out: Path | None,
    passphrase_file: Path | None,
    ledger: str | None,
) -> None:
    """Find the models and releases that a patient was in, and write a signed notice that recalls them.

    \b
    Example:
      synguard withdraw --patient 4711 --private private --column patient --runs runs --trust trust.json
      synguard withdraw --patient 4711 --private private --column patient --runs runs --trust trust.json \\
        --key moss.key --reason "consent was withdrawn" --out recall.dsse.json
    """
    from synguard.config import DataSource
    from synguard.governance.keys.reference import open_key
    from synguard.governance.keys.trust import read_trust
    from synguard.governance.ledger import Ledger
    from synguard.release.withdraw import find_affected, recall

    known = read_trust(trust)
    affected = find_affected(runs, DataSource(path=private, patient=column), patient, known)
    for line in affected.lines():
        click.echo(line)
    if out is None:
        return
    if key is None:
        raise InputError.of("--key", "nothing", "the key of a publisher, to sign the notice")
    book = Ledger.open_whole(ledger)
    opened = open_key(key, options.secret(passphrase_file, key))
    recall(out, affected, known, opened, reason=reason, now=datetime.now(UTC), book=book)
    click.echo(f"notice: {out}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask before deleting.")
@options.ledger
def purge(run: Path, yes: bool, ledger: str | None) -> None:
    """Delete index, quarantine and internal report of a run, and whatever else in it shows private images; record that.

    Results, signatures, accepted images and public report stay.

    \b
    Example:
      synguard purge runs/first
    """
    from synguard.governance.ledger import Ledger
    from synguard.governance.ledger.heads import head_of_run
    from synguard.release.purge import PARTS
    from synguard.release.purge import purge as remove

    book = Ledger.open_whole(ledger, [head_of_run(run)])
    if not yes:
        click.confirm(f"Delete {', '.join(PARTS)} of {run} for good?", abort=True, err=True)
    for item in remove(run, now=datetime.now(UTC), book=book):
        click.echo(f"deleted {item.part}: {item.files:,} files, {item.bytes:,} bytes")


COMMANDS = (release, verify, withdraw, purge)
