"""Lines under the verdict: each open matter once, the gravest first."""

from __future__ import annotations

from reports.checks import CheckFact
from reports.reasons import Reason, leading


def check(metric: str, status: str, reason: str, group: str | None = None) -> CheckFact:
    return CheckFact(metric, group, metric, status, None, None, None, "", None, "", "", 0, reason)


def said(*checks: CheckFact) -> tuple[Reason, ...]:
    return leading(checks, lambda one: one.reason)


def test_what_passed_or_was_waived_is_no_reason():
    assert said(check("labels.agreement", "pass", "a"), check("labels.agreement", "waived", "b")) == ()


def test_the_same_copies_are_told_once_and_other_failures_apart():
    found = said(
        check("memorisation.exact_copies", "fail", "15 exact.", "accepted"),
        check("memorisation.verified_copies", "fail", "15 verified."),
        check("memorisation.near_copy_rate", "fail", "1.5 %."),
        check("membership.black_box.auc", "fail", "0.9."),
        check("memorisation.near_copy_rate", "warn", "0.5 %."),
    )
    assert found == (
        Reason("fail", "15 exact. 2 further checks are about the same."),
        Reason("fail", "0.9."),
        Reason("warn", "0.5 %."),
    )


def test_an_unfit_split_is_told_before_what_it_spoils():
    found = said(
        check("membership.black_box.auc", "invalid", "void."),
        check("membership.split.auc", "invalid", "told apart."),
        check("data.overlap_pairs", "invalid", "overlap."),
    )
    assert found == (Reason("invalid", "told apart. 1 further check is about the same."), Reason("invalid", "overlap."))


def test_one_sentence_is_said_once():
    found = said(check("labels.agreement", "insufficient", "too few.", "a"), check("labels.b", "insufficient", "too few."))
    assert found == (Reason("insufficient", "too few. 1 further check is about the same."),)
