from __future__ import annotations

import numpy as np

from audits.memorisation.exact import ExactLookup, canonical_digest
from tests.support.textures import digests, textures


def test_all_eight_views_have_one_digest_and_others_another():
    image, other = textures(2, 1)
    views = [np.rot90(base, turns) for base in (image, image[:, ::-1]) for turns in range(4)]
    assert len({canonical_digest(view) for view in views}) == 1
    assert canonical_digest(other) != canonical_digest(image)
    changed = image.copy()
    changed[0, 0, 0] ^= 1
    assert canonical_digest(changed) != canonical_digest(image)


def test_same_file_and_same_pixels_are_found():
    private = textures(5, 2)
    lookup = ExactLookup(digests(private), private)
    candidates = np.stack([textures(1, 3)[0], private[3][:, ::-1], private[1], textures(1, 4)[0]])
    names = list(digests(candidates))
    names[3] = digests(private)[4]
    assert lookup.find(names, candidates).tolist() == [-1, 3, 1, 4]


def test_a_duplicate_stands_for_its_first():
    private = textures(4, 5)
    private[3] = private[1]
    lookup = ExactLookup(["a", "b", "c", "d"], private)
    assert lookup.find(["x"], private[3:]).tolist() == [1]
    assert lookup.groups[1] == lookup.groups[3]
