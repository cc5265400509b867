"""From matched keypoints to hypotheses: which private image, under which map, borne out by which part of the candidate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from audits.memorisation.keypoints import KeypointBank, Keypoints

__all__ = ["Hypotheses", "vote"]

_FLOOR = 0.4
"""Likeness from which a matched keypoint counts."""
_PAIRS = 12
"""Matched keypoints of an image that are tried as the map."""
_SHORT_LIST = 16
_NEAR = 0.12
"""Distance in the image's frame within which a matched keypoint bears out a map: 4 of 64 pixels."""
_REACH = 6.0
"""Radius in pixels of the candidate, of 64, that a matched keypoint speaks for."""
_PRIOR = 0.02
"""How far apart matched keypoints must lie to say more about turn and scale than one of them does by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class Hypotheses:
    """For n candidates, k hypotheses each: the private image (-1: none), the map (2, 3) from the candidate's frame to its
    frame, whether the candidate is its negative, how strongly it is borne out, and where: weights (n, k, 1, s, s)."""

    image: Tensor
    maps: Tensor
    inverted: Tensor
    support: Tensor
    weight: Tensor


def vote(
    queries: Keypoints,
    bank: KeypointBank,
    likeness: NDArray[np.float32],
    rows: NDArray[np.int64],
    count: int,
    side: int,
    barred: NDArray[np.bool_] | None = None,
) -> Hypotheses:
    """The `count` best hypotheses from the nearest bank keypoints of each query keypoint, (n, 2 k, depth).

    An image's votes are those of its matched keypoints, mirrored ones and negatives apart. Of the images with most votes,
    the map of each matched keypoint is held against the places of the others; the one that most agree with stays.
    """
    n, doubled, depth = likeness.shape
    own = doubled // 2
    query_point = np.broadcast_to((np.arange(doubled) % own)[None, :, None], likeness.shape).reshape(n, -1)
    mirrored = np.broadcast_to((np.arange(doubled) >= own)[None, :, None], likeness.shape).reshape(n, -1)
    # What many private images show as well (the rim of a fundus) tells none of them apart.
    common = np.repeat(likeness[:, :, -1], depth, axis=1)
    likeness, rows = likeness.reshape(n, -1), rows.reshape(n, -1)
    if len(bank.image) == 0:
        return _nothing(n, count, side)
    stored = rows.clip(0)
    image = np.where(rows >= 0, bank.image[stored], -1).astype(np.int64)
    negative = np.take_along_axis(queries.sign, query_point, 1) * bank.sign[stored] < 0
    weight = np.maximum(likeness - np.maximum(common, _FLOOR), 0) ** 2 * (rows >= 0)
    if barred is not None:
        weight = weight * ~barred[np.arange(n)[:, None], image.clip(0)]
    kind = image * 4 + mirrored * 2 + negative
    chosen, pairs = _tally(kind, query_point, weight)
    there = pairs >= 0
    at = pairs.clip(0)
    who = np.arange(n)[:, None, None]
    q, p, w = query_point[who, at], stored[who, at], np.where(there, weight[who, at], 0.0)
    maps = _pair_maps(queries, bank, who, q, p, (chosen % 4 >= 2))
    here = queries.place[who, q].astype(np.float64)
    there_place = bank.place[p].astype(np.float64)
    sent = np.einsum("nkiab,nkjb->nkija", maps[..., :2], here) + maps[:, :, :, None, :, 2]
    agrees = (np.abs(sent - there_place[:, :, None]).max(-1) < _NEAR) * w[:, :, None, :]
    support = agrees.sum(-1) * (w > 0)
    best = support.argmax(-1)
    nk = (np.arange(n)[:, None], np.arange(chosen.shape[1])[None])
    strength = np.where(chosen >= 0, support[*nk, best], -1.0)
    order = np.argsort(-strength, axis=1, kind="stable")[:, :count]
    kept = (np.arange(n)[:, None], order)
    strength, best = strength[kept], best[kept]
    speaks = agrees[kept[0], order, best] > 0
    mirror = (chosen % 4 >= 2)[kept]
    fitted = _fit(maps[kept[0], order, best], here[kept], there_place[kept], agrees[kept[0], order, best], mirror)
    return Hypotheses(
        image=torch.from_numpy(np.where(strength > 0, chosen[kept] // 4, -1)),
        maps=torch.from_numpy(fitted.astype(np.float32)),
        inverted=torch.from_numpy(chosen[kept] % 2 == 1) & torch.from_numpy(chosen[kept] >= 0),
        support=torch.from_numpy(strength.astype(np.float32)).clamp_min(0),
        weight=_weights(here[kept], queries.scale[who[:, :, 0][..., None], q[kept]], speaks, side),
    )


def _nothing(n: int, count: int, side: int) -> Hypotheses:
    """No hypothesis for n candidates."""
    image = torch.full((n, count), -1)
    maps = torch.eye(2, 3).expand(n, count, 2, 3).contiguous()
    return Hypotheses(image, maps, image >= 0, torch.zeros(n, count), torch.zeros(n, count, 1, side, side))


def _tally(
    kind: NDArray[np.int64], point: NDArray[np.int64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Kinds (n, short list) with most votes, -1 where fewer, and the places of their strongest pairs (n, short list, pairs).

    A keypoint votes once for a kind, by its best pair.
    """
    n = len(kind)
    chosen = np.full((n, _SHORT_LIST), -1, np.int64)
    pairs = np.full((n, _SHORT_LIST, _PAIRS), -1, np.int64)
    for i in range(n):
        cast = np.flatnonzero(weight[i] > 0)
        cast = cast[np.argsort(-weight[i, cast], kind="stable")]
        _, first = np.unique(kind[i, cast] * 1024 + point[i, cast], return_index=True)
        cast = cast[np.sort(first)]
        kinds, member = np.unique(kind[i, cast], return_inverse=True)
        votes = np.bincount(member, weights=weight[i, cast], minlength=len(kinds))
        for place, best in enumerate(np.argsort(-votes, kind="stable")[:_SHORT_LIST]):
            chosen[i, place] = kinds[best]
            mine = cast[member == best][:_PAIRS]
            pairs[i, place, : len(mine)] = mine
    return chosen, pairs


def _pair_maps(
    queries: Keypoints,
    bank: KeypointBank,
    who: NDArray[np.int64],
    q: NDArray[np.int64],
    p: NDArray[np.int64],
    mirrored: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The similarity (n, k, pairs, 2, 3) that takes each matched keypoint of a candidate to its partner."""
    ratio = bank.scale[p].astype(np.float32) / queries.scale[who, q]
    turned = bank.angle[p].astype(np.float64)
    own = queries.angle[who, q].astype(np.float64)
    flip = np.where(mirrored, -1.0, 1.0)[..., None]
    # R(turned) diag(1, flip) R(own)^-1, written out.
    angle = turned - flip * own
    cosine, sine = ratio * np.cos(angle), ratio * np.sin(angle)
    linear = np.stack([np.stack([cosine, -flip * sine], -1), np.stack([sine, flip * cosine], -1)], -2)
    shift = bank.place[p].astype(np.float32) - np.einsum("nkiab,nkib->nkia", linear, queries.place[who, q])
    return np.concatenate([linear, shift[..., None]], -1)


def _fit(
    maps: NDArray[np.float64],
    here: NDArray[np.float64],
    there: NDArray[np.float64],
    weight: NDArray[np.float64],
    mirrored: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The similarity (n, k, 2, 3) that fits the agreeing pairs best, by weighted least squares on complex numbers.

    Pairs that lie close together say little about turn and scale: the map they agree with counts as prior.
    """
    flip = np.where(mirrored, -1.0, 1.0)
    source = here[..., 0] + 1j * flip[..., None] * here[..., 1]
    target = there[..., 0] + 1j * there[..., 1]
    prior = maps[..., 0, 0] + 1j * maps[..., 1, 0]
    total = weight.sum(-1).clip(1e-9)
    centres = [(weight * part).sum(-1) / total for part in (source, target)]
    own, other = source - centres[0][..., None], target - centres[1][..., None]
    factor = ((weight * other * own.conj()).sum(-1) + _PRIOR * total * prior) / (
        (weight * np.abs(own) ** 2).sum(-1) + _PRIOR * total
    )
    shift = centres[1] - factor * centres[0]
    linear = np.stack(
        [np.stack([factor.real, -flip * factor.imag], -1), np.stack([factor.imag, flip * factor.real], -1)], -2
    )
    return np.concatenate([linear, np.stack([shift.real, shift.imag], -1)[..., None]], -1)


def _weights(place: NDArray[np.float64], scale: NDArray[np.float32], speaks: NDArray[np.bool_], side: int) -> Tensor:
    """Where keypoints (n, k, pairs) speak: soft discs around those that do, (n, k, 1, side, side)."""
    axis = ((np.arange(side) + 0.5) * 2 / side - 1).astype(np.float32)
    reach = (2 * _REACH / 64 * np.maximum(scale, 1.0)).astype(np.float32)
    along = [np.exp(-0.5 * ((axis - place[..., i, None]) / reach[..., None]) ** 2) for i in (0, 1)]
    discs = np.einsum("nkpy,nkpx,nkp->nkyx", along[1], along[0], speaks.astype(np.float32), optimize=True)
    return torch.from_numpy(np.minimum(discs, 1.0).astype(np.float32))[:, :, None]
