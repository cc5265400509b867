"""Every command has help with an example."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from synguard.commands.main import cli


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*path, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


EXPECTED = {
    ("demo",),
    ("init",),
    ("train",),
    ("generate",),
    ("generate-and-audit",),
    ("audit",),
    ("index", "build"),
    ("policy", "lint"),
    ("policy", "explain"),
    ("policy", "schema"),
    ("policy", "diff"),
    ("policy", "calibrate"),
    ("report",),
    ("review",),
    ("gate",),
    ("keys", "init"),
    ("keys", "trust"),
    ("keys", "revoke"),
    ("sign-off",),
    ("release",),
    ("verify",),
    ("withdraw",),
    ("purge",),
    ("runs", "list"),
    ("runs", "show"),
    ("runs", "ledger-verify"),
    ("runs", "ledger-head"),
}


def test_all_commands_are_there():
    assert set(commands(cli)) >= EXPECTED


@pytest.mark.parametrize("path", [(), *sorted(commands(cli))], ids=" ".join)
def test_help_has_an_example(path: tuple[str, ...]):
    result = CliRunner().invoke(cli, [*path, "--help"])
    assert result.exit_code == 0
    assert "Example:" in result.output
    assert f"synguard {' '.join(path)}".strip() in result.output
