"""`review`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from synguard.commands import options

if TYPE_CHECKING:
    from synguard.review.study.results import Results
    from synguard.runs.reading import Reading
    from synguard.runs.study import Study

__all__ = ["COMMANDS"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--reviewer", help="Who reads. It is written into the ledger with every verdict.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of the page; any free one unless said.")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen at; another shows private images there."
)
@click.option("--study", is_flag=True, help="The blinded reader study: real or synthetic?")
@click.option(
    "--study-images", type=int, metavar="N", help="Fix the study's plan: so many real and so many synthetic images."
)
@click.option("--readers", type=int, metavar="K", help="With --study-images: the first K who finish decide.  [default: 2]")
@click.option("--margin", type=float, help="With --study-images: how far from 0.5 the AUC may be, for example 0.1.")
@click.option("--holdout", metavar="PATH", help="With --study-images: where the run's holdout lies by now.")
@click.option("--export", type=click.Path(path_type=Path), metavar="DIR", help="Write the study for a reader elsewhere.")
@click.option(
    "--import", "import_", type=click.Path(path_type=Path), metavar="FILE", help="Take a reader's table of answers."
)
@click.option("--results", is_flag=True, help="Results of the study by now; from then on, answers of who finished stay.")
@options.as_json
@options.ledger
def review(
    run: Path,
    reviewer: str | None,
    port: int,
    host: str,
    study: bool,
    study_images: int | None,
    readers: int | None,
    margin: float | None,
    holdout: str | None,
    export: Path | None,
    import_: Path | None,
    results: bool,
    as_json: bool,
    ledger: str | None,
) -> None:
    """Look at flagged pairs in a browser: is it a copy, the same patient, alike by chance?

    Among them are pairs that measure reading itself. A second reader does not see what the first one said, and pairs on
    which they differ go to a third. Every verdict is in the ledger at once: stop with Ctrl-C whenever you like, and give
    the command again to go on. Afterwards `synguard gate` decides again. No review clears a verified copy.

    With --study: single images, as many real ones (of the holdout) as synthetic ones. Real or synthetic, how sure, and
    what does it show? Its plan is fixed before anybody reads. Looking real is not being private.

    \b
    Example:
      synguard review runs/first --reviewer "A. Osei"
      synguard review runs/first --study --study-images 50 --readers 2 --margin 0.1
      synguard review runs/first --study --reviewer "A. Osei"
      synguard review runs/first --study --reviewer "B. Lund" --export for-lund
      synguard review runs/first --study --reviewer "B. Lund" --import answers.csv
      synguard review runs/first --study --results
    """
    terms = {"--study-images": study_images, "--margin": margin, "--readers": readers, "--holdout": holdout}
    acts = {"--export": export, "--import": import_, "--results": results or None}
    given = [name for name, value in (terms | acts | {"--json": as_json or None}).items() if value is not None]
    if not study:
        if given:
            raise click.UsageError(f"{given[0]}: found it alone, expected it beside --study")
        _pairs(run, _named(reviewer), host, port, ledger)
        return
    from synguard.runs.study import open_study

    if as_json and not results:
        raise click.UsageError("--json: found it alone, expected it beside --results")
    if len(chosen := [name for name in given if name in acts]) > 1:
        raise click.UsageError(f"{chosen[0]}: found it beside {chosen[1]}, expected one of the two")
    planned = [name for name in given if name in terms]
    if planned and (study_images is None or margin is None):
        raise click.UsageError(f"{planned[0]}: found it alone, expected --study-images and --margin")
    if not (planned or chosen) and reviewer is None:
        raise click.UsageError("--study: found nothing to do, expected --study-images, --reviewer or --results")
    opened = open_study(run, ledger)
    if study_images is not None and margin is not None:
        _fix(opened, study_images, 2 if readers is None else readers, margin, holdout)
    if export is not None:
        count = opened.export(_named(reviewer), export)
        click.echo(f"{export}: {count:,} images, half of them of patients: send it only where patients' images may go")
    elif import_ is not None:
        click.echo(f"{import_}: {opened.take_back(_named(reviewer), import_):,} new answers")
    elif results:
        _print(opened.results(), as_json)
    elif reviewer is not None:
        _serve(opened.page(reviewer, host=host, port=port), host)


def _named(reviewer: str | None) -> str:
    if reviewer is None:
        raise click.UsageError("Missing option '--reviewer'.")
    return reviewer


def _pairs(run: Path, reviewer: str, host: str, port: int, ledger: str | None) -> None:
    from synguard.runs.reading import open_reading

    _serve(open_reading(run, reviewer, host=host, port=port, ledger=ledger), host)


def _serve(reading: Reading, host: str) -> None:
    if reading.exposed:
        click.echo(f"warning: {host} is not loopback: whoever is on the way there can see private images", err=True)
    reading.serve(lambda link: click.echo(f"open this link, which counts once, in a browser: {link}"))


def _fix(study: Study, images: int, readers: int, margin: float, holdout: str | None) -> None:
    from synguard.review.study.plan import Terms, smallest_margin

    plan = study.fix(Terms(images, readers, margin), holdout)
    click.echo(
        f"plan {plan.digest[:16]} is fixed: {images:,} real and {images:,} synthetic images, AUC within {margin:g} of 0.5, "
        f"decided by the first {readers:,} who finish"
    )
    if (needed := smallest_margin(images)) > margin:
        click.echo(
            f"warning: with so few images a reader who sees no difference at all shows an AUC within {needed:.2f} of 0.5 on "
            "average: the study may stay undecided",
            err=True,
        )


def _print(results: Results, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(asdict(results), indent=1, sort_keys=True))
        return
    from synguard.review.study.exchange import inert

    terms = results.terms
    mean = "no reader has finished"
    if results.auc.value is not None and results.auc.interval is not None:
        low, high = results.auc.interval
        mean = f"mean AUC {results.auc.value:.3f} ({low:.3f} to {high:.3f}, n = {results.auc.n:,} images)"
    more = f"; {results.waiting:,} more must finish" if results.waiting else ""
    click.echo(f"{results.verdict}: {mean}, margin {terms.margin:g}{more}")
    for reader in results.readers:
        auc, accuracy = reader.auc, reader.accuracy
        told = f"{reader.answered:,} of {2 * terms.images:,} images answered"
        if auc.value is not None and auc.interval is not None and accuracy.value is not None:
            told = f"AUC {auc.value:.3f} ({auc.interval[0]:.3f} to {auc.interval[1]:.3f}), accuracy {accuracy.value:.3f}"
            told += f", {reader.verdict}" + ("" if reader.counted else " (beyond the plan)")
        click.echo(f"  {inert(reader.name)}: {told}")
    click.echo("Looking real is not being private.")


COMMANDS = (review,)
