"""The command `synguard`: parses, calls the library, prints; and turns every deliberate error into one line."""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn

import click

from synguard.commands import audit, data, gate, keys, policy, release, review, run, runs, sign_off
from synguard.errors import SynguardError
from synguard.results import ExitCode

__all__ = ["cli", "main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="synguard")
def cli() -> None:
    """Privacy auditing and release governance for synthetic medical images.

    Exit codes: 0 pass, 1 internal error, 2 usage or bad input, 10 warnings (with --fail-on-warn), 20 policy failed,
    21 approvals missing, stale or revoked, 22 evidence missing, too small or invalid, 30 integrity failure.

    \b
    Example:
      synguard demo
    """


for module in (run, runs, audit, data, policy, review, gate, keys, sign_off, release):
    for command in module.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Entry point of the console command. Never shows a traceback unless SYNGUARD_DEBUG is set."""
    try:
        # click turns its Exit into the value that main returns; commands themselves return nothing.
        code = cli.main(standalone_mode=False)
    except SynguardError as error:
        _end(str(error), error.exit_code)
    except click.Abort:
        _end("interrupted", ExitCode.INTERNAL)
    except click.ClickException as error:
        error.show()
        sys.exit(ExitCode.USAGE)
    except Exception as error:  # the last resort: whatever was not foreseen is an internal error, said on one line
        if os.environ.get("SYNGUARD_DEBUG"):
            traceback.print_exc()
        _end(f"internal error: {type(error).__name__}: {error} (set SYNGUARD_DEBUG=1 for details)", ExitCode.INTERNAL)
    sys.exit(code if isinstance(code, int) else 0)


def _end(message: str, code: int) -> NoReturn:
    click.echo(f"synguard: {message}", err=True)
    sys.exit(int(code))
