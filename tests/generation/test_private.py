"""Differentially private gradients: against loops, against Opacus, and against their own promises."""

import copy

import numpy as np
import pytest
import torch
from opacus.optimizers import DPOptimizer
from scipy.stats import binom, chi2, kstest

from generation import denoiser, steps
from generation.accounting import Budget
from generation.base import freeze_all_but_attention
from generation.private import Patients, Secret, clipped_sum, noised, patient_gradients, put
from generation.schedule import FLOW
from synguard.config import DenoiserConfig, PrivateConfig
from synguard.errors import IntegrityError, SynguardError

PATIENTS, DRAWS = 5, 3
SECRET = Secret(b"\x07" * 32)


def unet(attention=False, memory=torch.channels_last):
    torch.manual_seed(4)
    config = DenoiserConfig(widths=(16, 16), attention=attention)
    built = denoiser.build(config, latent_channels=4, latent_size=4, dimension=3)
    # The last convolution starts at zero in no diffusers UNet, but biases do; give all something to say.
    return built.to(memory_format=memory).requires_grad_(True)


def batch(patients=PATIENTS, draws=DRAWS, seed=1):
    rng = np.random.default_rng(seed)
    shapes = ((4, 4, 4), (3,), (4, 4, 4), ())
    return [torch.from_numpy(rng.standard_normal((patients, draws, *shape), dtype=np.float32)) for shape in shapes]


def by_loop(model, parts):
    """One backward pass a patient."""
    found = []
    for patient in range(len(parts[0])):
        model.zero_grad()
        denoiser.loss(model, *(part[patient] for part in parts)).backward()
        found.append({name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad})
    return found


@pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("attention", [False, True])
def test_gradients_of_patients_are_those_of_single_backward_passes(attention, memory, tmp_path):
    model = unet(attention, memory)
    if attention:
        freeze_all_but_attention(model, tmp_path)
    parts = batch()
    found, expected = patient_gradients(model, denoiser.loss, parts), by_loop(model, parts)
    assert set(found) == set(expected[0])
    assert all(".attentions." in name for name in found) == attention
    for name, gradient in found.items():
        loop = torch.stack([one[name] for one in expected])
        assert (gradient - loop).abs().max() <= 1e-4 * loop.abs().max() + 1e-7, name


def length(gradients):
    return torch.stack([g.square().sum() for g in gradients.values()]).sum().sqrt().item()


@pytest.mark.parametrize("clip", [0.05, 1e3])
def test_no_patient_moves_the_sum_by_more_than_the_clip(clip):
    model, parts = unet(), batch()
    whole = clipped_sum(model, denoiser.loss, parts, clip)
    lengths = [length(one) for one in by_loop(model, parts)]
    for patient in range(PATIENTS):
        rest = [part[[i for i in range(PATIENTS) if i != patient]] for part in parts]
        without = clipped_sum(model, denoiser.loss, rest, clip)
        moved = length({name: whole[name] - without[name] for name in whole})
        assert moved <= clip * (1 + 1e-3)
        assert moved == pytest.approx(min(clip, lengths[patient]), rel=1e-2)


def test_the_clipped_sum_is_that_of_opacus():
    model, parts, clip = unet(memory=torch.contiguous_format), batch(), 0.3
    found = clipped_sum(model, denoiser.loss, parts, clip)
    optimiser = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0), noise_multiplier=0.0, max_grad_norm=clip, expected_batch_size=PATIENTS
    )
    loop = by_loop(model, parts)
    for name, parameter in model.named_parameters():
        parameter.grad_sample = torch.stack([one[name] for one in loop])
    optimiser.clip_and_accumulate()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.summed_grad, rtol=1e-3, atol=1e-6)


def test_chunks_change_nothing_but_rounding(monkeypatch):
    model, parts = unet(), batch()
    whole = clipped_sum(model, denoiser.loss, parts, 0.5)
    monkeypatch.setattr("generation.private._CHUNK_BYTES", {"cpu": 1})
    for name, value in clipped_sum(model, denoiser.loss, parts, 0.5).items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=1e-6)


def test_a_gradient_that_is_not_finite_stops_the_training():
    parts = batch()
    parts[0][2] = float("nan")
    with pytest.raises(SynguardError, match="not finite"):
        clipped_sum(unet(), denoiser.loss, parts, 1.0)


def test_noise_has_the_deviation_that_the_accountant_counts_on():
    total = {"a": torch.zeros(300, 400), "b": torch.zeros(7)}
    made = noised(total, deviation=3.0, expected=5.0, generator=SECRET.generator(0, torch.device("cpu")))
    numbers = torch.cat([made["a"].flatten(), made["b"]]).double().numpy() * 5.0 / 3.0
    low, high = chi2.ppf([0.0005, 0.9995], len(numbers))
    assert low <= (numbers**2).sum() <= high
    assert kstest(numbers, "norm").pvalue > 0.001
    again = noised(total, deviation=3.0, expected=5.0, generator=SECRET.generator(0, torch.device("cpu")))
    other = noised(total, deviation=3.0, expected=5.0, generator=SECRET.generator(1, torch.device("cpu")))
    assert torch.equal(made["a"], again["a"])
    correlation = np.corrcoef(made["a"].flatten().numpy(), other["a"].flatten().numpy())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(120_000)


def test_noise_is_independent_of_the_secrets_other_numbers():
    """Another secret, another noise: nothing that is told decides it."""
    cpu = torch.device("cpu")
    first, second = (torch.randn(1000, generator=Secret(bytes([i]) * 32).generator(0, cpu)) for i in (1, 2))
    assert abs(np.corrcoef(first.numpy(), second.numpy())[0, 1]) < 0.15
    assert SECRET.rng(11, 5).random() != SECRET.rng(13, 5).random()


def test_patients_are_taken_by_poisson_sampling():
    """Each with the same chance and independently: counts by patient, by step and by pair are binomial."""
    n, rate, rounds = 40, 0.05, 3000
    patients = Patients.of(np.arange(n).astype(str), rate)
    taken = np.zeros((rounds, n), dtype=bool)
    for step in range(rounds):
        taken[step, patients.taken(SECRET, step)] = True
    for count in taken.sum(axis=0):
        assert binom.ppf(1e-5, rounds, rate) <= count <= binom.ppf(1 - 1e-5, rounds, rate)
    sizes = taken.sum(axis=1)
    expected = binom.pmf(np.arange(6), n, rate) * rounds
    observed = np.bincount(sizes, minlength=6)[:6]
    assert ((observed - expected) ** 2 / expected).sum() <= chi2.ppf(0.999, 6)
    assert (sizes == 0).any()
    together = sum((taken[:, i] & taken[:, i + 1]).sum() for i in range(n - 1))
    assert binom.ppf(0.0005, rounds * (n - 1), rate**2) <= together <= binom.ppf(0.9995, rounds * (n - 1), rate**2)


def test_all_images_of_a_patient_count_as_one():
    names = np.array(["a", "b", "b", "b", "c", "a", "b"])
    patients = Patients.of(names, 0.5)
    assert [rows.tolist() for rows in patients.rows] == [[0, 5], [1, 2, 3, 6], [4]]
    rng = np.random.default_rng(0)
    assert patients.images(2, 4, rng).tolist() == [4, 4, 4, 4]
    assert sorted(patients.images(1, 8, rng).tolist()) == sorted([1, 2, 3, 6] * 2)
    assert len(set(patients.images(1, 3, rng).tolist())) == 3


def drawn(n, seed=0):
    rng = np.random.default_rng(seed)
    latents = torch.from_numpy(rng.standard_normal((1, n, 4, 4, 4), dtype=np.float32))

    class Encoder:
        def told(self, encoded, shorter, dropout, rng):
            return encoded

    return steps.Drawn(latents, rng.standard_normal((n, 3)).astype(np.float32), None, Encoder(), 0.0, FLOW)


def gradients_of(names, rate, *, noise=0.0, step=0, material=None, clip=0.1):
    model = unet()
    made = steps.private(
        material or drawn(len(names)),
        Patients.of(np.array(names), rate),
        SECRET,
        PrivateConfig(noise=1.0, clip=clip, multiplicity=4),
        Budget(epsilon=1.0, delta=0.1, noise=noise, rate=rate, steps=1),
    )
    made(model, step)
    return {name: p.grad.clone() for name, p in model.named_parameters()}, model


def test_a_step_is_bounded_by_patients_however_many_images_they_have():
    """Two patients, one of them with eight images: the sum is no longer than two clips, over two expected patients."""
    found, model = gradients_of(["a"] + ["b"] * 8, 1.0)
    assert length(found) <= 0.1 * (1 + 1e-3)
    strides = {name: p.stride() for name, p in model.named_parameters()}
    assert {name: p.grad.stride() for name, p in model.named_parameters()} == strides


def test_a_step_that_takes_nobody_is_noise_and_is_taken_all_the_same():
    names = [str(i) for i in range(4)]
    patients = Patients.of(np.array(names), 0.01)
    empty = next(step for step in range(100) if len(patients.taken(SECRET, step)) == 0)
    found, _ = gradients_of(names, 0.01, step=empty)
    assert length(found) == 0.0
    found, _ = gradients_of(names, 0.01, noise=2.0, step=empty)
    numbers = torch.cat([g.flatten() for g in found.values()]).double().numpy()
    # Deviation 2 x 0.1, divided by 0.04 patients that are expected.
    low, high = chi2.ppf([0.0005, 0.9995], len(numbers))
    assert low <= ((numbers / (0.2 / 0.04)) ** 2).sum() <= high


def test_other_patients_do_not_change_a_patients_coins():
    """Neighbouring sets: whether a patient is taken does not depend on who else is in the set after."""
    few, many = Patients.of(np.arange(20).astype(str), 0.3), Patients.of(np.arange(21).astype(str), 0.3)
    assert len(few.rows) + 1 == len(many.rows)
    for step in range(50):
        assert set(few.taken(SECRET, step)) == set(many.taken(SECRET, step)) - {20}


def test_put_follows_the_parameters_order_of_memory():
    model = unet()
    gradients = {name: torch.randn(p.shape) for name, p in model.named_parameters()}
    put(model, gradients)
    reference = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter.grad, gradients[name])
    for fused, group in ((True, model), (False, reference)):
        if not fused:
            for name, parameter in group.named_parameters():
                parameter.grad = gradients[name].clone()
        torch.optim.AdamW(group.parameters(), lr=0.1, fused=fused).step()
    for (_, one), (_, two) in zip(model.named_parameters(), reference.named_parameters(), strict=True):
        torch.testing.assert_close(one.data, two.data.contiguous(), rtol=1e-4, atol=1e-5)


def test_the_secret_is_kept_and_missed(tmp_path):
    path = tmp_path / "noise_key.json"
    first = Secret.kept(path, fresh=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert Secret.kept(path, fresh=False) == first
    other = tmp_path / "other.json"
    assert Secret.kept(other, fresh=True) != first
    with pytest.raises(IntegrityError, match="found nothing, expected the key"):
        Secret.kept(tmp_path / "gone.json", fresh=False)
    path.write_text("{}")
    with pytest.raises(IntegrityError, match="found no key"):
        Secret.kept(path, fresh=False)
