"""Samplers by name on models that know the truth, guidance by groups, and what each costs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from generation.samplers import check_sampling, fitted
from generation.schedule import Schedule, scheduler_for
from generation.synguard_sampling import SAMPLERS, evaluations, fitting, generators, noise, sample, terms
from synguard.config import AttributeConfig, DenoiserConfig, GeneratorConfig, GroupGuidance, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import ConfigError

ONE = terms([1], [None], 1.0)
PREDICTIONS = {"flow": "flow", "epsilon": "epsilon", "v": "v_prediction"}
PAIRS = [(objective, sampler) for objective, prediction in PREDICTIONS.items() for sampler in fitting(prediction)]


class Gaussian:
    """The best denoiser there is for normal data with the mean that the condition names and this deviation."""

    def __init__(self, schedule: Schedule, deviation: float) -> None:
        self.schedule, self.deviation, self.rows = schedule, deviation, 0

    def __call__(self, z, timestep, class_labels, **_):
        self.rows += len(z)
        mean = class_labels.sum(1).view(-1, 1, 1, 1)
        time = (timestep + (0 if self.schedule.alphas is None else 0.5)) / 1000
        signal, share = self.schedule._shares(time.clamp(1e-4, 1))
        variance = (signal * self.deviation) ** 2 + share**2
        x = mean + signal * self.deviation**2 / variance * (z - signal * mean)
        e = (z - signal * x) / share
        return (self.schedule._target(x, e, signal, share),)


@pytest.mark.parametrize(("objective", "sampler"), PAIRS)
def test_every_sampler_ends_in_the_data(objective: str, sampler: str):
    """Normal data: mean and deviation of 4,096 numbers after 50 steps.

    DDPM wants all 1,000 for its noise. Stable Diffusion's schedule ends with a signal of 0.07, so that starting without any
    leaves the means short by 0.035 (arXiv 2305.08891).
    """
    scheduler = scheduler_for(objective)
    schedule = Schedule.of(scheduler, "here")
    conditions = torch.tensor([[1.0], [-1.0]])
    random = generators([1, 2])
    steps = 1000 if sampler == "ddpm" else 50
    unet = Gaussian(schedule, 0.5)
    found = sample(
        unet,
        noise(random, (1, 64, 64)),
        conditions,
        sampler=sampler,
        steps=steps,
        guidance=ONE,
        scheduler=scheduler,
        random=random,
    ).flatten(1)
    assert found.mean(1).tolist() == pytest.approx([1, -1], abs=0.06)
    assert found.std(1).tolist() == pytest.approx([0.5, 0.5], abs=0.06)
    assert unet.rows == 2 * evaluations(sampler, steps, ONE, scheduler)


def test_ddim_is_that_of_diffusers_on_the_models_own_betas():
    scheduler = scheduler_for("v")
    unet = Gaussian(Schedule.of(scheduler, "here"), 0.5)
    start, conditions = noise([7], (4, 8, 8)), torch.tensor([[1.0]])
    found = sample(unet, start, conditions, sampler="ddim", steps=10, guidance=ONE, scheduler=scheduler)
    own = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        timestep_spacing="trailing",
    )
    own.set_timesteps(10)
    z = start
    for t in own.timesteps:
        z = own.step(unet(z, torch.tensor([float(t)]), conditions)[0], t, z).prev_sample
    assert torch.allclose(found, z, atol=1e-5)


@pytest.mark.parametrize("sampler", ["euler-ancestral", "ddpm"])
def test_noise_on_the_way_is_each_images_own(sampler: str):
    scheduler = scheduler_for("epsilon")
    unet = Gaussian(Schedule.of(scheduler, "here"), 0.5)

    def made(seeds: list[int]) -> torch.Tensor:
        random = generators(seeds)
        start, conditions = noise(random, (1, 8, 8)), torch.ones(len(seeds), 1)
        return sample(unet, start, conditions, sampler=sampler, steps=8, guidance=ONE, scheduler=scheduler, random=random)

    together = made([5, 6, 7])
    assert torch.equal(made([7, 5])[0], together[2])
    assert torch.equal(made([6])[0], together[1])


def test_what_does_not_fit_is_said_before_work_starts():
    schema = ConditionSchema((AttributeConfig(name="dx", kind="binary", group="disease"),))

    def config(objective: str, **sampling: object) -> GeneratorConfig:
        return GeneratorConfig(denoiser=DenoiserConfig(objective=objective), sampling=SamplingConfig(**sampling))

    with pytest.raises(ConfigError) as caught:
        check_sampling(config("flow", sampler="ddim"), schema)
    assert str(caught.value) == (
        "generator.sampling.sampler: found ddim, expected one for a model of flow: ab2, euler, heun, dpm-solver++, unipc"
    )
    with pytest.raises(ConfigError, match=r"found ab2, expected one for a model of v_prediction: euler, euler-ancestral"):
        check_sampling(config("v", sampler="ab2"), schema)
    with pytest.raises(ConfigError, match=r"sampling\.groups\.eye: found a group of no attribute, expected disease"):
        check_sampling(config("flow", groups={"eye": GroupGuidance(guidance=2)}), schema)
    check_sampling(config("flow", groups={"disease": GroupGuidance(guidance=2)}), schema)
    assert fitted(SamplingConfig(), "flow").sampler == "ab2"
    assert fitted(SamplingConfig(), "epsilon").sampler == "dpm-solver++"
    assert {name for _, name in PAIRS} == set(SAMPLERS)
    with pytest.raises(ValueError, match="sampler: found pndm, expected one for flow"):
        sample(None, torch.zeros(1, 1, 1, 1), torch.zeros(1, 1), sampler="pndm", steps=2, guidance=ONE)


class Additive:
    """v = -(a x + b y + c z) for three attributes: what guidance makes of it can be worked out by hand."""

    def __init__(self) -> None:
        self.rows = 0

    def __call__(self, z, timestep, class_labels, **_):
        self.rows += len(z)
        return (-(class_labels @ torch.tensor([1.0, 10.0, 100.0])).view(-1, 1, 1, 1).expand_as(z),)


@pytest.mark.parametrize(
    ("guidance", "groups", "expected", "cost"),
    [
        (1.0, {}, 111, 1),
        (3.0, {}, 333, 2),
        (1.0, {"disease": {"guidance": 2.0}}, 111 + 10, 2),
        (2.0, {"disease": {"guidance": 2.0}}, 222, 2),
        (2.0, {"disease": {"guidance": 4.0}}, 2 * 101 + 4 * 10, 3),
        (2.0, {"disease": {"guidance": 4.0}, "eye": {"guidance": 1.0}}, 2 + 4 * 10 + 100, 4),
        (1.0, {"disease": {"guidance": 1.0}, "eye": {"guidance": 5.0}}, 1 + 10 + 500, 2),
    ],
)
def test_guidance_of_groups(guidance: float, groups: dict, expected: float, cost: int):
    unet = Additive()
    found = terms([1, 1, 1], [None, "disease", "eye"], guidance, groups=groups)
    end = sample(unet, torch.zeros(1, 1, 1, 1), torch.ones(1, 3), sampler="euler", steps=5, guidance=found)
    assert float(end) == pytest.approx(expected)
    assert unet.rows == 5 * cost == evaluations("euler", 5, found)


def test_guidance_in_an_interval_costs_nothing_outside():
    """Of ten Euler steps, at times 1.0, 0.9 to 0.1, six lie within 0.25 to 0.85."""
    unet = Additive()
    found = terms([1, 1, 1], [None] * 3, 3.0, (0.25, 0.85))
    end = sample(unet, torch.zeros(1, 1, 1, 1), torch.ones(1, 3), sampler="euler", steps=10, guidance=found)
    assert float(end) == pytest.approx(111 * (6 * 3 + 4) / 10)
    assert unet.rows == 16 == evaluations("euler", 10, found)
    assert evaluations("heun", 10, terms([1], [None], 1.0)) == 19


def test_attributes_of_unnamed_groups_are_guided_together():
    columns = [term.columns.tolist() for term in terms([2, 1, 1], ["a", None, "b"], 2.0, groups={"b": {"guidance": 1.5}})]
    assert columns == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert [term.columns.tolist() for term in terms([1], ["a"], 2.0, groups={"a": {"guidance": 3.0}})] == [[1]]
    assert [len(term.columns) for term in terms([], [], 2.0)] == [0]


def test_an_unconditional_model_takes_one_evaluation_a_step():
    assert evaluations("ab2", 7, terms([], [], 4.0)) == 7


@pytest.mark.parametrize("objective", ["epsilon", "v"])
def test_min_snr_weights(objective: str):
    """arXiv 2303.09556: min(snr, 5) / snr for noise, min(snr, 5) / (snr + 1) for v."""
    scheduler = scheduler_for(objective)
    schedule = Schedule.of(scheduler, "here")
    alphas = scheduler.alphas_cumprod.double()
    snr = alphas / (1 - alphas)
    expected = torch.minimum(snr, torch.tensor(5.0)) / (snr if objective == "epsilon" else snr + 1)
    found = schedule.weights((torch.arange(1000, dtype=torch.float64) + 0.5) / 1000)
    assert torch.allclose(found, expected, rtol=1e-4)


def test_times_of_training_are_uniform_over_the_steps():
    schedule = Schedule.of(scheduler_for("epsilon"), "here")
    told = schedule.told(schedule.times(torch.from_numpy(np.random.default_rng(0).standard_normal(200_000))))
    assert told.min() == 0
    assert told.max() == 999
    assert np.histogram(told.numpy(), bins=10, range=(0, 1000))[0] == pytest.approx([20_000] * 10, rel=0.05)
