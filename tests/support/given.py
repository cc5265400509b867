"""A private set, a holdout and a release of phantoms that were made elsewhere: the quickest run there is, of real parts."""

from __future__ import annotations

from pathlib import Path

from synguard.data.phantom import write_phantoms

__all__ = ["given_phantoms"]

_CONFIG = """\
name: given
image_size: 32
private: {path: private, patient: patient}
holdout: {path: holdout, patient: patient}
generator: {kind: folder, path: made}
release: {images: 20}
audits:
  memorisation: {planted_per_transform: 4, batch_size: 8}
  membership: {permutations: 199, resamples: 200, draws: 1}
"""


def given_phantoms(folder: Path) -> Path:
    """The configuration of a run, `folder`/synguard.yaml, beside its images: 40 private, 40 held out, 20 given."""
    write_phantoms(folder / "private", patients=40, images_per_patient=1, size=32, seed=5)
    write_phantoms(folder / "holdout", patients=40, images_per_patient=1, size=32, seed=5, first_patient=60)
    write_phantoms(folder / "made", patients=20, images_per_patient=1, size=32, seed=5, first_patient=160)
    (folder / "made" / "metadata.csv").unlink()
    (folder / "synguard.yaml").write_text(_CONFIG)
    return folder / "synguard.yaml"
