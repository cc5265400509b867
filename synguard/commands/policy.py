"""`policy lint|explain|diff|schema|calibrate`."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import print_json
from synguard.errors import InputError
from synguard.results import ExitCode

__all__ = ["COMMANDS"]

POLICY = click.argument("policy", default="public-release")


@click.group()
def policy() -> None:
    """Policies: what a release must satisfy, and why.

    \b
    Example:
      synguard policy explain public-release
    """


@policy.command()
@POLICY
@click.option("--candidates", type=click.IntRange(min=1), help="Images that are to be released.")
@click.option("--private", type=click.IntRange(min=1), help="Images in the private set.")
@click.option("--holdout", type=click.IntRange(min=1), help="Images in the holdout; a third of them gives the verdicts.")
@click.option("--planted", type=click.IntRange(min=1), help="Planted copies a transform.")
def lint(policy: str, candidates: int | None, private: int | None, holdout: int | None, planted: int | None) -> None:
    """Check a policy file: everything that is wrong with it, limits that the given sample sizes can never satisfy, days that
    have passed. Ends with 2 where it finds any.

    \b
    Example:
      synguard policy lint policy.yaml --candidates 1000 --private 3000 --holdout 2000
    """
    from synguard.governance.policy import load_policy
    from synguard.governance.policy.lint import Sizes
    from synguard.governance.policy.lint import lint as linted

    loaded = load_policy(policy)
    sizes = Sizes(candidates=candidates, members=private, nonmembers=holdout and holdout // 3, planted=planted)
    problems = linted(loaded, sizes, datetime.now(UTC).date())
    for problem in problems:
        click.echo(problem)
    if problems:
        raise click.exceptions.Exit(ExitCode.USAGE)
    click.echo(f"{loaded.name} {loaded.version}: {len(loaded.checks)} checks, no problem")


@policy.command()
@POLICY
@options.as_json
def explain(policy: str, as_json: bool) -> None:
    """Print every value with its reason, its source, and the file and line that it comes from.

    The sha256 in the first line is what another policy pins with `extends`; the digest is what approvals are bound to.

    \b
    Example:
      synguard policy explain public-release
    """
    from synguard.governance.policy import load_policy
    from synguard.governance.policy.explain import explain as explained

    loaded = load_policy(policy)
    rows = explained(loaded)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    click.echo(f"{loaded.name} {loaded.version}   sha256 {loaded.sha256}   digest {loaded.digest}")
    said = ""
    for row in rows:
        where = f"{row.file}:{row.line}" if row.line else "not written, so the default"
        click.echo(f"{row.check or 'policy'}: {row.words}   [{where}]")
        if row.reason != said:
            click.echo(f"    why: {row.reason}")
            if row.source:
                click.echo(f"    source: {row.source}")
        said = row.reason


@policy.command()
@click.argument("old")
@click.argument("new")
@options.as_json
def diff(old: str, new: str, as_json: bool) -> None:
    """Say what got looser and what stricter from one policy to another. Ends with 20 where anything got looser.

    \b
    Example:
      synguard policy diff public-release policy.yaml
    """
    from synguard.governance.policy import load_policy
    from synguard.governance.policy.diff import diff as difference

    found = difference(load_policy(old), load_policy(new))
    if as_json:
        print_json(asdict(found))
    else:
        for title, changes in (("looser", found.looser), ("stricter", found.stricter)):
            click.echo(f"{title}: {len(changes) or 'nothing'}")
            for change in changes:
                click.echo(f"  - {change}")
    if found.looser:
        raise click.exceptions.Exit(ExitCode.FAIL)


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    Example:
      synguard policy schema > policy.schema.json
    """
    from synguard.governance.policy import json_schema

    print_json(json_schema())


@policy.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--policy", default="public-release", show_default=True, help="The policy whose limits are looked at.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the stricter limits as a policy that extends this one.")
@options.as_json
def calibrate(runs: tuple[Path, ...], policy: str, out: Path | None, as_json: bool) -> None:
    """Propose limits from audits whose release was real images that no model has seen: their results.json or run folders.

    A clean release of the same size keeps a proposed limit with a chance of 95 %. Three audits are needed; from nineteen on
    nothing is assumed about how figures are distributed.

    \b
    Example:
      synguard policy calibrate runs/real-1 runs/real-2 runs/real-3 --out policy.yaml
    """
    from synguard.governance.limits import shown
    from synguard.governance.policy import BUILT_IN, load_policy
    from synguard.governance.policy.calibrate import as_tightening, read_audits
    from synguard.governance.policy.calibrate import calibrate as calibrated

    loaded = load_policy(policy)
    proposals = calibrated(loaded, read_audits(runs))
    if out is not None:
        _write_tightening(out, as_tightening(loaded, policy if policy in BUILT_IN else Path(policy).name, proposals))
    if as_json:
        print_json([{**asdict(proposal), "method": proposal.method} for proposal in proposals])
        return
    for proposal in proposals:
        name = f"{proposal.metric} ({proposal.group})" if proposal.group else proposal.metric
        unit = proposal.limit.unit
        click.echo(f"{name}: {proposal.limit}; seen: {', '.join(shown(figure, unit) for figure in proposal.figures)}")
        for check, limit in proposal.current:
            note = "; clean releases of this size often miss it" if check in proposal.unreachable else ""
            click.echo(f"    {check}: now {limit}{note}")
    click.echo(f"method: {proposals[0].method}" if proposals else "nothing that all audits measured")


def _write_tightening(out: Path, text: str) -> None:
    if not text:
        raise InputError.of(out, "no limit to make stricter", "audits whose figures are milder than a limit of the policy")
    if out.exists():
        raise InputError.of(out, "a file that exists already", "a new file")
    out.write_text(text, encoding="utf-8")


COMMANDS = (policy,)
