"""Opens a pipeline folder as a generator, whoever made it."""

from __future__ import annotations

from pathlib import Path

from generation.folder import is_synguard
from generation.foreign import ForeignGenerator
from generation.latent import LatentDiffusion
from synguard.config import SamplingConfig

__all__ = ["load"]


def load(
    folder: Path,
    *,
    device: str = "cpu",
    trust_remote_code: bool = False,
    sampling: SamplingConfig | None = None,
    size: int | None = None,
) -> LatentDiffusion | ForeignGenerator:
    """A trained folder of ours as `LatentDiffusion` (which audits can look into), any other as `ForeignGenerator`.

    `trust_remote_code` lets a foreign folder run the Python files that it brings; ours never needs it. `size` is the side
    that images are wanted at: a foreign folder's images are resized to it. Raises InputError for a folder that is no
    pipeline, one with pickled weights, or a trained folder of another size.
    """
    if is_synguard(folder):
        model = LatentDiffusion.load(folder, device=device, sampling=sampling)
        model.expect_size(size)
        return model
    return ForeignGenerator.load(folder, device=device, trust_remote_code=trust_remote_code, sampling=sampling, size=size)
