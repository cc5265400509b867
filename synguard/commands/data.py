"""`index build`: prepare a private set once, for many audits."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import progress_display

__all__ = ["COMMANDS"]


@click.group()
def index() -> None:
    """The embedding index of a private set. It is private data: keep it where the images are.

    \b
    Example:
      synguard index build --private private --holdout holdout --out index
    """


@index.command("build")
@click.option("--private", required=True, help="The images that the generator was trained on.")
@click.option("--holdout", required=True, help="Images of other patients; thresholds are calibrated on a third of them.")
@click.option("--patient", help="Metadata column with the patient id.")
@click.option("--size", type=click.IntRange(16, 1024), help="Side in pixels at which images are audited.")
@click.option("--seed", default=0, show_default=True, help="Seed of the split of the holdout and of the planted copies.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the index.")
@options.quiet
def index_build(
    private: str, holdout: str, patient: str | None, size: int | None, seed: int, out: Path, quiet: bool
) -> None:
    """Build the index, calibrate it on the holdout and measure its recall on planted copies.

    `synguard audit --index FOLDER` uses it as long as private set, holdout, size and seed are the same.

    \b
    Example:
      synguard index build --private private --holdout holdout --out index
    """
    from synguard.runs.prepare import build_index

    with progress_display(quiet) as progress:
        info = build_index(
            private=private, holdout=holdout, patient=patient, size=size, seed=seed, out=out, progress=progress
        )
    click.echo(info)


COMMANDS = (index,)
