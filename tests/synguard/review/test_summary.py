"""What follows from decisions: agreement, hit rates, what is open. Known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from synguard.metrics.catalogue import CATALOGUE
from synguard.metrics.intervals import clopper_pearson
from synguard.review.decisions import Decision
from synguard.review.queue import Pair
from synguard.review.summary import review_metrics, summarise


def pairs(**kinds: int) -> list[Pair]:
    return [
        Pair(f"{kind}{i}", f"pairs/{i}", kind, f"{kind}{i}.png", accepted=i % 2 == 0)  # type: ignore[arg-type]
        for kind, count in kinds.items()
        for i in range(count)
    ]


def said(reader: str, **verdicts: str) -> list[Decision]:
    return [Decision(reader, reader.title(), pair, verdict, "", "now") for pair, verdict in verdicts.items()]  # type: ignore[arg-type]


def metrics(review):
    return {(m.name, m.group): m for m in review_metrics(review, examined=100, accepted=90)}


def test_kappa_of_a_textbook_table():
    """Cohen's own kind of table: 20 both copy, 15 both chance, 5 and 10 differ: kappa 0.4."""
    table = [("copy", "copy")] * 20 + [("copy", "unsure")] * 5 + [("unsure", "copy")] * 10 + [("unsure", "unsure")] * 15
    known = pairs(known=50)
    ann = said("ann", **{pair.digest: first for pair, (first, _) in zip(known, table, strict=True)})
    bob = said("bob", **{pair.digest: second for pair, (_, second) in zip(known, table, strict=True)})
    found = summarise(known, [*ann, *bob]).agreement
    assert found is not None
    assert found.kappa == pytest.approx(0.4)
    assert found.n == 50
    assert found.interval[0] < 0.4 < found.interval[1]
    # Fleiss, Cohen and Everitt (1969): a standard error of about 0.13 at this n.
    assert (found.interval[1] - found.interval[0]) / 3.92 == pytest.approx(0.13, abs=0.03)


def test_perfect_agreement_of_a_few_is_not_certain():
    known = pairs(known=3, control=3)
    verdicts = {pair.digest: "copy" if pair.kind == "known" else "unsure" for pair in known}
    found = summarise(known, [*said("ann", **verdicts), *said("bob", **verdicts)]).agreement
    assert found is not None
    assert found.kappa == 1
    assert found.bounds[0] < 0.9


def test_one_verdict_only_has_no_kappa():
    known = pairs(known=4)
    verdicts = {pair.digest: "copy" for pair in known}
    metric = metrics(summarise(known, [*said("ann", **verdicts), *said("bob", **verdicts)]))["review.kappa", None]
    assert (metric.state, metric.value, metric.n) == ("insufficient", None, 4)


def test_the_two_readers_with_most_in_common():
    known = pairs(known=6)
    few = {pair.digest: "unsure" for pair in known[:2]}
    all_ = {pair.digest: "copy" if i % 2 else "unsure" for i, pair in enumerate(known)}
    found = summarise(known, [*said("ann", **few), *said("bob", **all_), *said("cleo", **all_)]).agreement
    assert found is not None
    assert found.readers == ("Bob", "Cleo")


def test_hit_rates_by_reader():
    known = pairs(known=10, control=5, flagged=2)
    ann = said("ann", **{p.digest: "copy" for p in known[:9]}, control0="copy", control1="unsure", flagged0="copy")
    bob = said("bob", known0="same patient", known1="copy")
    review = summarise(known, [*ann, *bob])
    assert [(r.name, r.judged, r.known, r.found, r.controls, r.alarms) for r in review.readers] == [
        ("Ann", 12, 9, 9, 2, 1),
        ("Bob", 2, 2, 1, 0, 0),
    ]
    found = metrics(review)
    assert found["review.known_copies_found", "reader 1"].interval == clopper_pearson(9, 9)
    assert found["review.known_copies_found", "reader 2"].value == 0.5
    assert not any("ann" in str(metric).lower() for metric in found.values()), "a name went into a metric"


def test_what_is_open_and_what_is_confirmed():
    flagged = [*pairs(flagged=4), Pair("", "", "flagged", "no-picture.png", accepted=True)]
    ann = said("ann", flagged0="copy", flagged1="copy", flagged2="copy", flagged3="unsure")
    bob = said("bob", flagged0="copy", flagged1="copy", flagged2="alike by chance", flagged3="unsure")
    review = summarise(flagged, [*ann, *bob])
    found = metrics(review)
    assert found["review.pairs_open", None].value == 3, "a conflict, two who are unsure, and one that nobody can see"
    assert review.conflicts == 2
    assert found["review.copies_confirmed", None].value == 2
    assert found["review.copies_confirmed", "accepted"].value == 1
    assert found["review.copies_confirmed", "accepted"].n == 90


def test_nobody_looked():
    found = metrics(summarise(pairs(flagged=2, known=2), []))
    states = {name: metric.state for (name, _), metric in found.items()}
    assert found["review.pairs_open", None].value == 2
    assert states == {
        "review.pairs_open": "measured",
        "review.copies_confirmed": "not_tested",
        "review.kappa": "insufficient",
        "review.known_copies_found": "not_tested",
    }


def test_nothing_was_flagged():
    found = metrics(summarise(pairs(known=2), []))
    assert found["review.pairs_open", None].value == 0
    assert found["review.copies_confirmed", "accepted"].state == "measured"


def test_decisions_on_other_pairs_count_for_nothing():
    review = summarise(pairs(flagged=1), said("ann", elsewhere="copy"))
    assert review.readers == ()
    assert review.pairs[0].said == ()


def test_units_are_those_of_the_catalogue():
    for metric in review_metrics(summarise(pairs(flagged=1, known=1), []), examined=3, accepted=2):
        assert metric.unit == CATALOGUE[metric.name].unit
        assert metric.bounds is None or np.isfinite(metric.bounds).all()


def test_the_palette_is_that_of_the_reports():
    root = Path(__file__).resolve().parents[3]
    styles = [root / "reports/templates/style.css", root / "synguard/review/templates/review.css"]
    first, second = (path.read_text().partition("*, *::before")[0] for path in styles)
    assert first == second
