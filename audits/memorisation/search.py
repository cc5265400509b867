"""The three searches of a private set, and where each says that alignment should start.

Whole images, sharply whitened: copies in the same frame, however blended, blurred or compressed. Windows, coarsely: copies
that were cropped, turned or shifted. Keypoints: copies that fill a part of the candidate or were turned by any angle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.descriptor import COARSE, SHARP, Encoder, fit_encoder, pair_map
from audits.memorisation.geometry import DIHEDRAL
from audits.memorisation.index import EmbeddingIndex
from audits.memorisation.keypoints import KEYPOINTS, KeypointEncoder, KeypointIndex, Keypoints, fit_keypoints
from audits.memorisation.voting import vote

__all__ = ["ENCODERS", "FRAMES", "Named", "Search", "Starts"]

_FRAMED = 4

ENCODERS = {"version": 3, "coarse": COARSE.identity, "sharp": SHARP.identity, "keypoints": KEYPOINTS}
"""Identity of the encoders: an index made with other ones is refused."""
_PARTS = 4


@dataclass(frozen=True, slots=True, eq=False)
class Starts:
    """For n queries, k starts each: private image (-1: none), map (n, k, 2, 3), the frame it must stay in, likeness of the
    search, whether the query is a negative, and where it counts (n, k, 1, s, s), everywhere where None."""

    image: Tensor
    maps: Tensor
    frames: Tensor
    likeness: Tensor
    inverted: Tensor
    weight: Tensor | None = None

    def moved(self, maps: Tensor) -> Starts:
        """The same starts with other maps."""
        return Starts(self.image, maps, self.frames, self.likeness, self.inverted, self.weight)

    def joined(self, more: Starts) -> Starts:
        """These and more starts of the same queries, none of them weighted."""
        names = [f.name for f in fields(Starts) if f.name != "weight"]
        return Starts(*(torch.cat([getattr(self, name), getattr(more, name)], 1) for name in names))

    def without(self, dropped: Tensor) -> Starts:
        """The same starts, some of them (n, k) emptied."""
        return replace(self, image=torch.where(dropped, -1, self.image))

    def take(self, chosen: Tensor) -> Starts:
        """Some starts of each query, (n, kept)."""
        row = torch.arange(len(chosen))[:, None]
        weight = None if self.weight is None else self.weight[row, chosen]
        image, maps, frames = self.image[row, chosen], self.maps[row, chosen], self.frames[row, chosen]
        return Starts(image, maps, frames, self.likeness[row, chosen], self.inverted[row, chosen], weight)


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """What an expert takes for the nearest private image of n queries (-1: none), in which dihedral view, with figures."""

    image: NDArray[np.int64]
    view: NDArray[np.int64]
    figures: NDArray[np.float64]

    def take(self, rows: NDArray[np.int64] | slice) -> Named:
        """Those of some queries."""
        return Named(self.image[rows], self.view[rows], self.figures[rows])

    def padded(self, n: int) -> Named:
        """Followed by queries without an image, `n` in all."""
        more = n - len(self.image)
        image, view = np.pad(self.image, (0, more), constant_values=-1), np.pad(self.view, (0, more))
        return Named(image, view, np.pad(self.figures, ((0, more), (0, 0))))


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Encoders and indexes of a private set."""

    coarse: Encoder
    sharp: Encoder
    points: KeypointEncoder
    windows_bank: NDArray[np.float32]
    wholes_bank: NDArray[np.float32]
    windows: EmbeddingIndex
    wholes: EmbeddingIndex
    keypoints: KeypointIndex

    @staticmethod
    def build(originals: Tensor, known: Tensor, seed: int) -> Search:
        """Of private images (n, 1, s, s); encoders are fitted on `known`, which they are part of."""
        coarse, sharp, points = fit_encoder(COARSE, known, seed), fit_encoder(SHARP, known, seed), fit_keypoints(known, seed)
        return Search._of(
            coarse, sharp, points, coarse.bank(originals), sharp.bank(originals), points.keypoints(originals, mirrored=False)
        )

    @staticmethod
    def _of(
        coarse: Encoder,
        sharp: Encoder,
        points: KeypointEncoder,
        windows: NDArray[np.float32],
        wholes: NDArray[np.float32],
        keypoints: Keypoints,
    ) -> Search:
        indexes = EmbeddingIndex(windows), EmbeddingIndex(wholes), KeypointIndex(keypoints)
        return Search(coarse, sharp, points, windows, wholes, *indexes)

    @property
    def exact(self) -> bool:
        """Whether every stored vector is compared."""
        return self.windows.note.probes == self.wholes.note.probes == self.keypoints.vectors.probes == 0

    def describe(self) -> str:
        """How it searches, in sentences for the report."""
        return f"Whole images: {self.wholes.describe()}. Windows: {self.windows.describe()}. {self.keypoints.describe()}."

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All there is to keep, by name; `restore` takes it back."""
        projections = {"coarse": self.coarse.projection, "sharp": self.sharp.projection, "points": self.points.projection}
        named = {f"projection-{name}": array for name, array in projections.items()}
        points = {f"keypoints-{f.name}": getattr(self.keypoints.bank, f.name) for f in fields(Keypoints)}
        return {**named, "windows": self.windows_bank, "wholes": self.wholes_bank, **points}

    @staticmethod
    def restore(arrays: Mapping[str, NDArray[Any]]) -> Search:
        """The search whose `arrays` these are. KeyError where one is missing."""
        return Search._of(
            Encoder(COARSE, arrays["projection-coarse"]),
            Encoder(SHARP, arrays["projection-sharp"]),
            KeypointEncoder(arrays["projection-points"]),
            arrays["windows"],
            arrays["wholes"],
            Keypoints(*(arrays[f"keypoints-{f.name}"] for f in fields(Keypoints))),
        )

    def starts(
        self,
        images: Tensor,
        count: int,
        barred: NDArray[np.bool_] | None,
        timer: Callable[[str], None],
        named: Sequence[Named] = (),
    ) -> tuple[Starts, Starts, Starts]:
        """Where to start for images (n, 1, s, s): in the frame, moved, and in parts. What is `named` is tried as well."""
        whole, coarse = self.sharp.queries(images), self.coarse.queries(images)
        points = self.points.keypoints(images, mirrored=True)
        timer("embed")
        image, view, _, likeness = self.wholes.candidates(whole, _FRAMED, barred)
        framed = _start(image, FRAMES[view], likeness)
        image, view, window, likeness = self.windows.candidates(coarse, count, barred)
        moved = _start(image, _PAIR_MAPS[view, window], likeness)
        for seen in named:
            framed, moved = self._also(seen, whole, coarse, framed, moved)
        found = self.keypoints.search(points, barred)
        timer("search")
        guesses = vote(points, self.keypoints.bank, *found, count=_PARTS, side=images.shape[-1], barred=barred)
        parts = Starts(guesses.image, guesses.maps, guesses.maps, guesses.support / 10, guesses.inverted, guesses.weight)
        timer("vote")
        return framed, moved, parts

    def _also(
        self, seen: Named, whole: NDArray[np.float32], coarse: NDArray[np.float32], framed: Starts, moved: Starts
    ) -> tuple[Starts, Starts]:
        """The starts, and those at the image that an expert names: as it sees it, and as our windows would start there."""
        image, own = seen.image[:, None], FRAMES[seen.view][:, None]
        _, _, _, likeness = self.wholes.compare(whole, image)
        seen_so = _start(image, own, likeness)
        # Where our own search has a start already, a second one would push another image out.
        same = (framed.image == seen_so.image) & (framed.frames == seen_so.frames).all(-1).all(-1)
        framed = framed.joined(seen_so.without(same.any(1, keepdim=True)))
        _, view, window, likeness = self.windows.compare(coarse, image)
        guided = _start(image, _PAIR_MAPS[view, window], likeness)
        guided = guided.without((moved.image == guided.image).any(1, keepdim=True))
        return framed, moved.joined(guided).joined(_start(image, own, likeness))


def _start(image: NDArray[np.int64], maps: NDArray[np.float64], likeness: NDArray[np.float32]) -> Starts:
    started = torch.from_numpy(maps).to(torch.float32)
    upright = torch.zeros(image.shape, dtype=torch.bool)
    return Starts(torch.from_numpy(image), started, started, torch.from_numpy(likeness), upright)


FRAMES: NDArray[np.float64] = np.concatenate([np.linalg.inv(DIHEDRAL), np.zeros((8, 2, 1))], axis=2)
"""Maps (8, 2, 3) from a candidate's frame to a private image's that one of the candidate's dihedral views shows whole."""
_PAIR_MAPS: NDArray[np.float64] = np.stack(
    [np.stack([pair_map(view, window) for window in range(len(COARSE.bank))]) for view in range(8 * len(COARSE.views))]
)
