"""The chance that a clean release passes each limit of `public-release`, by binomial and normal formulas.

    python benchmarks/clean_pass_chance.py

prints the table of docs/policies.md. Limits are read from the policy itself. n is the number of candidates, of images a side
for membership, of patients a side for disclosure risks, of planted copies for recall (100, as the audit plants by default),
and of images of a class for labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import beta, binom, norm

from synguard.governance.policy import load_policy
from synguard.metrics.sample_size import auc_standard_error

SIZES = (300, 1000, 5000)
CONFIDENCE = 0.95
Z = float(norm.ppf(CONFIDENCE))


def at_most(n: int, p: float, limit: float) -> float:
    """Chance that the exact upper bound of a Binomial(n, p) share is not above the limit."""
    k = np.arange(n)
    kept = beta.ppf(CONFIDENCE, k + 1, n - k) <= limit
    return float(binom.cdf(int(kept.sum()) - 1, n, p)) if kept.any() else 0.0


def at_least(n: int, p: float, limit: float) -> float:
    """Chance that the exact lower bound of a Binomial(n, p) share is not below the limit."""
    return at_most(n, 1 - p, 1 - limit)


def no_more_than(n: int, p: float, limit: float) -> float:
    """Chance that the share itself is not above the limit."""
    return float(binom.cdf(math.floor(limit * n + 1e-9), n, p))


def auc_at_most(n: int, true: float, limit: float) -> float:
    """Chance that the upper bound of an AUC of n against n unrelated scores is not above the limit."""
    se = auc_standard_error(n, n)
    return float(norm.cdf((limit - Z * se - true) / se))


def ratio_at_least(n: int, holdout: int, ceiling: float, true: float, limit: float, *, proven: bool) -> float:
    """Chance that agreement over the ceiling, both measured, passes: by its lower bound, or unless its upper one breaks."""
    odds = (1 - ceiling) / ceiling
    se = true * math.sqrt(odds / n + odds / holdout)
    return float(norm.cdf((true - limit + (Z if proven else -Z) * se) / se))


def risk_not_shown(n: int, attack: float, control: float, limit: float) -> float:
    """Chance that the lower bound of a residual risk, n patients a side, is not above the limit."""
    ratio = (1 - attack) / (1 - control)
    se = math.sqrt((attack / (1 - attack) + control / (1 - control)) / n)  # of the log of the ratio of failures
    return float(norm.cdf((math.log(ratio) - math.log(1 - limit) + Z * se) / se))


def rows() -> list[tuple[str, str, Callable[[int], float]]]:
    """Check and level, what clean means for it, and the chance for n images."""
    limit = {(c.id, level): x.value for c in load_policy("public-release").checks for level, x in c.limits.items()}
    copies, near = limit["verified-copies-candidates", "fail"], limit["near-copy-rate", "fail"]
    recall, split = limit["planted-copies-found", "fail"], limit["split-told-apart", "invalid"]
    share, share_warn = limit["train-holdout-share", "fail"], limit["train-holdout-share", "warn"]
    black, rate = limit["black-box-auc", "fail"], limit["black-box-rate", "fail"]
    white, held = limit["white-box-auc-model-released", "fail"], limit["white-box-auc-model-held-back", "fail"]
    white_rate = limit["white-box-rate-model-released", "fail"]
    coder, coder_warn = limit["autoencoder-auc-model-released", "fail"], limit["autoencoder-auc-model-held-back", "warn"]
    single, linked = limit["singling-out", "fail"], limit["linkability", "fail"]
    labels, quarantine = limit["label-agreement", "fail"], limit["label-quarantine", "warn"]
    return [
        ("verified-copies, fail", "no copy, no false alarm", lambda n: no_more_than(n, 0.0, copies)),
        ("verified-copies, fail", "false alarm once in 100,000 images", lambda n: no_more_than(n, 1e-5, copies)),
        ("planted-copies-found, fail", "99 % found, 100 planted, 6 transforms", lambda n: at_least(100, 0.99, recall) ** 6),
        ("planted-copies-found, fail", "97 % found, 100 planted, 6 transforms", lambda n: at_least(100, 0.97, recall) ** 6),
        (
            "planted-copies-found, fail",
            "97 % found, 1,000 planted, 6 transforms",
            lambda n: at_least(1000, 0.97, recall) ** 6,
        ),
        ("near-copy-rate, fail", "no near copy", lambda n: at_most(n, 0.0, near)),
        ("near-copy-rate, fail", "one image in 1,000 is a near copy by chance", lambda n: at_most(n, 0.001, near)),
        ("train-holdout-share, fail", "as near to either set", lambda n: at_most(n, 0.5, share)),
        ("train-holdout-share, warn", "as near to either set", lambda n: at_most(n, 0.5, share_warn)),
        ("split-told-apart, invalid", "AUC of 0.5", lambda n: auc_at_most(n, 0.5, split)),
        ("black-box-auc, fail", "AUC of 0.5", lambda n: auc_at_most(n, 0.5, black)),
        ("black-box-auc, fail", "AUC of 0.51", lambda n: auc_at_most(n, 0.51, black)),
        ("black-box-rate, fail", "1 % named", lambda n: at_most(n, 0.01, rate)),
        ("white-box, released, fail", "AUC of 0.52", lambda n: auc_at_most(n, 0.52, white)),
        ("white-box, held back, fail", "AUC of 0.60", lambda n: auc_at_most(n, 0.60, held)),
        ("white-box-rate, released, fail", "1 % named", lambda n: at_most(n, 0.01, white_rate)),
        ("white-box-rate, released, fail", "2 % named", lambda n: at_most(n, 0.02, white_rate)),
        ("autoencoder, released, fail", "AUC of 0.52", lambda n: auc_at_most(n, 0.52, coder)),
        ("autoencoder, held back, warn", "AUC of 0.52", lambda n: auc_at_most(n, 0.52, coder_warn)),
        ("singling-out, fail", "as on unseen patients, 1 %", lambda n: risk_not_shown(n, 0.01, 0.01, single)),
        ("linkability, fail", "as on unseen patients, 30 %", lambda n: risk_not_shown(n, 0.3, 0.3, linked)),
        ("linkability, fail", "35 % against 30 % unseen", lambda n: risk_not_shown(n, 0.35, 0.3, linked)),
        ("label-agreement, fail", "as good as real", lambda n: ratio_at_least(n, 1000, 0.7, 1.0, labels, proven=False)),
        ("label-agreement, fail", "9 in 10 of real", lambda n: ratio_at_least(n, 1000, 0.7, 0.9, labels, proven=False)),
        ("one class, if held as the whole", "as good as real, n / 10", lambda n: _class(n, 1.0, labels, proven=False)),
        ("one class, as it is held, fail", "as good as real, n / 10", lambda n: _class(n, 1.0, labels, proven=True)),
        ("one class, as it is held, fail", "9 in 10 of real, n / 10", lambda n: _class(n, 0.9, labels, proven=True)),
        ("label-quarantine, warn", "one in ten refused", lambda n: no_more_than(n, 0.1, quarantine)),
    ]


def _class(n: int, true: float, limit: float, *, proven: bool) -> float:
    return ratio_at_least(n // 10, 100, 0.6, true, limit, proven=proven)


def table() -> str:
    """The table in Markdown."""
    lines = [
        f"| check | clean means | {' | '.join(f'n = {n:,}' for n in SIZES)} |",
        f"|---|---|{'---:|' * len(SIZES)}",
    ]
    for check, meaning, chance in rows():
        lines.append(f"| {check} | {meaning} | {' | '.join(_percent(chance(n)) for n in SIZES)} |")
    return "\n".join(lines)


def _percent(chance: float) -> str:
    if chance >= 0.99995:
        return "> 99.99 %" if chance < 1 else "100 %"
    return f"{100 * chance:.1f} %" if chance < 0.999 else f"{100 * chance:.2f} %"


if __name__ == "__main__":
    print(table())
