"""`audit` and `report`."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import finish, print_json, progress_display
from synguard.errors import InputError

__all__ = ["COMMANDS"]


@click.command()
@click.option("--private", required=True, help="The images that the generator was trained on.")
@click.option("--holdout", required=True, help="Images of other patients from the same source, never seen by the generator.")
@click.option("--synthetic", required=True, help="The images that are to be released.")
@click.option("--patient", help="Metadata column with the patient id, in the private set and the holdout.")
@click.option("--box", help="Metadata column of the private set with a box in each image: x y width height in pixels.")
@click.option("--policy", default="public-release", show_default=True, help="A built-in policy or a policy file.")
@click.option("--conditions", help="YAML file with the condition schema, or 'none' for an unlabelled release.")
@click.option("--model", type=click.Path(path_type=Path), help="Pipeline folder of the generator, for the white-box probes.")
@click.option("--releases-model", is_flag=True, help="The model's weights are to be released too.")
@click.option("--index", type=click.Path(path_type=Path), help="Prepared folder of `synguard index build`.")
@options.key_file
@click.option("--size", type=click.IntRange(16, 1024), help="Side in pixels at which images are audited.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Candidates examined at once; changes no result.")
@click.option("--seed", default=0, show_default=True, help="Seed of splits, planted copies and resampling.")
@click.option("--skip-unreadable", is_flag=True, help="Leave out unreadable images, private ones excepted.")
@click.option(
    "--taken-out",
    type=click.Path(path_type=Path),
    help="Table of images that people took out: file_name, reason, by. They are examined, and not released.",
)
@options.ledger
@options.out
@options.fail_on_warn
@options.as_json
@options.quiet
def audit(
    private: str,
    holdout: str,
    synthetic: str,
    patient: str | None,
    box: str | None,
    policy: str,
    conditions: str | None,
    model: Path | None,
    releases_model: bool,
    index: Path | None,
    key_file: Path | None,
    size: int | None,
    batch_size: int | None,
    seed: int,
    skip_unreadable: bool,
    taken_out: Path | None,
    ledger: str | None,
    out: Path,
    fail_on_warn: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Audit images that exist already, decide by the policy, and write the report.

    \b
    Example:
      synguard audit --private private --holdout holdout --synthetic made --out runs/audit
    """
    from synguard.runs.execute import audit as execute

    with progress_display(quiet) as progress:
        result = execute(
            private=private,
            holdout=holdout,
            synthetic=synthetic,
            patient=patient,
            box=box,
            policy=policy,
            conditions=conditions,
            model=model,
            releases_model=releases_model,
            index=index,
            key_file=key_file,
            size=size,
            batch_size=batch_size,
            seed=seed,
            skip_unreadable=skip_unreadable,
            taken_out=taken_out,
            ledger=ledger,
            out=out,
            progress=progress,
        )
    finish(result, as_json=as_json, fail_on_warn=fail_on_warn)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--edition", type=click.Choice(["internal", "public"]), default="internal", show_default=True)
@click.option("--compare", "before", type=click.Path(path_type=Path), help="An earlier run: what changed since?")
@click.option(
    "--format",
    "form",
    type=click.Choice(["html", "pdf", "md", "json"]),
    default="html",
    show_default=True,
    help="html writes a page, pdf the same on A4 (extra `pdf`); md and json are printed, and hold figures alone.",
)
def report(run: Path, edition: str, before: Path | None, form: str) -> None:
    """Write the report of a run again, from what the run recorded. Ends with 30 where the record was changed since.

    \b
    Example:
      synguard report runs/first --edition public
      synguard report runs/first --edition public --format pdf
      synguard report runs/second --compare runs/first
      synguard report runs/second --compare runs/first --format md
    """
    from reports import compare, render, render_pdf
    from synguard.runs.listing import require_finished
    from synguard.runs.result import load_result

    for folder in (run, before) if before else (run,):
        require_finished(folder)
        load_result(folder)  # nothing is reported that was not signed
    if before is not None:
        if form == "pdf":
            raise InputError.of("--format", "pdf, of a comparison", "html, md or json")
        changed = compare(before, run)
        if form == "html":
            click.echo(f"comparison: {changed.write(run / 'report' / 'compared.html')}")
        elif form == "md":
            click.echo("\n".join(changed.lines()))
        else:
            print_json(changed.as_dict())
    elif form == "html":
        click.echo(f"report: {render(run, edition)}")  # type: ignore[arg-type]  # click has checked the choice
    elif form == "pdf":
        click.echo(f"report: {render_pdf(run, edition)}")  # type: ignore[arg-type]  # click has checked the choice
    else:
        click.echo((run / _PLAIN[form]).read_text(), nl=False)


_PLAIN = {"md": "summary.md", "json": "results.json"}
"""What a run has written of its decision, without markup and without pictures."""

COMMANDS = (audit, report)
