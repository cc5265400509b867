"""Settings of text-to-image models: what goes together."""

import pytest
from pydantic import ValidationError

from synguard.config import GeneratorConfig

TUNING = {"base": "sd"}


@pytest.mark.parametrize(
    "settings",
    [
        {"tuning": TUNING},
        {"tuning": {**TUNING, "prior": {"prompt": "a photo of skin"}}, "canaries": 100},
        {"path": "tuned", "strategy": "inpainting", "prompts": "prompts.yaml"},
        {"path": "tuned", "strategy": "image-to-image", "strength": 0.05},
    ],
)
def test_what_goes_together(settings):
    config = GeneratorConfig(kind="text-to-image", **settings)
    assert config.trains == ("tuning" in settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "found neither tuning nor path, expected one of them"),
        ({"tuning": TUNING, "path": "tuned"}, "found tuning and path, expected one of them"),
        ({"tuning": TUNING, "private": {"epsilon": 8}}, "generator.private: found it for kind 'text-to-image'"),
        ({"tuning": TUNING, "trust_remote_code": True}, "generator.trust_remote_code: found it for kind"),
        ({"tuning": TUNING, "curve": {"enabled": True}}, "generator.curve: found it for kind 'text-to-image'"),
        ({"path": "tuned", "canaries": 100}, "generator.canaries: found it beside a generator that is not trained"),
        ({"path": "tuned", "strength": 0.5}, "generator.strength: found it for 'text-to-image'"),
        ({"path": "tuned", "strategy": "inpainting", "strength": 0.5}, "generator.strength: found it for 'inpainting'"),
        ({"path": "tuned", "strategy": "image-to-image", "strength": 0.04}, "found 0.04 of 20 steps, expected at least one"),
        ({"path": "tuned", "strategy": "outpainting"}, "Input should be 'text-to-image', 'image-to-image', 'inpainting'"),
        ({"tuning": {**TUNING, "token": "two words"}}, "String should match pattern"),
        ({"tuning": {**TUNING, "prior": {"prompt": ""}}}, "String should have at least 1 character"),
        ({"tuning": {**TUNING, "alpha": 1}}, "Extra inputs are not permitted"),
    ],
)
def test_what_does_not(settings, message):
    with pytest.raises(ValidationError, match=message):
        GeneratorConfig(kind="text-to-image", **settings)


@pytest.mark.parametrize("key", ["tuning", "prompts", "strategy", "strength"])
def test_other_kinds_have_none_of_it(key):
    value = {"tuning": TUNING, "prompts": "a", "strategy": "inpainting", "strength": 0.5}[key]
    for settings in ({}, {"kind": "pipeline", "path": "there"}):
        with pytest.raises(ValidationError, match=f"generator.{key}: found it for kind"):
            GeneratorConfig(**settings, **{key: value})
    with pytest.raises(ValidationError, match=r"generator.path: found nothing"):
        GeneratorConfig(kind="pipeline")
