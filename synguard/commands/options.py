"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["as_json", "fail_on_warn", "key_file", "out", "quiet"]

out = click.option("--out", type=click.Path(path_type=Path), required=True, help="New folder for the run.")
quiet = click.option("--quiet", "-q", is_flag=True, help="No progress.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
fail_on_warn = click.option("--fail-on-warn", is_flag=True, help="End with 10 where a passing release has warnings.")
key_file = click.option("--key-file", type=click.Path(path_type=Path), help="Key that the index is encrypted under.")
