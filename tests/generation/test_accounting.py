"""What private training spends, against other accountants, and the noise that keeps to a budget."""

import sys

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from generation.accounting import budget_of, epsilon_spent
from synguard.config import DenoiserConfig, GeneratorConfig, PrivateConfig
from synguard.errors import InputError
from synguard.metrics.one_run import default_delta

# noise, rate, steps, delta: the PLD accountant of dp-accounting 0.6.0, one patient more or less, intervals of 0.001.
DP_ACCOUNTING = [
    (1.0, 0.1, 100, 1e-5, 7.04663),
    (2.0, 0.25, 240, 1e-3, 7.94326),
    (0.8, 0.02, 2000, 1e-4, 7.90829),
    (1.5, 1.0, 20, 1e-5, 16.54202),
]


@pytest.mark.parametrize(("noise", "rate", "steps", "delta", "expected"), DP_ACCOUNTING)
def test_agrees_with_another_accountant_and_never_promises_more(noise, rate, steps, delta, expected):
    found = epsilon_spent(noise, rate, steps, delta)
    assert expected <= found <= expected + 0.02


def losses(noise, rate, *, removed, step=0.002, reach=12.0):
    """The privacy loss of one step on a grid, rounded up: a patient removed, or added."""
    x = np.linspace(-reach * noise - 1, reach * noise + 2, 200_001)
    middles = (x[1:] + x[:-1]) / 2
    ratio = logsumexp([np.full_like(middles, np.log1p(-rate)), np.log(rate) + (2 * middles - 1) / (2 * noise**2)], axis=0)
    plain = np.diff(norm.cdf(x, 0, noise))
    mixed = (1 - rate) * plain + rate * np.diff(norm.cdf(x, 1, noise))
    loss, mass = (ratio, mixed) if removed else (-ratio, plain)
    # A whole grid cell up, for the rounding and for the spread within a cell of x.
    place = np.ceil(loss / step).astype(int) + 1
    low, high = place.min(), place.max()
    return np.bincount(place - low, weights=mass, minlength=high - low + 1), low, step


def by_convolution(noise, rate, steps, delta):
    """Epsilon by composing the losses with one Fourier transform: an accountant of our own, rounded up."""
    worst = 0.0
    for removed in (True, False):
        mass, low, step = losses(noise, rate, removed=removed)
        size = 2 ** int(np.ceil(np.log2(len(mass) * steps)))
        size = min(size, 2**20)
        composed = np.maximum(np.fft.irfft(np.fft.rfft(mass, size) ** steps, size), 0)
        total = (np.arange(size) + low * steps) * step
        lower, upper = 0.0, 40.0
        while upper - lower > 0.005:
            epsilon = (lower + upper) / 2
            above = total > epsilon
            enough = (composed[above] * -np.expm1(epsilon - total[above])).sum() <= delta
            lower, upper = (lower, epsilon) if enough else (epsilon, upper)
        worst = max(worst, upper)
    return worst


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), [(1.2, 0.2, 40, 1e-3), (2.0, 0.5, 30, 1e-4)])
def test_agrees_with_an_accountant_of_our_own(noise, rate, steps, delta):
    found, ours = epsilon_spent(noise, rate, steps, delta), by_convolution(noise, rate, steps, delta)
    # Ours is rounded up by two grid cells a step, and the other by its own error.
    assert found == pytest.approx(ours, abs=0.03 + 2 * 0.002 * steps)


def renyi(noise, rate, steps, delta):
    """The looser bound by Renyi divergence at whole orders (Mironov et al. 2019, arXiv:1908.10530, equation 3)."""
    from scipy.special import gammaln

    found = []
    for order in range(2, 200):
        k = np.arange(order + 1)
        terms = gammaln(order + 1) - gammaln(k + 1) - gammaln(order - k + 1)
        terms = terms + (order - k) * np.log1p(-rate) + k * np.log(rate) + (k * k - k) / (2 * noise**2)
        divergence = steps * logsumexp(terms) / (order - 1)
        # The conversion of Canonne et al. 2020, arXiv:2004.00010, proposition 12.
        found.append(divergence + np.log1p(-1 / order) - np.log(delta * order) / (order - 1))
    return min(found)


@pytest.mark.parametrize(("noise", "rate", "steps", "delta"), [row[:4] for row in DP_ACCOUNTING[:3]])
def test_is_below_the_looser_bound_by_renyi_divergence(noise, rate, steps, delta):
    found, loose = epsilon_spent(noise, rate, steps, delta), renyi(noise, rate, steps, delta)
    assert 0.8 * loose < found < loose


def test_more_steps_spend_more_and_none_spend_nothing():
    found = [epsilon_spent(1.5, 0.2, steps, 1e-3) for steps in (0, 1, 20)]
    assert found[0] == 0
    assert found == sorted(set(found))


def private(batch_size=8, steps=20, **settings):
    return GeneratorConfig(denoiser=DenoiserConfig(batch_size=batch_size, steps=steps), private=PrivateConfig(**settings))


def test_the_noise_keeps_to_the_budget():
    found = budget_of(private(epsilon=3.0), 40)
    assert 3.0 - 0.03 <= found.epsilon <= 3.0
    assert (found.rate, found.steps, found.delta) == (0.2, 20, default_delta(40))
    assert epsilon_spent(found.noise, 0.2, 20, found.delta) == found.epsilon


def test_a_given_noise_is_accounted_for():
    found = budget_of(private(noise=1.1, delta=1e-4), 40)
    assert (found.noise, found.delta) == (1.1, 1e-4)
    assert found.epsilon == epsilon_spent(1.1, 0.2, 20, 1e-4)
    assert budget_of(GeneratorConfig(), 40) is None


def test_fewer_patients_than_a_step_takes():
    with pytest.raises(InputError, match="batch_size: found 8, expected no more than the 7 patients"):
        budget_of(private(epsilon=3.0), 7)


def test_an_epsilon_that_no_noise_keeps_to():
    with pytest.raises(InputError, match=r"generator\.private\.epsilon: found 1e-09"):
        budget_of(private(epsilon=1e-9, delta=1e-12), 40)


def test_without_opacus_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus", None)
    with pytest.raises(InputError, match=r"found no Opacus.*pip install 'synguard\[dp\]'"):
        budget_of(private(noise=1.0), 40)


@pytest.mark.parametrize("settings", [{}, {"epsilon": 1.0, "noise": 1.0}])
def test_epsilon_or_noise(settings):
    with pytest.raises(ValueError, match="expected one of the two"):
        PrivateConfig(**settings)
