"""`gate`."""

from __future__ import annotations

from pathlib import Path

import click

from synguard.commands import options
from synguard.commands.terminal import finish

__all__ = ["COMMANDS"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--policy", help="A stricter policy, or one with a new waiver; by default the one that the run was decided by."
)
@options.ledger
@options.fail_on_warn
@options.as_json
def gate(run: Path, policy: str | None, ledger: str | None, fail_on_warn: bool, as_json: bool) -> None:
    """Decide again on a finished run, from what it recorded and from what its readers said since.

    The decision before is kept as results.1.json, and so on; approvals of it no longer count. Readers can confirm a copy,
    and leave nothing open; what the audit verified as a copy stays one, whatever they say.

    \b
    Example:
      synguard gate runs/first
      synguard gate runs/first --policy policy.yaml
    """
    from synguard.runs.gate import decide_again

    finish(decide_again(run, policy, ledger=ledger), as_json=as_json, fail_on_warn=fail_on_warn)


COMMANDS = (gate,)
