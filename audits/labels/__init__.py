"""The label audit: does each image show what was asked for, as far as the diagnostic model can tell on real images?

    ceiling = measure_ceiling(model, roles.calibration, roles.evaluation, schema, refuse_below=0.05)
    findings = examine(model, pixels, asked, ceiling)          # a batch: what was read, and whom to refuse
    result = summarise(asked, annotation, ceiling, seed=0)     # all candidates: agreement beside the ceiling

The diagnostic model errs on real images too, so agreement of candidates is set beside a ceiling: the model's own agreement
with the labels of real holdout images, level by level, weighted by how often each level was asked of the candidates.
"""

from audits.labels.ceiling import LabelCeiling, Reading, measure_ceiling, read
from audits.labels.stage import LabelFindings, examine
from audits.labels.summary import not_tested, summarise

__all__ = ["LabelCeiling", "LabelFindings", "Reading", "examine", "measure_ceiling", "not_tested", "read", "summarise"]
