"""Compliance reports in two editions, from results alone.

reports.render(run, "internal")   # writes run/report/internal.html and returns its path
reports.render(run, "public")     # the same from an allow-list: nothing of one patient or one image
reports.summary(run)              # the verdict as plain text
"""

from reports.editions import Edition, render, summary
from reports.notebook import result_html

__all__ = ["Edition", "render", "result_html", "summary"]
