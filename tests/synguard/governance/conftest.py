"""The gate's truth table: what `public-release` must say about releases whose state is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import pytest

from synguard.governance.policy import Policy, load_policy
from synguard.metrics.catalogue import CATALOGUE
from synguard.metrics.intervals import clopper_pearson_bounds
from synguard.metrics.sample_size import clean_bound
from synguard.results import Decision, Metric

Key = tuple[str, str | None]
CORE = ("identity", "mirrored", "turned", "jpeg-40", "brightened-1.3", "shrunk-75")
TRANSFORMS = (*CORE, "rotated-10", "crop-80", "blurred", "crop-50", "negative", "pasted-50", "blended-50")
WHITE, BLACK, SPLIT = "membership.white_box.auc", "membership.black_box.auc", "membership.split.auc"
AUTOENCODER = "memorisation.autoencoder.auc"
RATE, WHITE_RATE = "membership.black_box.tpr_at_fpr_0.01", "membership.white_box.tpr_at_fpr_0.01"
EXACT, VERIFIED = "memorisation.exact_copies", "memorisation.verified_copies"
NEAR, SHARE, RECALL = "memorisation.near_copy_rate", "memorisation.train_holdout_share", "memorisation.planted_recall"
LABELS = "labels.agreement_share"
ATTEMPTS = "run.attempts"
RISKS = ("disclosure.singling_out", "disclosure.linkability", "disclosure.inference")


def metric(name: str, value: float | None, n: int, group: str | None = None, **more: Any) -> Metric:
    return Metric(name=name, value=value, n=n, group=group, unit=CATALOGUE[name].unit, method="test", **more)


def share(name: str, k: int, n: int, group: str | None = None, *, ideal: float) -> Metric:
    attainable = clopper_pearson_bounds(round(ideal * n), n)
    return metric(name, k / n, n, group, bounds=clopper_pearson_bounds(k, n), attainable=attainable)


def auc(name: str, value: float, n: int) -> Metric:
    half = (clean_bound("auc", n) or 0) - 0.5
    return metric(name, value, n, bounds=(value - half, value + half), attainable=(0.5 - half, 0.5 + half))


def clean(n: int = 1000) -> dict[Key, Metric]:
    """The metrics of a release in which nothing is wrong, with n images, members, non-members and planted copies."""
    return {(m.name, m.group): m for m in _clean(n)}


@cache
def _clean(n: int) -> tuple[Metric, ...]:
    return (
        metric("data.overlap_pairs", 0, n),
        metric("data.overlap_images", 0.0, n),
        metric("accepted.images", n, n),
        metric(EXACT, 0, n),
        metric(EXACT, 0, n, "accepted"),
        metric(VERIFIED, 0, n),
        metric(VERIFIED, 0, n, "accepted"),
        *(share(RECALL, round(0.99 * n), n, name, ideal=1.0) for name in TRANSFORMS),
        share(NEAR, 0, n, ideal=0.0),
        share(SHARE, n // 2, n, ideal=0.5),
        auc(SPLIT, 0.5, n),
        auc(BLACK, 0.5, n),
        share(RATE, n // 100, n, ideal=0.01),
        auc(WHITE, 0.51, n),
        share(WHITE_RATE, n // 100, n, ideal=0.01),
        auc(AUTOENCODER, 0.51, n),
        metric(LABELS, 0.95, n, bounds=(0.93, 0.97), attainable=(0.96, 1.0)),
        metric(LABELS, 0.95, n, "dx=nevus", bounds=(0.91, 0.98), attainable=(0.95, 1.0)),
        *(metric(name, 0.0, n, bounds=(0.0, 0.08), attainable=(0.0, 0.08)) for name in RISKS),
        metric("run.quarantine_rate", 0.02, n, "labels"),
        metric("run.quarantine_rate", 0.0, n, "copies"),
        metric(ATTEMPTS, 1, 1),
    )


@dataclass(frozen=True)
class Row:
    """One line of the truth table. `change` edits the clean metrics; `checks` are statuses by check id and group."""

    name: str
    exit_code: int
    status: str
    change: Callable[[dict[Key, Metric]], None] = lambda metrics: None
    checks: Mapping[tuple[str, str | None], str] = field(default_factory=dict)
    reasons: tuple[str, ...] = ()
    released: tuple[str, ...] = ("images",)
    n: int = 1000
    fail_on_warn: bool = False


def put(*metrics: Metric) -> Callable[[dict[Key, Metric]], None]:
    return lambda found: found.update({(m.name, m.group): m for m in metrics})


def drop(*keys: Key) -> Callable[[dict[Key, Metric]], None]:
    def change(found: dict[Key, Metric]) -> None:
        for key in keys:
            del found[key]

    return change


def state(key: Key, state: str, note: str = "") -> Callable[[dict[Key, Metric]], None]:
    return lambda found: found.update({key: replace(found[key], state=state, note=note, value=None, bounds=None)})


def both(*changes: Callable[[dict[Key, Metric]], None]) -> Callable[[dict[Key, Metric]], None]:
    def change(found: dict[Key, Metric]) -> None:
        for one in changes:
            one(found)

    return change


COPIED = (metric(VERIFIED, 1, 1000), metric(EXACT, 1, 1000))
SPOILT = metric("data.overlap_pairs", 3, 1000, note="private/a.png and holdout/b.png")
ROWS = (
    Row("clean", 0, "pass"),
    Row("clean, with the model", 0, "pass", released=("images", "model")),
    Row(
        "exact copy accepted",
        20,
        "fail",
        put(metric(EXACT, 1, 1000, "accepted")),
        {("exact-copies-accepted", "accepted"): "fail"},
    ),
    Row(
        "verified copy accepted",
        20,
        "fail",
        put(metric(VERIFIED, 1, 1000, "accepted")),
        {("verified-copies-accepted", "accepted"): "fail"},
        ("memorisation.verified_copies (accepted): 1 of 1,000 images; fails above 0 images.",),
    ),
    Row("one quarantined copy of a thousand", 20, "fail", put(*COPIED), {("verified-copies-candidates", None): "fail"}),
    Row("50 quarantined copies of a million", 0, "pass", put(metric(VERIFIED, 50, 10**6))),
    Row("100 quarantined copies of a million", 0, "pass", put(metric(VERIFIED, 100, 10**6))),
    Row("101 quarantined copies of a million", 20, "fail", put(metric(VERIFIED, 101, 10**6))),
    Row(
        "copy and spoilt holdout",
        20,
        "fail",
        put(*COPIED, SPOILT),
        {("holdout-apart", None): "invalid"},
        ("private/a.png and holdout/b.png",),
    ),
    Row(
        "copy seen by an audit that is invalid",
        20,
        "fail",
        put(replace(COPIED[0], state="invalid")),
        {("verified-copies-candidates", None): "fail"},
    ),
    Row(
        "spoilt holdout",
        22,
        "insufficient",
        put(SPOILT),
        {("holdout-apart", None): "invalid"},
        ("private/a.png and holdout/b.png",),
    ),
    Row(
        "some twins in the holdout",
        0,
        "warn",
        put(metric("data.overlap_images", 0.02, 1000)),
        {("holdout-twins", None): "warn"},
    ),
    Row(
        "many twins in the holdout",
        22,
        "insufficient",
        put(metric("data.overlap_images", 0.06, 1000)),
        {("holdout-twins", None): "invalid"},
    ),
    Row(
        "audit blind to turned copies",
        20,
        "fail",
        put(share(RECALL, 800, 1000, "turned", ideal=1)),
        {("planted-copies-found", "turned"): "fail"},
    ),
    Row(
        "audit blind to moved copies",
        20,
        "fail",
        put(share(RECALL, 0, 1000, "crop-80", ideal=1)),
        {("moved-copies-found", "crop-80"): "fail", ("moved-copies-found", "rotated-10"): "pass"},
        (
            "memorisation.planted_recall (crop-80): 0 of 1,000 planted copies, one-sided lower 95 % bound 0 %;"
            " fails below 50 %",
        ),
    ),
    Row(
        "audit blind to shrunken copies",
        20,
        "fail",
        put(share(RECALL, 800, 1000, "shrunk-75", ideal=1)),
        {("planted-copies-found", "shrunk-75"): "fail"},
    ),
    Row(
        "audit blind to parts",
        0,
        "warn",
        put(share(RECALL, 0, 1000, "crop-50", ideal=1)),
        {("partial-copies-found", "crop-50"): "warn", ("partial-copies-found", "negative"): "pass"},
    ),
    Row(
        "audit blind to blurred copies",
        20,
        "fail",
        put(share(RECALL, 0, 1000, "blurred", ideal=1)),
        {("moved-copies-found", "blurred"): "fail", ("moved-copies-found", "crop-80"): "pass"},
    ),
    Row(
        "20 copies planted",
        22,
        "insufficient",
        put(share(RECALL, 20, 20, "turned", ideal=1)),
        {("planted-copies-found", "turned"): "insufficient"},
        ("at least 29 planted copies",),
    ),
    Row(
        "turned copies not planted",
        22,
        "insufficient",
        drop((RECALL, "turned")),
        {("planted-copies-found", "turned"): "insufficient"},
    ),
    Row("near copies", 20, "fail", put(share(NEAR, 12, 1000, ideal=0)), {("near-copy-rate", None): "fail"}),
    Row(
        "near copies under the limit, bound over it",
        20,
        "fail",
        put(share(NEAR, 6, 1000, ideal=0)),
        {("near-copy-rate", None): "fail"},
    ),
    Row("a few near copies", 0, "pass", put(share(NEAR, 4, 1000, ideal=0))),
    Row("no near copy of 299", 0, "pass", put(share(NEAR, 0, 299, ideal=0))),
    Row(
        "no near copy of 298",
        22,
        "insufficient",
        put(share(NEAR, 0, 298, ideal=0)),
        {("near-copy-rate", None): "insufficient"},
        ("at least 299 images",),
    ),
    Row("30 near copies of 30", 20, "fail", put(share(NEAR, 30, 30, ideal=0)), {("near-copy-rate", None): "fail"}),
    Row(
        "30 images",
        22,
        "insufficient",
        lambda m: m.update(clean(30)),
        {
            ("near-copy-rate", None): "insufficient",
            ("train-holdout-share", None): "insufficient",
            ("black-box-auc", None): "insufficient",
        },
        (
            "0 of 30 images, one-sided upper 95 % bound 9.5 %",
            "at least 299 images",
            "at least 76 images",
            "at least 181 images a side",
        ),
    ),
    Row(
        "nearer to private, a little",
        0,
        "warn",
        put(share(SHARE, 540, 1000, ideal=0.5)),
        {("train-holdout-share", None): "warn"},
    ),
    Row("nearer to private, a little, and strict", 10, "warn", put(share(SHARE, 540, 1000, ideal=0.5)), fail_on_warn=True),
    Row("nearer to private", 20, "fail", put(share(SHARE, 590, 1000, ideal=0.5)), {("train-holdout-share", None): "fail"}),
    Row(
        "split told apart",
        22,
        "insufficient",
        both(
            put(replace(auc(SPLIT, 0.59, 1000), state="invalid", note="told apart at 0.59")),
            state((BLACK, None), "invalid", "told apart at 0.59"),
        ),
        {("split-told-apart", None): "invalid", ("black-box-auc", None): "invalid"},
        ("told apart at 0.59",),
    ),
    Row(
        "split told apart, not noticed by the audit",
        22,
        "insufficient",
        put(auc(SPLIT, 0.65, 1000)),
        {("split-told-apart", None): "invalid"},
    ),
    Row(
        "split that may be told apart",
        22,
        "insufficient",
        put(auc(SPLIT, 0.55, 1000)),
        {("split-told-apart", None): "insufficient"},
        ("it may not be above 0.56, and 1,000 images a side neither show nor exclude that it is.",),
    ),
    Row("black box sees members", 20, "fail", put(auc(BLACK, 0.60, 1000)), {("black-box-auc", None): "fail"}),
    Row("black box bound over the limit", 20, "fail", put(auc(BLACK, 0.54, 1000)), {("black-box-auc", None): "fail"}),
    Row(
        "black box too small",
        22,
        "insufficient",
        put(auc(BLACK, 0.5, 150)),
        {("black-box-auc", None): "insufficient"},
        ("at least 181 images a side",),
    ),
    Row("black box small, and yet clear", 20, "fail", put(auc(BLACK, 0.8, 150)), {("black-box-auc", None): "fail"}),
    *(
        Row(
            f"{name} by one patient in eight",
            20,
            "fail",
            put(metric(name, 0.12, 300, bounds=(0.06, 0.19), attainable=(0.0, 0.13))),
            {(check, None): "fail"},
        )
        for name, check in zip(RISKS, ("singling-out", "linkability", "inference"), strict=True)
    ),
    *(
        Row(
            f"{name} that may be chance",
            0,
            "pass",
            put(metric(name, 0.08, 300, bounds=(0.02, 0.15), attainable=(0.0, 0.13))),
        )
        for name in RISKS
    ),
    Row(
        "no attribute to infer",
        0,
        "warn",
        state((RISKS[2], None), "not_tested", "the release has no attribute with levels"),
        {("inference", None): "warn"},
        ("the release has no attribute with levels",),
    ),
    Row("black box names a few", 20, "fail", put(share(RATE, 40, 1000, ideal=0.01)), {("black-box-rate", None): "fail"}),
    Row(
        "white box leaky, model held back",
        0,
        "warn",
        put(auc(WHITE, 0.65, 1000)),
        {("white-box-auc-model-held-back", None): "warn"},
    ),
    Row(
        "white box leaky, model released",
        20,
        "fail",
        put(auc(WHITE, 0.65, 1000)),
        {("white-box-auc-model-released", None): "fail"},
        released=("images", "model"),
    ),
    Row(
        "white box names one in six, model released",
        20,
        "fail",
        both(put(auc(WHITE, 0.58, 1000)), put(share(WHITE_RATE, 160, 1000, ideal=0.01))),
        {("white-box-rate-model-released", None): "fail"},
        released=("images", "model"),
    ),
    Row(
        "white box names one in six, model held back",
        0,
        "warn",
        put(share(WHITE_RATE, 160, 1000, ideal=0.01)),
        {("white-box-rate-model-held-back", None): "warn"},
    ),
    Row(
        "white-box rate forgotten",
        22,
        "insufficient",
        drop((WHITE_RATE, None)),
        {("white-box-rate-model-held-back", None): "insufficient"},
    ),
    Row(
        "autoencoder knows its patients, model held back",
        0,
        "warn",
        put(auc(AUTOENCODER, 0.95, 1000)),
        {("autoencoder-auc-model-held-back", None): "warn"},
    ),
    Row(
        "autoencoder knows its patients, model released",
        20,
        "fail",
        put(auc(AUTOENCODER, 0.65, 1000)),
        {("autoencoder-auc-model-released", None): "fail"},
        released=("images", "model"),
    ),
    Row(
        "no autoencoder to test, model held back",
        0,
        "warn",
        state((AUTOENCODER, None), "not_tested", "no model with an autoencoder was given"),
        {("autoencoder-auc-model-held-back", None): "warn"},
        ("not tested: no model with an autoencoder was given",),
    ),
    Row(
        "no autoencoder to test, model released",
        22,
        "insufficient",
        state((AUTOENCODER, None), "not_tested"),
        {("autoencoder-auc-model-released", None): "insufficient"},
        released=("images", "model"),
    ),
    Row(
        "autoencoder on a split that can be told apart",
        22,
        "insufficient",
        state((AUTOENCODER, None), "invalid", "told apart at 0.59"),
        {("autoencoder-auc-model-held-back", None): "invalid"},
    ),
    Row(
        "white box broken open, model held back",
        20,
        "fail",
        put(auc(WHITE, 0.75, 1000)),
        {("white-box-auc-model-held-back", None): "fail"},
    ),
    Row(
        "no model to test, model held back",
        0,
        "warn",
        state((WHITE, None), "not_tested", "no model was given"),
        {("white-box-auc-model-held-back", None): "warn"},
        ("not tested: no model was given",),
    ),
    Row(
        "no model to test, model released",
        22,
        "insufficient",
        state((WHITE, None), "not_tested"),
        {("white-box-auc-model-released", None): "insufficient"},
        released=("images", "model"),
    ),
    Row(
        "white box forgotten",
        22,
        "insufficient",
        drop((WHITE, None)),
        {("white-box-auc-model-held-back", None): "insufficient"},
    ),
    Row(
        "labels lost",
        20,
        "fail",
        put(metric(LABELS, 0.7, 1000, bounds=(0.67, 0.73), attainable=(0.96, 1))),
        {("label-agreement", None): "fail"},
    ),
    Row(
        "labels of one class lost",
        20,
        "fail",
        put(metric(LABELS, 0.5, 120, "dx=melanoma", bounds=(0.4, 0.6), attainable=(0.9, 1))),
        {("label-agreement-each-class", "dx=melanoma"): "fail"},
    ),
    Row(
        "labels of a small class lost",
        0,
        "warn",
        put(metric(LABELS, 0.5, 20, "dx=melanoma", bounds=(0.3, 0.7), attainable=(0.8, 1))),
        {("label-agreement-each-class", None): "warn"},
        ("dx=melanoma (20)",),
    ),
    Row(
        "labels of one class perhaps lost",
        0,
        "warn",
        put(metric(LABELS, 0.8, 120, "dx=melanoma", bounds=(0.7, 0.9), attainable=(0.82, 1))),
        {("label-agreement-each-class", "dx=melanoma"): "warn"},
    ),
    Row(
        "a class that the diagnostic model cannot read",
        0,
        "warn",
        put(metric(LABELS, None, 120, "dx=melanoma", state="insufficient", note="no better than chance")),
        {("label-agreement-each-class", None): "warn"},
        ("with too little evidence dx=melanoma (120) (no better than chance)",),
    ),
    Row(
        "no class that the diagnostic model could read",
        22,
        "insufficient",
        put(metric(LABELS, None, 1000, state="insufficient", note="no better than chance")),
        {("label-agreement", None): "insufficient"},
    ),
    Row(
        "stopped by the circuit breaker",
        22,
        "insufficient",
        put(metric("accepted.images", 400, 2000, state="insufficient", note="stopped by the circuit breaker")),
        {("release-complete", None): "insufficient"},
        ("stopped by the circuit breaker",),
    ),
    Row(
        "nothing accepted",
        22,
        "insufficient",
        put(metric("accepted.images", 0, 2000)),
        {("release-complete", None): "invalid"},
    ),
    Row(
        "labels of one class lost, of exactly as many images as are judged",
        20,
        "fail",
        put(metric(LABELS, 0.5, 100, "dx=melanoma", bounds=(0.4, 0.6), attainable=(0.9, 1))),
        {("label-agreement-each-class", "dx=melanoma"): "fail"},
    ),
    Row(
        "class with bounds of too little confidence",
        22,
        "insufficient",
        put(metric(LABELS, 0.95, 120, "dx=melanoma", bounds=(0.9, 1.0), confidence=0.8)),
        {("label-agreement-each-class", "dx=melanoma"): "insufficient"},
    ),
    Row(
        "one copy, with the model released",
        20,
        "fail",
        put(metric(VERIFIED, 1, 1000, "accepted")),
        {("verified-copies-accepted", "accepted"): "fail"},
        released=("images", "model"),
    ),
    Row(
        "counts are held as counted, whatever bounds they have",
        0,
        "warn",
        put(
            metric("data.overlap_images", 0.04, 1000, bounds=(0.03, 0.06)),
            metric("run.quarantine_rate", 0.19, 1000, "labels", bounds=(0.17, 0.22)),
        ),
        {("holdout-twins", None): "warn", ("label-quarantine", "labels"): "pass"},
    ),
    Row(
        "no candidate",
        22,
        "insufficient",
        put(metric(VERIFIED, 0, 0)),
        {("verified-copies-candidates", None): "insufficient"},
    ),
    Row("one image accepted", 0, "pass", put(metric(VERIFIED, 0, 1, "accepted"))),
    Row(
        "30 images, and an audit that does not say what was attainable",
        22,
        "insufficient",
        put(
            replace(share(NEAR, 0, 30, ideal=0), attainable=None),
            replace(share(RECALL, 20, 20, "turned", ideal=1), attainable=None),
        ),
        {("near-copy-rate", None): "insufficient", ("planted-copies-found", "turned"): "insufficient"},
    ),
    Row(
        "near copies, and an audit that does not say what was attainable",
        20,
        "fail",
        put(replace(share(NEAR, 6, 1000, ideal=0), attainable=None)),
        {("near-copy-rate", None): "fail"},
    ),
    Row(
        "black box over the limit, and an audit that does not say what was attainable",
        20,
        "fail",
        put(replace(auc(BLACK, 0.5, 150), attainable=None)),
        {("black-box-auc", None): "fail"},
    ),
    Row("bounds that meet", 0, "pass", put(metric(BLACK, 0.5, 1000, bounds=(0.5, 0.5)))),
    Row(
        "bounds the wrong way round",
        22,
        "error",
        put(metric(BLACK, 0.5, 1000, bounds=(0.52, 0.48))),
        {("black-box-auc", None): "error"},
    ),
    Row(
        "bounds that are no numbers",
        22,
        "error",
        put(metric(BLACK, 0.5, 1000, bounds=(0.48, float("nan")))),
        {("black-box-auc", None): "error"},
    ),
    Row(
        "unlabelled release",
        0,
        "warn",
        both(
            drop((LABELS, "dx=nevus")),
            state((LABELS, None), "not_tested", "unlabelled"),
            state(("run.quarantine_rate", "labels"), "not_tested"),
        ),
        {
            ("label-agreement", None): "warn",
            ("label-agreement-each-class", None): "warn",
            ("label-quarantine", "labels"): "warn",
        },
    ),
    Row(
        "no class judged",
        22,
        "insufficient",
        drop((LABELS, "dx=nevus")),
        {("label-agreement-each-class", None): "insufficient"},
    ),
    Row(
        "many refused for labels",
        0,
        "warn",
        put(metric("run.quarantine_rate", 0.3, 1000, "labels")),
        {("label-quarantine", "labels"): "warn"},
    ),
    Row(
        "copies not counted",
        22,
        "insufficient",
        drop((VERIFIED, None)),
        {("verified-copies-candidates", None): "insufficient"},
    ),
    Row(
        "copies counted on nothing",
        22,
        "insufficient",
        put(metric(VERIFIED, 0, 0, "accepted")),
        {("verified-copies-accepted", "accepted"): "insufficient"},
    ),
    Row(
        "audit errored",
        22,
        "error",
        state((NEAR, None), "error", "out of memory"),
        {("near-copy-rate", None): "error"},
        ("out of memory",),
    ),
    Row("audit errored, and a copy", 20, "fail", both(state((NEAR, None), "error"), put(*COPIED))),
    Row("measured without bounds", 22, "error", put(metric(NEAR, 0.0, 1000)), {("near-copy-rate", None): "error"}),
    Row(
        "measured as NaN",
        22,
        "error",
        put(metric(VERIFIED, float("nan"), 1000)),
        {("verified-copies-candidates", None): "error"},
    ),
    Row(
        "measured in another unit",
        22,
        "error",
        put(replace(share(NEAR, 0, 1000, ideal=0), unit="%")),
        {("near-copy-rate", None): "error"},
    ),
    Row(
        "bounds of too little confidence",
        22,
        "insufficient",
        put(replace(share(NEAR, 0, 1000, ideal=0), confidence=0.8)),
        {("near-copy-rate", None): "insufficient"},
    ),
    Row("fourth attempt", 0, "warn", put(metric(ATTEMPTS, 4, 4)), {("attempts", None): "warn"}),
    Row("fifth attempt, and strict", 10, "warn", put(metric(ATTEMPTS, 5, 5)), fail_on_warn=True),
    Row(
        "sixth attempt",
        20,
        "fail",
        put(metric(ATTEMPTS, 6, 6)),
        {("attempts", None): "fail"},
        ("run.attempts: 6 attempts; fails above 5 attempts.",),
    ),
    Row(
        "attempts that nobody counted",
        22,
        "insufficient",
        state((ATTEMPTS, None), "not_tested", "no ledger"),
        {("attempts", None): "insufficient"},
        ("not tested: no ledger",),
    ),
    Row(
        "attempts without a word",
        22,
        "insufficient",
        drop((ATTEMPTS, None)),
        {("attempts", None): "insufficient"},
    ),
    Row("nothing measured", 22, "insufficient", lambda m: m.clear()),
    Row("nothing released", 22, "insufficient", released=()),
    Row(
        "something else released",
        22,
        "insufficient",
        released=("images", "embeddings"),
        reasons=("says nothing about a release of embeddings",),
    ),
)


@cache
def public_release() -> Policy:
    return load_policy("public-release")


def mismatches(decide: Callable[..., Decision], rows: tuple[Row, ...] = ROWS) -> list[str]:
    """Names of the rows that `decide` gets wrong, with what it said."""
    policy = public_release()
    return [f"{row.name}: {wrong}" for row in rows for wrong in _wrong(decide, policy, row)]


def _wrong(decide: Callable[..., Decision], policy: Policy, row: Row) -> list[str]:
    metrics = clean(row.n)
    row.change(metrics)
    decision = decide(policy, list(metrics.values()), released=row.released, fail_on_warn=row.fail_on_warn)
    found = {(check.id, check.group): check.status for check in decision.checks}
    wrong = []
    if (decision.exit_code, decision.status) != (row.exit_code, row.status):
        wrong.append(f"found {decision.exit_code} {decision.status}, expected {row.exit_code} {row.status}")
    wrong += [
        f"{key}: found {found.get(key)}, expected {status}" for key, status in row.checks.items() if found.get(key) != status
    ]
    text = "\n".join(decision.reasons)
    wrong += [f"found no reason with {part!r}" for part in row.reasons if part not in text]
    return wrong


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", ROWS, ids=[row.name for row in ROWS])


@pytest.fixture
def table() -> Callable[..., list[str]]:
    """The truth table as a function of a gate: the rows that the gate gets wrong."""
    return mismatches


@pytest.fixture
def clean_metrics() -> Callable[..., dict[Key, Metric]]:
    return clean


@pytest.fixture
def policy() -> Policy:
    return public_release()
