"""`policy lint|explain|schema`."""

from __future__ import annotations

from dataclasses import asdict

import click

from synguard.commands import options
from synguard.commands.terminal import print_json
from synguard.governance.explain import Sizes
from synguard.governance.explain import explain as explained
from synguard.governance.explain import lint as linted
from synguard.governance.policy import json_schema, load_policy

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
    """Check a policy file, and say which limits the given sample sizes can never satisfy. Ends with 2 where it finds any.

    \b
    Example:
      synguard policy lint policy.yaml --candidates 1000 --private 3000 --holdout 2000
    """
    loaded = load_policy(policy)
    sizes = Sizes(candidates=candidates, members=private, nonmembers=holdout and holdout // 3, planted=planted)
    problems = linted(loaded, sizes)
    for problem in problems:
        click.echo(problem)
    if problems:
        raise click.exceptions.Exit(2)
    click.echo(f"{loaded.name} {loaded.version}: {len(loaded.checks)} checks, no problem")


@policy.command()
@POLICY
@options.as_json
def explain(policy: str, as_json: bool) -> None:
    """Print every limit with its reason, its source, and the file and line that it comes from.

    \b
    Example:
      synguard policy explain public-release
    """
    rows = explained(load_policy(policy))
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    for row in rows:
        click.echo(f"{row.check}: {row.effect} where {row.metric} is {row.value}   [{row.file}:{row.line}]")
        click.echo(f"    why: {row.reason}")
        click.echo(f"    source: {row.source}")


@policy.command()
def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    Example:
      synguard policy schema > policy.schema.json
    """
    print_json(json_schema())


COMMANDS = (policy,)
