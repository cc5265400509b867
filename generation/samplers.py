"""Which sampler goes with which model, said before any work starts."""

from __future__ import annotations

from generation.schedule import scheduler_for
from generation.synguard_sampling import default_sampler, fitting, prediction_of
from synguard.config import GeneratorConfig, SamplingConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import ConfigError

__all__ = ["check_groups", "check_sampling", "fitted"]


def fitted(sampling: SamplingConfig, prediction: str) -> SamplingConfig:
    """The settings with a sampler named, for a model that predicts so. ConfigError where the one named does not fit."""
    names = fitting(prediction)
    sampler = sampling.sampler or default_sampler(prediction)
    if sampler not in names:
        raise ConfigError.of("generator.sampling.sampler", sampler, f"one for a model of {prediction}: {', '.join(names)}")
    return sampling.model_copy(update={"sampler": sampler})


def check_sampling(config: GeneratorConfig, schema: ConditionSchema) -> None:
    """ConfigError for a sampler that does not fit what is trained, or guidance of a group that no attribute is in."""
    fitted(config.sampling, prediction_of(scheduler_for(config.denoiser.objective)))
    check_groups(config.sampling, schema)


def check_groups(sampling: SamplingConfig, schema: ConditionSchema) -> None:
    """ConfigError for guidance of a group that no attribute is in."""
    known = sorted({attribute.group for attribute in schema.attributes if attribute.group})
    for name in sampling.groups:
        if name not in known:
            raise ConfigError.of(f"generator.sampling.groups.{name}", "a group of no attribute", ", ".join(known) or "none")
