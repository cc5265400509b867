"""The one-run lower bound on epsilon beside jax-privacy's, and how often each method's "bound" is above the truth.

    python benchmarks/one_run_bound.py --peer VENV/bin/python

`--peer` is a Python that has jax-privacy (2.0.0: `pip install jax-privacy` into an environment of its own, since it brings
jax); without it its columns stay empty. Two tables: the same scores through both, and mechanisms whose epsilon is known,
where a 95 % bound may be above the truth in one run of twenty.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import binom

from synguard.metrics.one_run import correct_guesses, epsilon_bound, gaussian_mu, lower_bound

CANARIES, DELTA = 200, 1e-5

PEER = r"""
import json, sys, warnings
warnings.filterwarnings("ignore")
import numpy as np
from jax_privacy import auditing as a
asked = json.load(sys.stdin)
found = []
for case in asked:
    scores, coins, delta = np.array(case["scores"]), np.array(case["coins"], dtype=bool), case["delta"]
    auditor = a.CanaryScoreAuditor(scores[coins], scores[~coins])
    row = {}
    for name in case["methods"]:
        if name == "one-run":
            row[name] = auditor.epsilon_one_run(0.05, delta)
        elif name == "one-run, multi-split":
            row[name] = auditor.epsilon_one_run(0.05, delta, threshold_strategy=a.MultiSplit(20, 0.5, 0))
        elif name == "clopper-pearson":
            row[name] = auditor.epsilon_clopper_pearson(0.05, delta, one_sided=False)
        elif name == "raw counts":
            row[name] = auditor.epsilon_raw_counts(5, delta, one_sided=False)
        else:
            threshold = a.Explicit(case["threshold"])
            method = auditor.epsilon_one_run_fdp if name == "fixed, f-DP" else auditor.epsilon_one_run
            row[name] = method(0.05, delta, threshold_strategy=threshold)
    found.append({name: float(value) for name, value in row.items()})
json.dump(found, sys.stdout)
"""


@dataclass(frozen=True)
class Mechanism:
    name: str
    epsilon: float
    draw: Callable[[np.random.Generator, np.ndarray], np.ndarray]


def answers(epsilon: float) -> Mechanism:
    """Randomised response, with a little noise so that thresholds have something to choose from."""

    def draw(rng: np.random.Generator, coins: np.ndarray) -> np.ndarray:
        told = np.where(rng.random(len(coins)) < expit(epsilon), coins, ~coins)
        return told + rng.random(len(coins))

    name = "nothing is told" if epsilon == 0 else f"randomised response, epsilon {epsilon:g}"
    return Mechanism(name, epsilon, draw)


def gaussian(mu: float) -> Mechanism:
    """Each coin with Gaussian noise: exactly mu-GDP."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_mu(middle, DELTA) < mu else (low, middle)
    return Mechanism(f"Gaussian, mu {mu:g}", high, lambda rng, coins: mu * coins + rng.normal(size=len(coins)))


def uncorrected(scores: np.ndarray, coins: np.ndarray) -> float:
    """The best of a grid of sqrt(m) x sqrt(m) pairs of guess numbers, delta 0 and no correction: as Privacy Meter does."""
    m = len(coins)
    steps = np.unique(np.linspace(0, m, round(math.sqrt(m)) + 1).round().astype(int))
    best = 0.0
    for ins in steps.tolist():
        for outs in steps.tolist():
            if 0 < ins + outs <= m:
                right = correct_guesses(scores, coins, ins, outs, 0)
                best = epsilon_bound(m, ins + outs, right, delta=0.0, form="approximate", beyond=best)
    return best


def ask(peer: str | None, cases: list[dict]) -> list[dict]:
    if peer is None:
        return [{} for _ in cases]
    done = subprocess.run([peer, "-c", PEER], input=json.dumps(cases), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def same_scores(peer: str | None, seed: int) -> None:
    print(f"\n## Same scores, {CANARIES} canaries, delta {DELTA:g}, 95 %\n")
    print(
        "| leak | guesses | ours | jax-privacy | ratio | ours, f-DP | jax-privacy, f-DP | ratio | ours, choice paid | ",
        end="",
    )
    print("jax-privacy, choice paid | ratio |\n|---|---|---|---|---|---|---|---|---|---|---|")
    rng = np.random.default_rng(seed)
    rows, cases = [], []
    for mu in (0.5, 1.0, 2.0, 3.0):
        coins = rng.random(CANARIES) < 0.5
        scores = mu * coins + rng.normal(size=CANARIES)
        guesses = CANARIES // 5
        threshold = float(np.sort(scores)[-guesses])
        right = correct_guesses(scores, coins, guesses, 0, 0)
        fixed = epsilon_bound(CANARIES, guesses, right, delta=DELTA, form="approximate")
        form = epsilon_bound(CANARIES, guesses, right, delta=DELTA, form="gaussian")
        rows.append((mu, guesses, fixed, form, lower_bound(scores, coins, delta=DELTA, form="approximate").epsilon))
        named = {"scores": scores.tolist(), "coins": coins.tolist(), "delta": DELTA, "threshold": threshold}
        cases.append(named | {"methods": ["fixed", "fixed, f-DP", "one-run"]})
    for (mu, guesses, *ours), theirs in zip(rows, ask(peer, cases), strict=True):
        cells = [f"mu {mu:g}", str(guesses)]
        for mine, name in zip(ours, ("fixed", "fixed, f-DP", "one-run"), strict=True):
            other = theirs.get(name)
            ratio = "–" if not other else f"{mine / other:.3f}"
            cells += [f"{mine:.3f}", "–" if other is None else f"{other:.3f}", ratio]
        print(f"| {' | '.join(cells)} |")


def above_the_truth(peer: str | None, runs: int, seed: int) -> None:
    allowed = int(binom.ppf(0.999, runs, 0.05))
    print(f"\n## How often a bound at 95 % is above the truth, of {runs} runs with {CANARIES} canaries\n")
    print(f"A sound one is so in no more than {allowed}, but for one time in a thousand. In brackets: the median bound.\n")
    theirs_names = ("one-run", "one-run, multi-split", "clopper-pearson", "raw counts")
    heads = ["ours", "ours, Steinke", *(f"jax-privacy, {name}" for name in theirs_names), "best of a grid, uncorrected"]
    print(f"| mechanism | epsilon | {' | '.join(heads)} |\n|{'---|' * (len(heads) + 2)}")
    for number, mechanism in enumerate((answers(0.0), answers(1.0), gaussian(1.0))):
        rng = np.random.default_rng([seed, number])
        drawn = []
        for _ in range(runs):
            coins = rng.random(CANARIES) < 0.5
            drawn.append((mechanism.draw(rng, coins), coins))
        columns = [
            [lower_bound(s, c, delta=DELTA, seed=i).epsilon for i, (s, c) in enumerate(drawn)],
            [lower_bound(s, c, delta=DELTA, form="approximate", seed=i).epsilon for i, (s, c) in enumerate(drawn)],
        ]
        cases = [
            {"scores": s.tolist(), "coins": c.tolist(), "delta": DELTA, "methods": list(theirs_names)} for s, c in drawn
        ]
        told = ask(peer, cases)
        columns += [[row.get(name, math.nan) for row in told] for name in theirs_names]
        columns.append([uncorrected(s, c) for s, c in drawn])
        cells = [_cell(np.array(column), mechanism.epsilon, runs, allowed) for column in columns]
        print(f"| {mechanism.name} | {mechanism.epsilon:.2f} | {' | '.join(cells)} |", flush=True)


def _cell(found: np.ndarray, truth: float, runs: int, allowed: int) -> str:
    if np.isnan(found).all():
        return "–"
    above = int((found > truth + 1e-6).sum())
    return f"{100 * above / runs:.1f} %{' ✗' if above > allowed else ''} ({np.median(found):.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="a Python with jax-privacy")
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    same_scores(given.peer, given.seed)
    above_the_truth(given.peer, given.runs, given.seed)


if __name__ == "__main__":
    main()
