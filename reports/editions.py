"""Renders the page of a run: one file, no request, no script, and the same bytes for the same run folder."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal

import jinja2
from markupsafe import Markup

from reports import internal, public, sections
from reports.blocks import Pairs
from reports.checks import check_facts, metric_facts
from reports.evidence import copies
from reports.numbers import Numbers
from reports.overview import (
    audits_with_evidence,
    headline,
    limits_of_claim,
    link_unverified,
    next_step,
    not_tested,
    overview,
    tested,
)
from reports.runfolder import read_run
from reports.wording import SIGNS, STATUS_WORDS, VERDICT_WORDS
from synguard.governance.files import write_private

__all__ = ["Edition", "environment", "page", "render", "style_sheet", "summary", "write"]

Edition = Literal["internal", "public"]


def render(run: Path, edition: Edition) -> Path:
    """Writes `report/{edition}.html` into the run folder, readable by its owner only, and returns its path.

    Reads files of the run folder alone. Raises InputError where the folder holds no results.json or one that cannot be read.
    """
    if edition not in ("internal", "public"):
        raise ValueError(f"edition: found {edition!r}, expected internal or public")
    folder = read_run(run)
    view = internal.build(folder) if edition == "internal" else public.build(public.disclose(folder))
    target = run / "report" / f"{edition}.html"
    write(target, page(view))
    return target


@cache
def environment() -> jinja2.Environment:
    """Where templates come from: everything is escaped, and a name that a template misspells is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(view: internal.InternalView | public.PublicView) -> str:
    """The page of a view, with the digest of its one style sheet in its content security policy."""
    style, policy = style_sheet(view.edition, _places(view))
    return (
        environment()
        .get_template("report.html")
        .render(
            view=view,
            style=style,
            policy=policy,
            verdict_words=VERDICT_WORDS,
            status_words=STATUS_WORDS,
        )
    )


def style_sheet(edition: str, more: str = "") -> tuple[Markup, str]:
    """The one style sheet of a page, `more` at its end, and the content security policy that allows it and nothing else."""
    style = resources.files("reports").joinpath("templates/style.css").read_text(encoding="utf-8")
    style = style.replace("EDITION", edition) + more
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return Markup(style), policy  # noqa: S704 # the package's own style sheet


def _places(view: internal.InternalView | public.PublicView) -> str:
    """The places of pairs in the orders that a reader can choose, as rules: the page runs no script."""
    found = (block for part in view.sections for block in part.blocks if isinstance(block, Pairs))
    return "".join(
        f"#{card.anchor}{{{';'.join(f'--{name}:{rank}' for name, rank in zip(block.orders, card.ranks, strict=True))}}}\n"
        for block in found
        for card in block.cards
        if card.ranks
    )


def summary(run: Path) -> str:
    """The verdict for a terminal: plain text, what was tested, what was not, and the limits of the claim."""
    folder = read_run(run)
    exact = Numbers()
    checks, metrics, audits = check_facts(folder), metric_facts(folder), audits_with_evidence(folder)
    view = overview(
        folder.decision.status,
        folder.decision.exit_code,
        checks,
        metrics,
        sight=sections.sight(copies(folder.evidence)),
        link_unverified=link_unverified(folder),
    )
    lines = [
        f"{SIGNS[view.status]} {VERDICT_WORDS[view.status].upper()} (exit code {view.exit_code})",
        headline(view, checks, exact),
        next_step(view),
    ]
    lines += [
        f"  {SIGNS[check.status]} {check.reason}"
        for check in checks
        if check.status not in {"pass", "waived"} and check.reason
    ]
    for title, items in (
        ("Tested", tuple(item.words for item in tested(metrics, audits, view, exact))),
        ("Not tested", not_tested(metrics, audits)),
        ("Limits of the claim", limits_of_claim(view, exact)),
    ):
        lines += ["", title, *(f"  - {item}" for item in items)]
    return "\n".join(_plain(line) for line in lines) + "\n"


def _plain(line: str) -> str:
    """Without control and direction signs, which a hostile file name could use against a terminal."""
    return "".join(sign for sign in line.replace("\u00a0", " ") if sign.isprintable())


def write(target: Path, content: str | bytes) -> None:
    """Whole or not at all, and owner-only from its first byte."""
    target.parent.mkdir(mode=0o700, exist_ok=True)
    write_private(target, content.encode("utf-8") if isinstance(content, str) else content)
