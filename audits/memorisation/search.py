"""The three searches of a private set, and where each says that alignment should start.

Whole images, sharply whitened: copies in the same frame, however blended, blurred or compressed. Windows, coarsely: copies
that were cropped, turned or shifted. Keypoints: copies that fill a part of the candidate or were turned by any angle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.descriptor import COARSE, SHARP, Encoder, fit_encoder, pair_map
from audits.memorisation.folder import StoredIndex
from audits.memorisation.geometry import DIHEDRAL
from audits.memorisation.index import EmbeddingIndex, SearchNote
from audits.memorisation.keypoints import KEYPOINTS, KeypointBank, KeypointEncoder, KeypointIndex, fit_keypoints
from audits.memorisation.pictures import Pictures, working_pictures
from audits.memorisation.planted import plant
from audits.memorisation.rows import MakeRows, Rows, unnamed_rows
from audits.memorisation.store import Joined, PictureStore
from audits.memorisation.threads import Timer
from audits.memorisation.vectors import VectorNote
from audits.memorisation.voting import vote

__all__ = ["ENCODERS", "FRAMES", "Named", "Search", "Starts"]

_FRAMED = 4
_PLANTED = {"jpeg-40": 100, "crop-80": 100}
"""Copies that an approximate search is tried on."""

ENCODERS = {"version": 4, "coarse": COARSE.identity, "sharp": SHARP.identity, "keypoints": KEYPOINTS}
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
    """Encoders and indexes of a private set. Descriptors lie on disk in float16, which moves likenesses by up to 0.0002."""

    coarse: Encoder
    sharp: Encoder
    points: KeypointEncoder
    windows_bank: Rows
    windows: EmbeddingIndex
    wholes: EmbeddingIndex
    keypoints: KeypointIndex

    @staticmethod
    def build(
        originals: PictureStore,
        known: Joined,
        seed: int,
        *,
        make: MakeRows = unnamed_rows,
        count: int = 10,
        report: Callable[[str, int, int], None] = lambda phase, done, total: None,
    ) -> Search:
        """Of private images, of which a chunk is in memory at a time; `make` starts the arrays that are written.

        Encoders are fitted on a sample of `known`, which the private images are part of. Where there are very many, copies
        planted of some decide whether an approximate search finds what an exact one does among `count`.
        """
        coarse, sharp, points = fit_encoder(COARSE, known, seed), fit_encoder(SHARP, known, seed), fit_keypoints(known, seed)
        encoders = {"windows": coarse, "wholes": sharp}
        writers = {
            name: make(name, (len(originals), len(encoder.design.bank), encoder.dimension), np.float16)
            for name, encoder in encoders.items()
        }
        done = total = 0
        for chunk in originals.chunks():
            for name, encoder in encoders.items():
                writers[name].append(encoder.bank(chunk.grey))
            # An array's length stands before its rows: counted first, so that no copy of them has to wait elsewhere.
            total += points.count(chunk.grey)
            done += len(chunk)
            report("index", done, len(originals))
        windows, wholes = (writer.finish() for writer in writers.values())
        copies = cache(lambda: _planted(originals, seed))
        return Search(
            coarse,
            sharp,
            points,
            windows,
            EmbeddingIndex.choose(windows, lambda: (coarse.queries(copies()[0].grey), copies()[1]), count, seed=seed),
            EmbeddingIndex.choose(wholes, lambda: (sharp.queries(copies()[0].grey), copies()[1]), _FRAMED, seed=seed),
            KeypointIndex(KeypointBank.build(points, originals, total, make)),
        )

    @property
    def exact(self) -> bool:
        """Whether every stored vector is compared."""
        return self.windows.note.probes == self.wholes.note.probes == self.keypoints.vectors.note.probes == 0

    def describe(self) -> str:
        """How it searches, in sentences for the report."""
        return f"Whole images: {self.wholes.describe()}. Windows: {self.windows.describe()}. {self.keypoints.describe()}."

    def arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        """All there is to keep beside what `build` wrote, by name; `restore` takes both back."""
        yield "projection-coarse", self.coarse.projection
        yield "projection-sharp", self.sharp.projection
        yield "projection-points", self.points.projection
        yield from ((f"keypoints-{name}", array) for name, array in self.keypoints.bank.arrays().items())
        for name, index in (("windows", self.windows), ("wholes", self.wholes), ("keypoints", self.keypoints.vectors)):
            if (lists := index.lists) is not None:
                yield f"{name}-lists", lists

    @property
    def notes(self) -> dict[str, dict[str, Any]]:
        """How each index searches, for the record."""
        points = asdict(self.keypoints.vectors.note)
        return {"windows": asdict(self.windows.note), "wholes": asdict(self.wholes.note), "keypoints": points}

    @staticmethod
    def restore(stored: StoredIndex, notes: Mapping[str, Mapping[str, Any]]) -> Search:
        """The search whose arrays and `notes` were stored. KeyError or TypeError where something is missing."""
        lists = {name: stored.array(f"{name}-lists") if f"{name}-lists" in stored.arrays else None for name in notes}
        small = (stored.array(f"keypoints-{name}") for name in ("image", "place", "angle", "scale", "sign"))
        windows, wholes = (
            EmbeddingIndex(stored.arrays[name], lists=lists[name], note=SearchNote(**notes[name]))
            for name in ("windows", "wholes")
        )
        return Search(
            Encoder(COARSE, stored.array("projection-coarse")),
            Encoder(SHARP, stored.array("projection-sharp")),
            KeypointEncoder(stored.array("projection-points")),
            stored.arrays["windows"],
            windows,
            wholes,
            KeypointIndex(
                KeypointBank(stored.arrays["keypoints"], *small), lists["keypoints"], VectorNote(**notes["keypoints"])
            ),
        )

    def starts(
        self,
        images: Tensor,
        count: int,
        barred: NDArray[np.bool_] | None,
        timer: Timer,
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


def _planted(originals: PictureStore, seed: int) -> tuple[Pictures, NDArray[np.int64]]:
    """Copies of private images, and the row that each shows."""
    rng = np.random.default_rng([seed, 0x5A3])
    rows = [rng.permutation(len(originals))[:n] for n in _PLANTED.values()]
    pixels = [plant(originals.pixels[some], name, rng) for name, some in zip(_PLANTED, rows, strict=True)]
    return working_pictures(np.concatenate(pixels)), np.concatenate(rows)


def _start(image: NDArray[np.int64], maps: NDArray[np.float64], likeness: NDArray[np.float32]) -> Starts:
    started = torch.from_numpy(maps).to(torch.float32)
    upright = torch.zeros(image.shape, dtype=torch.bool)
    return Starts(torch.from_numpy(image), started, started, torch.from_numpy(likeness), upright)


FRAMES: NDArray[np.float64] = np.concatenate([np.linalg.inv(DIHEDRAL), np.zeros((8, 2, 1))], axis=2)
"""Maps (8, 2, 3) from a candidate's frame to a private image's that one of the candidate's dihedral views shows whole."""
_PAIR_MAPS: NDArray[np.float64] = np.stack(
    [np.stack([pair_map(view, window) for window in range(len(COARSE.bank))]) for view in range(8 * len(COARSE.views))]
)
