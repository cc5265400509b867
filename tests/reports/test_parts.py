"""The small parts: figures as text, words, scales, drawings, coarse curves, the notebook's fragment."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

import reports
from reports.coarse import coarse_confusion, coarse_roc, coarse_series
from reports.facts import BatchFact, ProbeFact, Roc, Series
from reports.numbers import ABSENT, Numbers
from reports.pictures import matched
from reports.plots import batch_bars, p_value_bars, roc, score_ridges, strip
from reports.svg import Axis, element, place, ticks
from reports.wording import metric_title, transform_words, with_titles
from synguard.results import CheckResult, Decision, Metric
from tests.support.page import read
from tests.support.runs import fundus

EXACT, COARSE = Numbers(), Numbers(coarse=True)


@pytest.mark.parametrize(
    ("value", "exact", "coarse"),
    [
        (0, "0", "0"),
        (1, "1", "fewer than 10"),
        (9, "9", "fewer than 10"),
        (10, "10", "10"),
        (99, "99", "99"),
        (1003, "1,003", "1,000"),
        (12_345, "12,345", "12,000"),
        (None, ABSENT, ABSENT),
        (math.inf, "no number", "no number"),
    ],
)
def test_counts(value: float | None, exact: str, coarse: str) -> None:
    assert EXACT.count(value) == exact
    assert COARSE.count(value) == coarse


@pytest.mark.parametrize(
    ("value", "n", "exact", "coarse"),
    [
        (0.0, 1000, "0 %", "0 %"),
        (0.003, 1000, "0.3 %", "below 1 %"),
        (0.5, 12, "50 %", "below 83.3 %"),
        (0.5, 8, "50 %", "fewer than 10"),
        (0.12345, 1000, "12.3 %", "12.3 %"),
        (0.00012, 1_000_000, "0.012 %", "0 %"),
        (None, 10, ABSENT, ABSENT),
    ],
)
def test_shares(value: float | None, n: int, exact: str, coarse: str) -> None:
    assert EXACT.share_of(value, n).replace("\u00a0", " ") == exact
    assert COARSE.share_of(value, n).replace("\u00a0", " ") == coarse


def test_other_figures() -> None:
    assert EXACT.plain(0.5117) == "0.512"
    assert COARSE.plain(0.5117) == "0.51"
    assert EXACT.plain(0.00123) == "0.0012"
    assert EXACT.plain(21.44) == "21.4"
    assert EXACT.plain(math.inf) == "∞"
    assert COARSE.p_value(0.0003) == "p < 0.01"
    assert EXACT.p_value(0.0003) == "p = 0.0003"
    assert EXACT.interval((0.1, 0.25), "share").replace("\u00a0", " ") == "10 % to 25 %"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("identity", "unchanged"),
        ("jpeg-40", "JPEG-compressed at quality 40"),
        ("brightened-1.3", "brightened ×1.3"),
        ("mirrored+turned-90", "mirrored, turned by 90°"),
        ("flip_h", "mirrored left to right"),
        ("rotated-10", "turned by 10°"),
        ("crop", "cropped"),
        ("negative", "as a negative"),
        ("pasted-50", "a part of 50 % pasted into another image"),
        ("blended-50", "blended at 50 % with another image"),
        ("patient-77", None),
        ('"><img>', None),
    ],
)
def test_transforms_in_words(name: str, words: str | None) -> None:
    found = transform_words(name)
    assert (found.replace("\u00a0", " ") if found else found) == words


def test_metrics_in_words() -> None:
    assert metric_title("memorisation.verified_copies", "accepted") == "Verified copies in what would be released"
    assert (
        metric_title("memorisation.planted_recall", "jpeg-40")
        == "The audit's own test copies found: JPEG-compressed at quality 40"
    )
    assert metric_title("patient.smith") == "Other"
    assert (
        with_titles("memorisation.verified_copies (accepted): 1 of 9.")
        == "Verified copies in what would be released: 1 of 9."
    )
    assert with_titles("Private: something else.") == "Private: something else."


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, (0, 0.2, 0.4, 0.6, 0.8, 1)),
        (0, 1000, (0, 200, 400, 600, 800, 1000)),
        (0.13, 0.47, (0.2, 0.3, 0.4)),
        (3, 3, (3,)),
    ],
)
def test_ticks_are_round(low: float, high: float, expected: tuple[float, ...]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


def test_scales_and_coordinates() -> None:
    axis = Axis(1e-3, 1, 0, 300, log=True)
    assert [axis(x) for x in (0, 1e-3, 1e-2, 1, 5)] == pytest.approx([0, 0, 100, 300, 300])
    assert [place(x) for x in (0.0, -0.0001, 1.005, 2.5, 100)] == ["0", "0", "1", "2.5", "100"]
    assert element("text", "<b>", class_='"x') == '<text class="&#34;x">&lt;b&gt;</text>'


def test_drawings_show_their_figures() -> None:
    scores = [
        Series("synthetic", (0.0, 0.5, 1.0), (90, 10), above=10, of=100),
        Series("holdout", (0.0, 0.5, 1.0), (100, 0), above=0, of=100),
    ]
    drawing = read(score_ridges(scores, 0.5, EXACT))
    assert drawing.faults == []
    assert "10 of 100 beyond the threshold" in drawing.text()
    assert "0 of 100 beyond the threshold" in str(drawing.all("svg")[0]["aria-label"])

    bars = p_value_bars(Series("p_values", (0.0, 0.5, 1.0), (75, 25)), EXACT)
    first, second = (float(r["height"] or 0) for r in read(bars).all("rect"))
    assert first == pytest.approx(3 * second, rel=0.01)
    assert "1.5 times its expected share" in bars

    stacks = read(batch_bars([BatchFact(0, 100, 80, 15, 5), BatchFact(1, 100, 100, 0, 0)], EXACT))
    heights = [float(r["height"] or 0) for r in stacks.all("rect") if r.get("width") != "10"]
    assert heights == pytest.approx([96, 120, 18, 6])
    assert "180 accepted of 200 in 2 batches" in str(stacks.all("svg")[0]["aria-label"])

    dot = read(strip(0.5, (0.25, 0.75), mark=0.9))
    lines = [(line["class"], line["x1"], line["x2"]) for line in dot.all("line")]
    assert lines == [("track", "0", "100"), ("goal", "90", "90"), ("whisker", "25", "75")]
    assert dot.all("path")[0]["d"] == "M50.00 10h0.001"


def test_the_roc_lies_on_logarithmic_axes() -> None:
    curve = Roc((0.0, 0.001, 0.01, 0.1, 1.0), (0.0, 0.01, 0.1, 0.5, 1.0), (), ())
    probe = ProbeFact("white_box", "white box", "measured", 0.7, (0.6, 0.8), None, None, 9, 9, None, curve)
    line = next(p["d"] for p in read(roc(probe, EXACT)).all("path") if p["class"] == "outline")
    assert line is not None
    points = [tuple(map(float, step[1:].split())) for step in line.replace("L", "|L").split("|")]
    steps = [b[0] - a[0] for a, b in pairwise(points)]
    assert steps == pytest.approx([100, 100, 100])
    assert points[0][1] - points[1][1] == pytest.approx(100)


def test_coarse_bins_hold_ten_and_do_not_cross_the_threshold() -> None:
    series = Series("synthetic", tuple(i / 10 for i in range(11)), (1, 0, 4, 30, 9, 2, 0, 0, 6, 9), above=15, of=61)
    coarse = coarse_series(series, 0.6)
    assert coarse is not None
    assert coarse.counts == (35, 11, 15)
    assert coarse.edges == pytest.approx((0, 0.4, 0.6, 1.0))
    few = coarse_series(Series("synthetic", (0.0, 0.5, 1.0), (100, 3), above=3, of=103), 0.5)
    assert few is not None
    assert few.counts == (100, 0)
    assert coarse_series(Series("holdout", (0.0, 1.0), (9,))) is None


def test_coarse_curves_are_made_of_ten_people() -> None:
    curve = Roc(tuple(i / 1000 for i in range(1001)), tuple(i / 1000 for i in range(1001)), (), ())
    coarse = coarse_roc(curve, 1000, 1000)
    assert coarse is not None
    assert coarse.fpr == (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    assert coarse_roc(curve, 100, 100).fpr == (0.1, 0.2, 0.5, 1.0)  # type: ignore[union-attr]
    assert coarse_roc(curve, 9, 1000) is None
    assert coarse_confusion([[90, 9, 1], [3, 2, 1]]) == ((90, -1, -1), (-1, -1, -1))


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("mirrored", [False, True])
def test_pairs_are_brought_into_one_position(turns: int, mirrored: bool) -> None:
    private = fundus(5, 3)
    copy = np.rot90(private[:, ::-1] if mirrored else private, turns)
    brighter = np.clip(copy * 0.8 + 20, 0, 255).astype(np.uint8)
    view, difference = matched(brighter, private)
    assert np.array_equal(view, copy)
    assert difference.max() <= 6
    _, other = matched(fundus(6, 3), private)
    assert other.mean() > 5 * difference.mean()


def test_a_result_shows_itself_in_a_notebook() -> None:
    metric = Metric(name="memorisation.near_copy_rate", value=0.02, n=1000, unit="share", method="", baseline=0.001)
    check = CheckResult(
        id="x",
        metric=metric.name,
        status="fail",
        reason='"><script>',
        value=0.02,
        interval=(0.01, 0.03),
        limit="above 1 %",
        unit="share",
    )
    decision = Decision(status="fail", exit_code=20, reasons=("<b>because</b>",), checks=(check,))
    page = read(reports.result_html(decision, [metric]))
    assert page.faults == []
    assert {name for name, _ in page.tags} == {"div", "p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td", "span"}
    words = page.text()
    assert words.startswith("✕ Not for release <b>because</b> Check Status")
    assert "Near copies ✕ Fail 2 % (1 % to 3 %) above 1 % 0.1 %" in words.replace("\u00a0", " ")
