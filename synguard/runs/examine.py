"""The stages over one batch: copies, then labels; the rows of images.parquet."""

from __future__ import annotations

import pandas as pd

from audits import labels
from synguard.runs.engine import Batch
from synguard.runs.prepare import Prepared

__all__ = ["examine_batch"]


def examine_batch(batch: Batch, prepared: Prepared, *, quarantine: bool) -> pd.DataFrame:
    """One row a candidate. With `quarantine`, verified copies and label refusals are not accepted, for the reason given.

    Without it (`synguard audit`) the images are what somebody means to release: all count as accepted.
    """
    examined = prepared.memorisation.examine(batch.pixels, batch.sha256)
    copies = examined.columns(prepared.material.private)
    flagged = copies["memorisation.flagged"].to_numpy(dtype=bool)
    reasons = pd.Series(["copy of a private image" if copy else "" for copy in flagged], dtype="string")
    parts = [batch.asked.add_prefix("condition."), copies]
    if prepared.diagnostic is not None and prepared.ceiling is not None:
        found = labels.examine(prepared.diagnostic, batch.pixels, batch.asked, prepared.ceiling)
        parts.insert(1, found.columns())
        label_reasons = pd.Series([f"label: {reason}" if reason else "" for reason in found.reason], dtype="string")
        reasons = reasons.where(reasons != "", label_reasons)
    accepted = (reasons == "") if quarantine else pd.Series(True, index=reasons.index)
    head = pd.DataFrame(
        {
            "file": pd.array(batch.files, dtype="string"),
            "sha256": pd.array(batch.sha256, dtype="string"),
            "seed": pd.array(batch.seeds, dtype="Int64"),
            "attempt": pd.array([a.attempt for a in batch.attempts], dtype="Int64"),
            "accepted": accepted.to_numpy(dtype=bool),
            "reason": reasons,
        }
    )
    return pd.concat([head, *(part.reset_index(drop=True) for part in parts)], axis=1)
