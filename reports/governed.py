"""Policy as resolved with the sources of its limits, waivers, and who signed, for the internal edition alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.blocks import Block, Cell, Facts, Note, Section, Table
from reports.flat import flat
from reports.numbers import ABSENT
from reports.runfolder import RunFolder, inside, mapping, text
from reports.wording import listed, metric_title
from synguard.errors import SynguardError
from synguard.governance import envelope
from synguard.governance.policy import Policy, read_resolved
from synguard.governance.policy.explain import Explained, explain
from synguard.governance.sign_off import FOLDER, POLICY

__all__ = ["approval_section", "policy_section", "signers"]


def policy_section(run: RunFolder) -> Section:
    """What decided: the limits as they were held, every value of the policy with reason and source, and the waivers."""
    lead = "The limits that decided, as resolved. The bound of each figure is held against them, not the figure itself."
    said = run.results.get("policy") or run.run.get("policy") or mapping(run.run.get("config")).get("policy")
    named = {"policy": said} if isinstance(said, str) else mapping(said)
    plain = flat({key: value for key, value in named.items() if key not in {"limits", "checks"}})
    policy = _resolved(run)
    blocks: list[Block] = [Facts(plain)] if plain else []
    if policy is None:
        blocks.append(_limits(run))
        blocks.append(Note("The resolved policy is not in this run folder, so sources of limits are not shown.", "absent"))
    else:
        values = explain(policy)
        blocks.append(_sources([row for row in values if row.key != "ceiling"]))
        blocks.append(_waivers(run, policy))
    return Section("policy", "Policy", lead, tuple(blocks))


def signers(run: RunFolder) -> str:
    """The roles that the policy asks to sign, in words, with the number of people where it is more than one."""
    policy = _resolved(run)
    if policy is None or not policy.approvals:
        return "those whom the policy asks to sign"
    people = ((need.role.replace("-", " "), need.count) for need in policy.approvals)
    roles = [role if count == 1 else f"{role} ({count:,} people)" for role, count in people]
    return listed(roles, "and")


def approval_section(run: RunFolder) -> Section:
    """Who is asked to sign, and what statements lie beside the run."""
    lead = (
        "Who has to sign before a release, and who did. A statement is shown as it describes itself; whether its signature, "
        "its signer and what it is bound to still hold is decided by synguard release and synguard verify."
    )
    policy = _resolved(run)
    blocks: list[Block] = []
    if policy is not None and policy.approvals:
        rows = tuple((Cell(need.role), Cell(f"{need.count:,}")) for need in policy.approvals)
        caption = "What the policy asks for: people, each counted once, and none of them whoever ran the generator."
        blocks.append(Table(caption, ("Role", "People"), rows, right=(1,)))
    signed = _statements(run)
    if signed:
        header = ("Statement", "Role", "Verdict", "Signed", "Counts until", "Key")
        blocks.append(Table("Statements, in the order of their signing.", header, signed))
    else:
        blocks.append(Note("Nobody has signed this run when this page was written: synguard sign-off.", "absent"))
    return Section("approvals", "Approvals", lead, tuple(blocks))


def _resolved(run: RunFolder) -> Policy | None:
    path = inside(run.path, POLICY)
    if path is None:
        return None
    try:
        return read_resolved(path.read_bytes(), POLICY)
    except SynguardError:
        return None  # a page of what is left; whoever signs or releases is told by `signable`


def _limits(run: RunFolder) -> Table:
    rows = tuple(
        (
            Cell(check.title or check.id, under=check.id),
            Cell(metric_title(check.metric, check.group) if check.metric else ABSENT, under=check.metric),
            Cell(check.limit or ABSENT),
            Cell("no, a blocker" if check.blocker else "yes"),
        )
        for check in run.decision.checks
    )
    return Table("Limits", ("Requirement", "Metric", "Limit", "May be waived"), rows)


def _sources(values: Sequence[Explained]) -> Table:
    rows = tuple(
        (Cell(row.check or "The policy", under=row.metric), Cell(row.words), Cell(row.reason or ABSENT, under=row.source))
        for row in values
    )
    return Table("Every value of the policy as resolved, with its reason and source.", ("Check", "Asks", "Why"), rows)


def _waivers(run: RunFolder, policy: Policy) -> Block:
    if not policy.waivers:
        return Note("No waivers: every limit holds as it stands.", "pass")
    used = {check.waiver for check in run.decision.checks if check.waiver}
    rows = tuple(
        (
            Cell(waiver.id, under=waiver.check + (f" ({waiver.group})" if waiver.group else "")),
            Cell("used" if waiver.id in used else "not used"),
            Cell(str(waiver.ceiling)),
            Cell(f"{waiver.issued} to {waiver.expires}"),
            Cell(waiver.reason, under=f"asked for by {waiver.owner}, granted by {waiver.approver}"),
        )
        for waiver in policy.waivers
    )
    return Table(
        "Waivers: exceptions, each up to a ceiling and until a day.",
        ("Waiver", "In this decision", "Ceiling", "Days", "Why"),
        rows,
    )


def _statements(run: RunFolder) -> tuple[tuple[Cell, ...], ...]:
    folder = run.path / FOLDER
    names = sorted(path.name for path in folder.glob("*.dsse.json")) if folder.is_dir() else []
    return tuple(row for name in names if (row := _statement(run, name)))


def _statement(run: RunFolder, name: str) -> tuple[Cell, ...]:
    path = inside(run.path, f"{FOLDER}/{name}")
    if path is None or path.stat().st_size > envelope.LARGEST:
        return ()
    try:
        data = path.read_bytes()
        said: Mapping[str, Any] = mapping(envelope.unverified(data, name).get("predicate"))
        key = envelope.signed_by(data, name)
    except SynguardError:
        return (Cell(name), Cell("not readable"), *(Cell(ABSENT) for _ in range(4)))
    words = {"approve": "approves", "refuse": "refuses"}.get(text(said.get("verdict")), "says nothing that is known")
    return (
        Cell(name),
        Cell(text(said.get("role"))),
        Cell(words, under=text(said.get("reason"))),
        Cell(text(said.get("signed"))),
        Cell(text(said.get("last"))),
        Cell(key[:16], code=True),
    )
