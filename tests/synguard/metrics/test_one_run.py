"""The one-run bound: known answers, soundness where epsilon is known, and what a bound without correction would do."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import beta, binom, norm

from synguard.metrics.one_run import PLANS, best_possible, correct_guesses, epsilon_bound, gaussian_mu, lower_bound

RUNS = 400
ALLOWED = int(binom.ppf(0.999, RUNS, 0.05))
"""Bounds above the truth that a sound 95 % bound has in 400 runs, but for one time in a thousand."""


# canaries, guesses, right, delta: what jax-privacy 2.0.0 gives (auditing._epsilon_one_run, _epsilon_one_run_fdp), at 95 %.
JAX_PRIVACY = [
    (500, 100, 80, 1e-5, 0.9569, 1.5564),
    (500, 500, 350, 1e-5, 0.6830, 1.3520),
    (1000, 100, 99, 1e-4, 2.8410, 4.1163),
    (200, 40, 38, 1e-3, 1.3925, 2.0979),
    (500, 50, 50, 1e-6, 2.7833, 4.9582),
]


@pytest.mark.parametrize(("m", "guesses", "right", "delta", "approximate", "gaussian"), JAX_PRIVACY)
def test_agrees_with_jax_privacy(m, guesses, right, delta, approximate, gaussian):
    assert epsilon_bound(m, guesses, right, delta=delta, form="approximate") == pytest.approx(approximate, abs=1e-4)
    assert epsilon_bound(m, guesses, right, delta=delta, form="gaussian") == pytest.approx(gaussian, abs=1e-4)


@pytest.mark.parametrize(("guesses", "right"), [(10, 10), (100, 80), (500, 300), (30, 16)])
def test_without_delta_it_is_the_exact_binomial_bound(guesses, right):
    low = beta.ppf(0.05, right, guesses - right + 1)
    assert epsilon_bound(500, guesses, right, delta=0, form="approximate") == pytest.approx(
        max(0.0, math.log(low / (1 - low))), abs=1e-6
    )


def test_all_right_as_in_the_literature():
    """refs: r = 10 -> 1.05, 100 -> 3.49, 1000 -> 5.78 at delta 1e-5."""
    for guesses, expected in ((10, 1.05), (100, 3.49), (1000, 5.78)):
        found = epsilon_bound(guesses, guesses, guesses, delta=1e-5, form="approximate")
        assert found == pytest.approx(expected, abs=0.006)


@settings(max_examples=60)
@given(
    st.integers(1, 200).flatmap(lambda g: st.tuples(st.just(g), st.integers(0, g))),
    st.sampled_from(["approximate", "f-dp", "gaussian"]),
    st.floats(1e-7, 1e-2),
)
def test_more_right_guesses_more_epsilon_and_more_delta_or_confidence_less(counts, form, delta):
    guesses, right = counts
    found = epsilon_bound(300, guesses, right, delta=delta, form=form)
    assert found >= 0
    if right < guesses:
        assert epsilon_bound(300, guesses, right + 1, delta=delta, form=form) >= found - 1e-6
    assert epsilon_bound(300, guesses, right, delta=2 * delta, form=form) <= found + 1e-6
    assert epsilon_bound(300, guesses, right, delta=delta, confidence=0.99, form=form) <= found + 1e-6


def test_gaussian_mu_is_the_inverse_of_the_gaussian_trade_off():
    for mu in (0.3, 1.0, 4.0):
        for epsilon in (0.0, 0.5, 3.0):
            delta = norm.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * norm.cdf(-epsilon / mu - mu / 2)
            assert gaussian_mu(epsilon, delta) == pytest.approx(mu, rel=1e-6)


def responses(epsilon, m, rng):
    """Coins, and the same coins as randomised response tells them: exactly (epsilon, 0)-DP."""
    coins = rng.random(m) < 0.5
    told = np.where(rng.random(m) < expit(epsilon), coins, ~coins)
    return told.astype(float), coins


@pytest.mark.parametrize("form", ["approximate", "f-dp"])
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 3.0])
def test_sound_on_randomised_response(epsilon, form):
    rng = np.random.default_rng([int(epsilon), len(form)])
    above = 0
    for seed in range(RUNS):
        told, coins = responses(epsilon, 120, rng)
        above += lower_bound(told, coins, delta=1e-5, form=form, seed=seed).epsilon > epsilon
    assert above <= ALLOWED


def test_sound_and_tight_when_the_guesses_are_fixed():
    """One plan, all coins guessed: the bound is above the truth in about 5 % of the runs, and near it in most."""
    rng = np.random.default_rng(8)
    found = []
    for _ in range(RUNS):
        told, coins = responses(1.0, 1000, rng)
        # Which half is called "in" does not matter, so the answers themselves are judged.
        right = int((told == coins).sum())
        found.append(epsilon_bound(1000, 1000, right, delta=0.0))
    assert (np.array(found) > 1.0).sum() <= ALLOWED
    assert np.median(found) > 0.85


@pytest.mark.parametrize("form", ["approximate", "f-dp"])
def test_sound_where_all_coins_are_told_with_probability_delta(form):
    """What delta allows: now and then everything is given away at once."""
    rng = np.random.default_rng(4)
    delta, above = 0.02, 0
    for seed in range(RUNS):
        told, coins = responses(0.5, 120, rng)
        if rng.random() < delta:
            told = coins.astype(float)
        above += lower_bound(told, coins, delta=delta, form=form, seed=seed).epsilon > 0.5
    assert above <= ALLOWED


@pytest.mark.parametrize("form", ["approximate", "f-dp"])
@pytest.mark.parametrize(("m", "delta", "epsilon"), [(500, 1e-3, 0.5), (200, 1e-3, 0.0), (100, 1e-2, 0.5)])
def test_sound_where_delta_is_spent_to_deceive_it(m, delta, epsilon, form):
    """With chance m delta / i, i coins at random are told outright, so each with chance delta; an exact computation."""
    low, right = 0, m  # the fewest right guesses that disprove epsilon
    while right - low > 1:
        middle = (low + right) // 2
        beyond = epsilon_bound(m, m, middle, delta=delta, form=form, beyond=epsilon) > epsilon
        low, right = (low, middle) if beyond else (middle, right)
    share = expit(epsilon)
    told = np.arange(1, m + 1)
    chance = np.minimum(1, m * delta / told)
    above = (1 - chance) * binom.sf(right - 1, m, share) + chance * binom.sf(right - told - 1, m - told, share)
    assert above.max() <= 0.05


@pytest.mark.parametrize("form", ["approximate", "f-dp", "gaussian"])
def test_sound_on_a_gaussian_mechanism(form):
    delta, mu = 1e-3, 1.0
    low, high = 0.0, 20.0
    for _ in range(60):  # the epsilon that it has at delta
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_mu(middle, delta) < mu else (low, middle)
    rng = np.random.default_rng(12)
    above = 0
    for seed in range(150):
        coins = rng.random(120) < 0.5
        above += lower_bound(mu * coins + rng.normal(size=120), coins, delta=delta, form=form, seed=seed).epsilon > high
    assert above <= binom.ppf(0.999, 150, 0.05)


def test_the_best_threshold_without_correction_is_no_bound():
    """What some public tools do: the test above would catch it."""
    rng = np.random.default_rng(3)
    above = 0
    for seed in range(RUNS):
        told, coins = responses(0.0, 120, rng)
        scores = told + rng.random(120)
        best = max(epsilon_bound(120, k, correct_guesses(scores, coins, k, 0, seed), delta=0.0) for k in range(5, 121, 5))
        above += best > 0.0
    assert above > ALLOWED


def test_several_probes_are_paid_for():
    rng = np.random.default_rng(2)
    coins = rng.random(300) < 0.5
    score = coins + rng.normal(0, 0.5, 300)
    one = lower_bound(score, coins, delta=1e-5)
    two = lower_bound(np.stack([score, rng.normal(size=300)]), coins, delta=1e-5)
    assert (one.plans, two.plans) == (len(PLANS), 2 * len(PLANS))
    assert two.each == pytest.approx(1 - 0.05 / (2 * len(PLANS)))
    assert 0 < two.epsilon < one.epsilon
    again = epsilon_bound(300, one.guesses, one.correct, delta=1e-5, confidence=one.each)
    assert one.epsilon == pytest.approx(again, abs=1e-6)


def test_ties_do_not_follow_the_order_of_rows():
    """With one and the same score for all, nothing is known, wherever the included ones stand."""
    coins = np.arange(400) >= 200
    for order in (coins, ~coins):
        assert lower_bound(np.zeros(400), order, delta=1e-5).epsilon == 0.0


def test_it_does_not_depend_on_the_order_of_rows_without_ties():
    rng = np.random.default_rng(6)
    coins = rng.random(200) < 0.5
    scores = coins + rng.normal(size=200)
    order = rng.permutation(200)
    assert lower_bound(scores, coins, delta=1e-5) == lower_bound(scores[order], coins[order], delta=1e-5)


def test_best_possible_grows_with_the_canaries():
    found = [best_possible(m, delta=1e-5) for m in (20, 100, 500, 2000)]
    assert found == sorted(found)
    assert found[0] > 0.5
    perfect = np.arange(500) >= 250
    assert lower_bound(np.arange(500.0), perfect, delta=1e-5).epsilon == found[2]


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="found 6 right of 5"):
        epsilon_bound(10, 5, 6, delta=0.0)
    with pytest.raises(ValueError, match="no Gaussian mechanism has delta 0"):
        gaussian_mu(1.0, 0.0)
    with pytest.raises(ValueError, match="not finite"):
        lower_bound(np.array([0.0, np.nan]), np.array([True, False]), delta=0.1)
    with pytest.raises(ValueError, match="one a canary"):
        lower_bound(np.zeros(3), np.array([True, False]), delta=0.1)
    with pytest.raises(ValueError, match="found none"):
        lower_bound(np.zeros(2), np.array([True, False]), delta=0.1, plans=())
