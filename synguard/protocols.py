"""What others may supply to synguard: a generator, a denoiser or an autoencoder to probe, an embedder, a diagnostic model.

Arrays of images are always `uint8`, shape (n, height, width, 3), RGB, height == width. Tables of conditions are data
frames with one row an image and one column an attribute of the condition schema; a missing value is NA.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

    from synguard.config import SamplingConfig

__all__ = [
    "Autoencoder",
    "Denoiser",
    "DiagnosticModel",
    "Embedder",
    "FromSources",
    "Generator",
    "Images",
    "OpenDenoiser",
    "Sampled",
]

Images = NDArray[np.uint8]


@runtime_checkable
class Generator(Protocol):
    """Makes candidates. The image for a seed and a condition is the same in whatever batch it is asked for."""

    @property
    def size(self) -> int:
        """Side of its images in pixels."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of everything that its images depend on."""
        ...

    def generate(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Images:
        """Images (n, size, size, 3) for n conditions and n seeds."""
        ...


@runtime_checkable
class Sampled(Protocol):
    """A generator that can say how it samples."""

    @property
    def sampling(self) -> SamplingConfig | None:
        """Its settings, None where it uses its own."""
        ...


@runtime_checkable
class FromSources(Protocol):
    """A generator that may start from private images, and says from which."""

    @property
    def strategy(self) -> str:
        """What its images start from, by the name that the configuration gives it."""
        ...

    def sources(self, conditions: pd.DataFrame, seeds: Sequence[int]) -> Sequence[str | None]:
        """File names in the private set, one a candidate, None for one that starts from noise alone."""
        ...


@runtime_checkable
class Autoencoder(Protocol):
    """White-box access to the autoencoder of a latent diffusion model, for the audit of what it remembers."""

    def reconstruct(self, images: Images) -> Images:
        """Images through encoder and decoder; that of one image does not depend on the others."""
        ...


@runtime_checkable
class Denoiser(Autoencoder, Protocol):
    """White-box access to a latent diffusion model, for membership probes and checkpoints during training.

    `level` is the share of noise in the noised latent, in (0, 1): flow matching's time t, or sqrt(1 - alpha_bar_t) for a
    variance-preserving schedule. `weights` lists the sets of weights that can be probed, released one first.
    """

    @property
    def digest(self) -> str:
        """sha256 of the model."""
        ...

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a latent."""
        ...

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of the sets of weights, the released one first."""
        ...

    def encode(self, images: Images) -> NDArray[np.float32]:
        """Latents (n, c, h, w): the posterior's mode, scaled as the denoiser expects."""
        ...

    def errors(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        level: float,
        noise: NDArray[np.float32],
        weights: str,
    ) -> NDArray[np.float64]:
        """Mean squared error (n,) of the prediction at one noise level, guidance 1, with noise (c, h, w) or (n, c, h, w)."""
        ...


@runtime_checkable
class OpenDenoiser(Denoiser, Protocol):
    """A denoiser that can be asked at any point, and differentiated: what the stronger membership probes need.

    A noised latent is `signal * latent + noise_share * noise`, with the coefficients of its own schedule. Whatever the model
    predicts (noise, velocity, flow or the clean latent), `predict` returns the noise that follows from it, at guidance 1.
    """

    @property
    def turns(self) -> tuple[int, ...]:
        """Turns in which training showed each image, 0 to 7 as in `synguard.data.turns`; (0,) where it showed none."""
        ...

    @property
    def unconditional(self) -> bool:
        """Whether it can be asked without conditions; `conditions` None is refused where it cannot."""
        ...

    def coefficients(self, level: float) -> tuple[float, float]:
        """Shares of signal and noise at a level in (0, 1), those of the nearest step where the schedule has steps."""
        ...

    def predict(
        self, noised: NDArray[np.float32], conditions: pd.DataFrame | None, *, level: float, weights: str
    ) -> NDArray[np.float32]:
        """The noise (n, c, h, w) that the model sees in noised latents; without conditions, unconditionally."""
        ...

    def gradient_norms(
        self,
        latents: NDArray[np.float32],
        conditions: pd.DataFrame | None,
        *,
        levels: Sequence[float],
        noise: NDArray[np.float32],
        weights: str,
    ) -> NDArray[np.float64]:
        """Norms (n, tensors) of the loss's gradient by each parameter tensor, one image at a time.

        The loss is the mean of `errors` over the levels, with noise (levels, c, h, w).
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """A feature extractor. `name` and `digest` identify it; an index made with another one is refused."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of everything that its features depend on."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a feature vector."""
        ...

    def embed(self, images: Images) -> NDArray[np.float32]:
        """Features (n, dimension)."""
        ...


@runtime_checkable
class DiagnosticModel(Protocol):
    """Reads labels off images, independently of the generator."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    @property
    def digest(self) -> str:
        """sha256 of the model."""
        ...

    def predict(self, images: Images) -> Mapping[str, NDArray[np.float64]]:
        """Per attribute: probabilities (n, levels), or values (n,) for continuous ones."""
        ...
