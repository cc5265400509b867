from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from audits.diagnostic import load_torchscript
from synguard.config import AttributeConfig
from synguard.data.conditions import ConditionSchema
from synguard.errors import InputError, IntegrityError
from tests.support.squares import SCHEMA, squares

COLOUR = ConditionSchema((AttributeConfig(name="colour", kind="categorical", levels=("red", "green", "blue")),))


class Reader(nn.Module):
    """Reads the colour as the channel that is brightest somewhere, and the light off a corner."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        brightest = images.amax((2, 3))
        return {
            "colour": torch.softmax(brightest * 20, 1),
            "hole": (images.amin((1, 2, 3)) < 0.05).float(),
            "light": images[:, :, 0, 0].mean(1),
            "unknown": brightest,
        }


class Bare(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(images.amax((2, 3)) * 20, 1)


class Logits(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.amax((2, 3)) * 20


class Narrow(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.softmax(images.amax((2, 3))[:, :2], 1)


class Pair(nn.Module):
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images, images


def script(module: nn.Module, path: Path) -> str:
    torch.jit.save(torch.jit.script(module), str(path))
    return hashlib.sha256(path.read_bytes()).hexdigest()


pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")


def test_a_dictionary_of_outputs_is_read(tmp_path: Path) -> None:
    brought = load_torchscript(tmp_path / "m.pt", script(Reader(), tmp_path / "m.pt"), SCHEMA)
    images = squares(70, 1)
    predicted = brought.predict(images.pixels)
    truth = SCHEMA.codes(SCHEMA.parse(images.metadata, "squares"), "colour")
    assert set(predicted) == {"colour", "hole", "light"}
    assert (predicted["colour"].argmax(1) == truth).all()
    assert predicted["hole"].shape == (70, 2)
    assert (predicted["hole"].argmax(1) == images.metadata["hole"].to_numpy(int)).mean() > 0.9
    np.testing.assert_allclose(predicted["light"], images.metadata["light"].to_numpy(float), atol=0.1)
    assert brought.digest == hashlib.sha256((tmp_path / "m.pt").read_bytes()).hexdigest()


def test_a_bare_tensor_will_do_for_one_attribute(tmp_path: Path) -> None:
    digest = script(Bare(), tmp_path / "m.pt")
    assert load_torchscript(tmp_path / "m.pt", digest, COLOUR).predict(squares(3, 1).pixels)["colour"].shape == (3, 3)
    with pytest.raises(InputError, match="expected a dictionary"):
        load_torchscript(tmp_path / "m.pt", digest, SCHEMA).predict(squares(3, 1).pixels)


@pytest.mark.parametrize(
    ("module", "message"),
    [(Logits(), "not probabilities"), (Narrow(), "expected 3 probabilities"), (Pair(), "expected a dictionary")],
)
def test_outputs_are_checked(tmp_path: Path, module: nn.Module, message: str) -> None:
    brought = load_torchscript(tmp_path / "m.pt", script(module, tmp_path / "m.pt"), COLOUR)
    with pytest.raises(InputError, match=message):
        brought.predict(squares(3, 1).pixels)


def test_the_digest_is_needed_and_checked_before_loading(tmp_path: Path) -> None:
    path = tmp_path / "m.pt"
    path.write_bytes(b"this is not TorchScript")
    with pytest.raises(InputError, match=r"model_sha256: found nothing, expected the sha256 of m.pt"):
        load_torchscript(path, None, COLOUR)
    # Not TorchScript either, but the digest comes first.
    with pytest.raises(IntegrityError, match="found sha256"):
        load_torchscript(path, "0" * 64, COLOUR)
    with pytest.raises(InputError, match="expected TorchScript"):
        load_torchscript(path, hashlib.sha256(path.read_bytes()).hexdigest(), COLOUR)
    with pytest.raises(InputError, match="found nothing, expected a TorchScript file"):
        load_torchscript(tmp_path / "absent.pt", "0" * 64, COLOUR)
