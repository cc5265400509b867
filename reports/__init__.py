"""Compliance reports in two editions, from results alone.

reports.render(run, "internal")   # writes run/report/internal.html and returns its path
reports.render(run, "public")     # the same from an allow-list: nothing of one patient or one image
reports.render_pdf(run, "public") # either of them on paper, report/public.pdf
reports.summary(run)              # the verdict as plain text
reports.render_curve(path)        # the curve of a training, training/curve.json, as training/curve.html
reports.compare(run, other)       # what changed between two runs
"""

from reports.compare import Comparison, compare
from reports.curve import curve_summary, render_curve
from reports.editions import Edition, render, summary
from reports.notebook import result_html
from reports.paper import render_pdf
from reports.samples import sampled_files

__all__ = [
    "Comparison",
    "Edition",
    "compare",
    "curve_summary",
    "render",
    "render_curve",
    "render_pdf",
    "result_html",
    "sampled_files",
    "summary",
]
