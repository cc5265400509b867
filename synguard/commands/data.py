"""`index build|info|verify|key`: prepare a private set once, for many audits, and look at what was prepared."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import print_json, progress_display
from synguard.results import ExitCode

__all__ = ["COMMANDS"]

FOLDER = click.argument("folder", type=click.Path(path_type=Path))
PRIVATE = click.option("--private", required=True, help="The images that the generator was trained on.")
PATIENT = click.option("--patient", help="Metadata column with the patient id.")
BOX = click.option("--box", help="Metadata column of the private set with a box in each image: x y width height in pixels.")
SIZE = click.option("--size", type=click.IntRange(16, 1024), help="Side in pixels at which images are audited.")


@click.group()
def index() -> None:
    """The embedding index of a private set. It is private data: keep it where the images are.

    \b
    Example:
      synguard index build --private private --holdout holdout --out index
    """


@index.command("build")
@PRIVATE
@click.option("--holdout", required=True, help="Images of other patients; thresholds are calibrated on a third of them.")
@PATIENT
@BOX
@SIZE
@click.option("--seed", default=0, show_default=True, help="Seed of the split of the holdout and of the planted copies.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the index.")
@options.key_file
@options.quiet
def index_build(
    private: str,
    holdout: str,
    patient: str | None,
    box: str | None,
    size: int | None,
    seed: int,
    out: Path,
    key_file: Path | None,
    quiet: bool,
) -> None:
    """Build the index, calibrate it on the holdout and measure its recall on planted copies.

    `synguard audit --index FOLDER` uses it as long as private set, holdout, size and seed are the same. With a key file
    everything in it that tells of images or thresholds is encrypted.

    \b
    Example:
      synguard index build --private private --holdout holdout --out index
      synguard index build --private private --holdout holdout --out index --key-file ~/keys/index
    """
    from synguard.runs.index import build_index

    with progress_display(quiet) as progress:
        summary = build_index(
            private=private,
            holdout=holdout,
            patient=patient,
            box=box,
            size=size,
            seed=seed,
            out=out,
            key_file=key_file,
            progress=progress,
        )
    click.echo(summary)


@index.command("info")
@FOLDER
@options.key_file
@options.as_json
def index_info(folder: Path, key_file: Path | None, as_json: bool) -> None:
    """Tell what an index was made from (by digest) and with, how large it is and how it is searched. Names no image.

    FOLDER is what `synguard index build` made, or a run's folder. An encrypted index tells thresholds only with its key.

    \b
    Example:
      synguard index info index
      synguard index info index --key-file ~/keys/index --json
    """
    from synguard.runs.index import index_info as told

    info = told(folder, key_file)
    if as_json:
        print_json(info.as_dict())
        return
    for line in info.lines():
        click.echo(line)


@index.command("verify")
@FOLDER
@PRIVATE
@click.option("--holdout", help="The holdout that it was calibrated on, to look at that too.")
@PATIENT
@BOX
@click.option("--size", type=click.IntRange(16, 1024), help="Side in pixels; by default the one that the index records.")
@options.key_file
@options.as_json
@options.quiet
def index_verify(
    folder: Path,
    private: str,
    holdout: str | None,
    patient: str | None,
    box: str | None,
    size: int | None,
    key_file: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Check that an index is whole, owner-only, made with this encoder, and of exactly these images.

    Ends with 30 where anything differs; every difference is named. Give --patient and --box as to `index build`.

    \b
    Example:
      synguard index verify index --private private
      synguard index verify index --private private --holdout holdout --patient patient
    """
    from synguard.runs.index import verify_index

    with progress_display(quiet) as progress:
        parts = verify_index(
            folder,
            private=private,
            holdout=holdout,
            patient=patient,
            box=box,
            size=size,
            key_file=key_file,
            progress=progress,
        )
    if as_json:
        print_json({"verified": not any(part.faults for part in parts), "parts": [asdict(part) for part in parts]})
    for part in () if as_json else parts:
        for line in part.faults or ("as recorded",):
            click.echo(f"{part.name}: {line}")
    if any(part.faults for part in parts):
        raise click.exceptions.Exit(ExitCode.INTEGRITY)


@index.command("key")
@click.argument("file", type=click.Path(path_type=Path))
def index_key(file: Path) -> None:
    """Make a key to encrypt indexes with: a new owner-only file of 32 random bytes.

    Without the file an encrypted index cannot be read by anyone. Keep it apart from the index, and keep a copy.

    \b
    Example:
      synguard index key ~/keys/index
    """
    from audits.memorisation.sealing import Key

    click.echo(f"key {Key.create(file).fingerprint}: {file}")


COMMANDS = (index,)
