"""What people said about flagged pairs, for the internal edition alone: readers have names, and pairs files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.blocks import Block, Cell, Note, Section, Table
from reports.numbers import ABSENT, Numbers
from reports.runfolder import RunFolder, flag, interval, mapping, number, read_mapping, rows, text, whole

__all__ = ["review_section"]

_LISTED = 300
_LEAD = (
    "People look at flagged pairs without knowing which of them are controls or known copies, and without what others said. "
    "Two who say the same and are sure settle a pair. No verdict takes back what the audit verified."
)


def review_section(run: RunFolder) -> Section:
    """Readers, their agreement and hit rates, and what became of each pair, as `synguard gate` last wrote it down."""
    review = read_mapping(run.path / "review.json")
    if not review:
        words = "Nobody has looked at pairs yet, or nobody decided again since: synguard review, then synguard gate."
        return Section("review", "Review", _LEAD, (Note(words, "absent"),))
    pairs = rows(review.get("pairs"))
    blocks: list[Block] = [_note(pairs), _readers(rows(review.get("readers")), mapping(review.get("agreement")))]
    if pairs:
        blocks.append(_pairs(pairs))
    return Section("review", "Review", _LEAD, tuple(blocks))


def _note(pairs: tuple[Mapping[str, Any], ...]) -> Note:
    exact = Numbers()
    waiting = sum(flag(pair.get("contested")) for pair in pairs)
    left = sum(not text(pair.get("verdict")) for pair in pairs)
    copies = sum(text(pair.get("verdict")) == "copy" for pair in pairs)
    words = f"{exact.count(left)} of {exact.count(len(pairs))} flagged pairs are open"
    words += f", {exact.count(waiting)} of them since readers differ or are unsure" if waiting else ""
    return Note(f"{words}; {exact.count(copies)} confirmed as copies.", "warn" if left else "fail" if copies else "pass")


def _readers(found: tuple[Mapping[str, Any], ...], agreement: Mapping[str, Any]) -> Table:
    exact = Numbers()

    def row(reader: Mapping[str, Any]) -> tuple[Cell, ...]:
        known, hits = whole(reader.get("known")) or 0, whole(reader.get("found")) or 0
        return (
            Cell(text(reader.get("name"))),
            Cell(exact.count(whole(reader.get("judged")))),
            Cell(exact.share(hits / known if known else None), under=f"{hits} of {known}" + _span(reader, exact)),
            Cell(f"{exact.count(whole(reader.get('alarms')))} of {exact.count(whole(reader.get('controls')))}"),
        )

    header = ("Reader", "Pairs read", "Known copies called copies", "Controls called copies")
    return Table(_agreement(agreement), header, tuple(row(reader) for reader in found), right=(1, 2, 3))


def _span(reader: Mapping[str, Any], exact: Numbers) -> str:
    span = interval(reader.get("interval"))
    return f"; {exact.interval(span, 'share')}" if span and whole(reader.get("known")) else ""


def _agreement(agreement: Mapping[str, Any]) -> str:
    value, span = number(agreement.get("kappa")), interval(agreement.get("interval"))
    who = agreement.get("readers")
    if value is None or span is None or not isinstance(who, list):
        return "Agreement of readers is not known: two must read, and not give one verdict only."
    names = " and ".join(text(name) for name in who)
    n = whole(agreement.get("n"))
    return f"{names} agree on {n} pairs with Cohen's kappa {value:.2f} ({span[0]:.2f} to {span[1]:.2f})."


def _pairs(pairs: tuple[Mapping[str, Any], ...]) -> Table:
    open_first = sorted(pairs, key=lambda pair: bool(text(pair.get("verdict"))))[:_LISTED]
    left = len(pairs) - len(open_first)
    return Table(
        f"What readers said, open pairs first{f'; {left:,} more are in review.json' if left else ''}",
        ("Candidate", "The audit", "Settled as", "Readers"),
        tuple(
            (
                Cell(text(pair.get("file")) or ABSENT),
                Cell("verified copy" if flag(pair.get("verified")) else "review list"),
                Cell(text(pair.get("verdict")) or "open"),
                Cell("; ".join(_said(one) for one in pair.get("said") or ()) or ABSENT),
            )
            for pair in open_first
        ),
    )


def _said(one: object) -> str:
    name, verdict, reason = (text(part) for part in one) if isinstance(one, list) and len(one) == 3 else ("", "", "")
    return f"{name}: {verdict}" + (f" ({reason})" if reason else "")
