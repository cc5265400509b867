"""The page of a run on paper: the same view through a style sheet of its own, as PDF, by WeasyPrint (the extra `pdf`).

WeasyPrint knows neither media queries nor custom properties in drawings, so `paper.css` and `drawing.css` say the same in
plainer words; nothing of the page's content is its own. It fetches nothing, and the same run folder gives the same bytes.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

from reports import internal, public
from reports.editions import Edition, page, write
from reports.runfolder import read_run
from synguard.errors import InputError

__all__ = ["render_pdf"]

_STYLE = re.compile(r"<style>.*?</style>", re.DOTALL)
_DRAWING = re.compile(r"<svg\b[^>]*>")


def render_pdf(run: Path, edition: Edition) -> Path:
    """Writes `report/{edition}.pdf` (A4) into the run folder, readable by its owner only, and returns its path.

    Raises InputError where the extra is not installed, or the folder holds no results.json that can be read.
    """
    try:
        from weasyprint import CSS, HTML, URLFetcher
    except (ImportError, OSError) as error:
        wanted = "the extra and Debian's libpango-1.0-0, libpangoft2-1.0-0: pip install 'synguard[pdf]'"
        raise InputError.of("--format pdf", f"no WeasyPrint that can be loaded ({error})", wanted) from error
    folder = read_run(run)
    view = internal.build(folder) if edition == "internal" else public.build(public.disclose(folder))
    nothing = URLFetcher(allowed_protocols=("data",), allow_redirects=False)
    sheet = CSS(string=_template("paper.css").replace("EDITION", edition), url_fetcher=nothing)
    document = HTML(string=_on_paper(page(view)), url_fetcher=nothing)
    target = run / "report" / f"{edition}.pdf"
    write(target, document.write_pdf(stylesheets=[sheet]))
    return target


def _on_paper(html: str) -> str:
    """Without the screen's style sheet, and each drawing with one of its own. What users named is escaped: no drawing."""
    drawing = f"<style>{_template('drawing.css')}</style>"
    return _DRAWING.sub(lambda found: found[0] + drawing, _STYLE.sub("", html))


def _template(name: str) -> str:
    return resources.files("reports").joinpath(f"templates/{name}").read_text(encoding="utf-8")
