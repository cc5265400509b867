"""The most exposed patients, for the internal edition alone: averages hide the one patient who is given away.

A patient is named by a pseudonym that only the holder of the private set can make and undo.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from synguard.data.images import ImageSet
from synguard.metrics.significance import best_of_each

__all__ = ["exposed", "pseudonym"]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
_MOST = 20


def pseudonym(patient: str, private: ImageSet) -> str:
    """What a patient is called in the report: the same in every run on the same private set.

    A keyed digest. The key comes from the digests of all private files, which no record holds, so that nobody without the
    set can try patient ids until one fits; who has it finds the patient by making all pseudonyms.
    """
    key = hashlib.sha256("\n".join(["pseudonyms", *sorted(private.sha256)]).encode()).digest()
    return hmac.new(key, patient.encode(), hashlib.sha256).hexdigest()[:12]


def exposed(
    attacked: ImageSet,
    private: ImageSet,
    nearness: tuple[Floats, Floats],
    others: NDArray[np.str_],
    succeeded: Sequence[tuple[str, Mapping[str, bool]]],
) -> list[dict[str, Any]]:
    """The 20 patients nearest to the release, with what succeeded on them. `attacked` are images of the private set.

    `nearness` are scores of the attacked images and of images of `others`, patients who cannot have leaked, higher is
    nearer. The p-value is a patient's rank among those (conformal, never 0), the q-value that after Benjamini and Hochberg
    1995. `succeeded` names attacks, with the patients attacked and whether it succeeded on them.
    """
    patients = attacked.patients.astype(str)
    names, counts = np.unique(patients, return_counts=True)
    scores, unseen = best_of_each(nearness[0], patients), np.sort(best_of_each(nearness[1], others))
    p_values = (1 + len(unseen) - np.searchsorted(unseen, scores, side="left")) / (1 + len(unseen))
    q_values = false_discovery_control(p_values)
    rows = []
    for place in np.argsort(-scores, kind="stable")[:_MOST]:
        name = str(names[place])
        rows.append(
            {
                "pseudonym": pseudonym(name, private),
                "images": int(counts[place]),
                "score": float(scores[place]),
                "p_value": float(p_values[place]),
                "q_value": float(q_values[place]),
                "attacks": [attack for attack, by_patient in succeeded if by_patient.get(name, False)],
            }
        )
    return rows
