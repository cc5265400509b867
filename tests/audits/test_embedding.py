from __future__ import annotations

import hashlib
import importlib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from audits.embedding import DiagnosticFeatures, EmbeddedFeatures, InceptionFeatures, ScriptedFeatures, make_embedder
from synguard.config import FidelityConfig
from synguard.errors import InputError, IntegrityError
from synguard.protocols import Embedder
from tests.support.squares import model, squares


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("make", [EmbeddedFeatures, lambda: DiagnosticFeatures(model())])
def test_features_do_not_depend_on_how_many_images_are_passed(make: object) -> None:
    embedder = make()  # type: ignore[operator]
    pixels = squares(100, 1).pixels
    whole = embedder.embed(pixels)
    assert isinstance(embedder, Embedder)
    assert whole.shape == (100, embedder.dimension)
    assert whole.dtype == np.float32
    np.testing.assert_allclose(np.concatenate([embedder.embed(part) for part in (pixels[:1], pixels[1:])]), whole, atol=1e-5)
    assert embedder.embed(pixels[:0]).shape == (0, embedder.dimension)


@pytest.mark.parametrize("side", [16, 32, 64, 100])
def test_embedded_takes_any_size_and_sees_colour_texture_and_layout(side: int) -> None:
    embedder = EmbeddedFeatures()
    rng = np.random.default_rng(0)
    plain = np.full((1, side, side, 3), 120, np.uint8)
    tinted, halved = plain.copy(), plain.copy()
    tinted[..., 0] += 60
    halved[:, : side // 2] = 40
    noisy = (plain + rng.integers(-40, 40, plain.shape)).astype(np.uint8)
    features = embedder.embed(np.concatenate((plain, plain, tinted, halved, noisy)))
    assert np.isfinite(features).all()
    apart = np.linalg.norm(features - features[0], axis=1)
    assert apart[1] == 0
    assert (apart[2:] > 1).all()


def test_embedded_is_the_same_everywhere() -> None:
    ramp = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(1, 64, 64, 3) % 251
    features = EmbeddedFeatures().embed(ramp.astype(np.uint8))[0]
    # Golden figures: an index or a figure made with other features could not be compared with older ones.
    np.testing.assert_allclose(features[[0, 50, 143, 144, 191]], GOLDEN, atol=1e-3)


GOLDEN = [4.711186, 2.913102, -0.618899, -0.007813, -0.075213]


def test_missing_inception_weights_are_named_and_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"audits.fidelity.weights: found nothing, expected a local file"):
        make_embedder(FidelityConfig(extractor="inception"), tmp_path)
    with pytest.raises(InputError, match=r"absent.pth: found nothing, expected a local file"):
        make_embedder(FidelityConfig(extractor="inception", weights="absent.pth"), tmp_path)


def test_inception_weights_are_known_by_their_sha256(tmp_path: Path) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({"tensor": torch.zeros(1)}, weights)
    asked = FidelityConfig(extractor="inception", weights="weights.pth")
    with pytest.raises(InputError, match=r"fidelity\.weights_sha256: found nothing, expected the sha256 of weights\.pth"):
        make_embedder(asked, tmp_path)
    other = asked.model_copy(update={"weights_sha256": "sha256:" + "0" * 64})
    with pytest.raises(IntegrityError, match=r"weights\.pth: found sha256 .*, expected sha256:0000"):
        make_embedder(other, tmp_path)


def test_inception_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.pth"
    torch.save({"tensor": torch.zeros(1)}, weights)
    monkeypatch.setattr("torchmetrics.image.fid._TORCH_FIDELITY_AVAILABLE", False)
    with pytest.raises(InputError, match="pip install torch-fidelity"):
        InceptionFeatures(weights, sha256_of(weights))


class Planted:
    """Would leave a mark if it were unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("content", ["planted", "text", "number"])
def test_weights_that_are_not_tensors_are_refused_and_run_nothing(tmp_path: Path, content: str) -> None:
    weights, mark = tmp_path / "weights.pth", tmp_path / "mark"
    if content == "planted":
        torch.save({"a": Planted(mark)}, weights)
    elif content == "number":
        torch.save({"a": 1}, weights)
    else:
        weights.write_text("not weights")
    with pytest.raises(InputError, match=r"weights.pth: found .* expected Inception weights"):
        InceptionFeatures(weights, sha256_of(weights))
    assert not mark.exists()


def test_inception_gives_pool_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    kept: dict[str, torch.Tensor] = {}

    def keep(module: torch.nn.Module, _: object) -> None:
        kept.update(module.state_dict())

    with monkeypatch.context() as patch:  # Random weights, got without the download.
        patch.setattr(extractor.FeatureExtractorInceptionV3, "load_state_dict", keep)
        patch.setattr(extractor, "load_state_dict_from_url", lambda *_, **__: {})
        extractor.FeatureExtractorInceptionV3("random", ["2048"])
    path = tmp_path / "inception.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in kept.items()}, path)
    embedder = InceptionFeatures(path, sha256_of(path))
    assert embedder.digest == sha256_of(path)
    features = embedder.embed(squares(3, 5).pixels)
    assert features.shape == (3, embedder.dimension)
    assert np.isfinite(features).all()
    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(InputError, match="tensors of another network"):
        InceptionFeatures(path, sha256_of(path))


def test_embedded_is_the_default(tmp_path: Path) -> None:
    assert isinstance(make_embedder(FidelityConfig(), tmp_path), EmbeddedFeatures)


class Means(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_scripted_features_are_trusted_by_digest(tmp_path: Path) -> None:
    path = tmp_path / "means.pt"
    torch.jit.save(torch.jit.script(Means()), str(path))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    embedder = ScriptedFeatures(path, digest)
    pixels = squares(70, 2).pixels
    assert (embedder.name, embedder.dimension, embedder.digest) == ("means.pt", 3, digest)
    np.testing.assert_allclose(embedder.embed(pixels), pixels.mean((1, 2)) / 255, atol=1e-5)
    with pytest.raises(IntegrityError):
        ScriptedFeatures(path, "0" * 64)
