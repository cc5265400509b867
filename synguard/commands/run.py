"""`demo`, `init`, `train`, `generate`, `generate-and-audit`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synguard.commands import options
from synguard.commands.terminal import finish, progress_display

if TYPE_CHECKING:
    from synguard.runs.candidates import Layout

__all__ = ["COMMANDS"]

CONFIG = click.argument("config", type=click.Path(path_type=Path))


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True, help="New folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of the phantom patients and of everything after them.")
@options.quiet
def demo(out: Path, seed: int, quiet: bool) -> None:
    """The whole thing on invented patients: a clean release that passes, a leaky one that is refused.

    Draws 2,000 phantom patients as private set and 1,500 as holdout, with two photographs each, trains a generator, audits
    1,000 accepted images, then audits the same release with 15 private images slipped in. Ends with 0 when the first passes
    and the second is refused.

    \b
    Example:
      synguard demo --out demo
    """
    from synguard.runs.demo import run_demo

    with progress_display(quiet) as progress:
        result = run_demo(out, seed=seed, progress=progress)
    for line in result.lines():
        click.echo(line)
    raise click.exceptions.Exit(0 if result.right else 1)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a commented synguard.yaml and policy.yaml to start from.

    \b
    Example:
      synguard init my-release
    """
    from synguard.runs.starter import write_starter

    for path in write_starter(folder):
        click.echo(f"wrote {path}")


@click.command()
@CONFIG
@options.out
@click.option(
    "--canaries",
    type=click.IntRange(min=2),
    help="Patients whom a coin puts into the private set or leaves out; by default generator.canaries of the configuration.",
)
@options.quiet
def train(config: Path, out: Path, canaries: int | None, quiet: bool) -> None:
    """Train the generator only, and save it as a diffusers pipeline folder.

    Training that was interrupted goes on where it was when the command is given again with the same folder. With
    `generator.curve: {enabled: true}` in the configuration its checkpoints are audited against the holdout, a line each, and
    training/curve.html in the folder shows where memorisation begins.

    With --canaries, coins decide before the training which of so many patients take part, and the model card is committed to
    them from then on: an audit with the model then proves a lower bound on epsilon (200 or more are needed to prove much).

    \b
    Example:
      synguard train synguard.yaml --out generator
      synguard train synguard.yaml --out generator --canaries 500
      accelerate launch --num_processes 4 -m synguard train synguard.yaml --out generator
    """
    from synguard.runs.canaries import privacy_lines
    from synguard.runs.curve import curve_lines
    from synguard.runs.generator import train_only

    # Launched as several processes, the first one speaks for all.
    spokesman = os.environ.get("RANK", "0") == "0"
    with progress_display(quiet or not spokesman) as progress:
        path = train_only(config, out, canaries=canaries, progress=progress)
    if not spokesman:
        return
    click.echo(f"generator: {path}")
    for line in privacy_lines(path):
        click.echo(line)
    for line in curve_lines(path):
        click.echo(line)


@click.command()
@CONFIG
@options.out
@click.option("--images", type=click.IntRange(min=1), help="How many; by default release.images of the configuration.")
@click.option(
    "--layout",
    type=click.Choice(["images", "parquet", "webdataset"]),
    default="images",
    show_default=True,
    help="An image folder, or shards of 2,000 images.",
)
@click.option("--resume", is_flag=True, help="Go on with a work that was interrupted.")
@options.quiet
def generate(config: Path, out: Path, images: int | None, layout: Layout, resume: bool, quiet: bool) -> None:
    """Generate candidates only. They are marked unaudited: no gate has looked at them.

    Each carries its seed, what was asked, and what made it: the model's digest, sampler, steps and guidance.

    \b
    Example:
      synguard generate synguard.yaml --out candidates --images 200
      synguard generate synguard.yaml --out shards --images 1000000 --layout webdataset --resume
    """
    from synguard.runs.candidates import generate_only

    with progress_display(quiet) as progress:
        path = generate_only(config, out, images=images, layout=layout, resume=resume, progress=progress)
    click.echo(f"unaudited candidates: {path}")


@click.command("generate-and-audit")
@CONFIG
@options.out
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@options.ledger
@options.fail_on_warn
@options.as_json
@options.quiet
def generate_and_audit(
    config: Path, out: Path, resume: bool, ledger: str | None, fail_on_warn: bool, as_json: bool, quiet: bool
) -> None:
    """Train or load a generator, generate and audit in batches, decide, and write the report.

    \b
    Example:
      synguard generate-and-audit synguard.yaml --out runs/first
      synguard generate-and-audit synguard.yaml --out runs/first --resume
    """
    from synguard.runs.execute import generate_and_audit as execute

    with progress_display(quiet) as progress:
        result = execute(config, out, ledger=ledger, resume=resume, progress=progress)
    finish(result, as_json=as_json, fail_on_warn=fail_on_warn)


COMMANDS = (demo, init, train, generate, generate_and_audit)
