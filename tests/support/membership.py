"""Image sets and models with a known truth: what leaks, and how much, is planted."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from synguard.data.images import ImageSet
from synguard.data.splits import HoldoutRoles


def image_set(pixels, name="set", *, per_patient=1, metadata=None) -> ImageSet:
    n = len(pixels)
    return ImageSet(
        name=name,
        files=tuple(f"{name}/{i:05d}.png" for i in range(n)),
        sha256=tuple(hashlib.sha256(image.tobytes()).hexdigest() for image in pixels),
        pixels=pixels,
        patients=np.array([f"{name}-{i // per_patient:05d}" for i in range(n)]),
        metadata=pd.DataFrame(index=range(n)) if metadata is None else metadata,
        has_patient_ids=per_patient > 1,
    )


def photographs(n, seed, side=16, per_patient=1):
    """Soft colour blobs on a coloured ground; photographs of one patient differ by a little noise."""
    rng = np.random.default_rng([seed, 99])
    patients = -(-n // per_patient)
    y, x = np.mgrid[0:side, 0:side] / side
    ground = rng.uniform(60, 160, (patients, 1, 1, 3))
    place, width = rng.uniform(0.2, 0.8, (2, patients, 1, 1)), rng.uniform(0.1, 0.3, (patients, 1, 1))
    blob = np.exp(-((y - place[0]) ** 2 + (x - place[1]) ** 2) / (2 * width**2))[..., None]
    drawn = ground + blob * rng.uniform(-60, 90, (patients, 1, 1, 3))
    drawn = np.repeat(drawn, per_patient, axis=0)[:n] + rng.normal(0, 6, (n, side, side, 3))
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class World:
    private: ImageSet
    roles: HoldoutRoles
    synthetic: ImageSet


def world(seed=0, *, members=400, each=200, per_patient=1, synthetic=300, pixels=None) -> World:
    """All images of one source, cut at random: members and non-members differ in nothing but the name."""
    sizes = [members, each, each, each, synthetic]
    total = sum(sizes)
    drawn = photographs(total, seed, per_patient=per_patient) if pixels is None else pixels
    cuts = np.cumsum([0, *sizes])
    names = ("private", "calibration", "evaluation", "reference", "synthetic")
    sets = [
        image_set(drawn[a:b], name, per_patient=per_patient) for name, a, b in zip(names, cuts[:-1], cuts[1:], strict=True)
    ]
    return World(sets[0], HoldoutRoles(*sets[1:4], seed=seed), sets[4])


class Pixels:
    """An embedder that only flattens: nobody trained it."""

    name = "flat pixels"
    digest = "0" * 64
    dimension = 48

    def embed(self, images):
        n, side = images.shape[:2]
        step = side // 4
        return images.reshape(n, 4, step, 4, step, 3).mean(axis=(2, 4)).reshape(n, -1).astype(np.float32)


@dataclass
class LeakyDenoiser:
    """Errors grow with an image's contrast, as real ones do, and are lower by `leak` on the images it remembers."""

    remembered: frozenset[bytes] = frozenset()
    leak: dict[str, float] = field(default_factory=dict)
    spoil: str = ""
    digest: str = "1" * 64
    latent_shape: tuple[int, int, int] = (3, 8, 8)
    weights: tuple[str, ...] = ("ema",)
    calls: list = field(default_factory=list)

    def encode(self, images):
        n, side = images.shape[:2]
        step = side // 8
        means = images.reshape(n, 8, step, 8, step, 3).mean(axis=(2, 4))
        # The identity of an image travels in the last bits of its latent, so that errors can know what is remembered.
        latents = (means / 127.5 - 1).transpose(0, 3, 1, 2).astype(np.float32)
        known = np.array([image.tobytes() in self.remembered for image in images])
        latents[:, 0, 0, 0] = np.where(known, 5.0, -5.0)
        return latents

    def reconstruct(self, images):
        known = np.array([image.tobytes() in self.remembered for image in images])
        amount = np.where(known, 8 - 8 * self.leak.get("autoencoder", 0.0), 8.0)
        noise = np.stack(
            [np.random.default_rng(image[:2, :2].astype(int).ravel()).normal(size=image.shape) for image in images]
        )
        return np.clip(np.rint(images + amount[:, None, None, None] * noise), 0, 255).astype(np.uint8)

    def errors(self, latents, conditions, *, level, noise, weights):
        self.calls.append((weights, level, None if conditions is None else len(conditions), noise.tobytes()))
        known = latents[:, 0, 0, 0] > 0
        rest = latents.reshape(len(latents), -1)[:, 1:]
        seen = rest @ noise.ravel()[1:] / 300
        result = np.exp(rest.std(axis=1) - level + 0.2 * np.tanh(seen))
        result = result * np.where(known, 1 - self.leak.get(weights, 0.0), 1.0)
        if self.spoil == weights:
            result[0] = np.nan
        return result.astype(np.float64)


def remember(images: ImageSet) -> frozenset[bytes]:
    return frozenset(image.tobytes() for image in images.pixels)
