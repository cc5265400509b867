"""The section on privacy loss: what it says of bounds, of what is no bound, and what it lets out."""

import pytest

from reports import allow, evidence, sections
from reports.numbers import Numbers

UPPER = {"epsilon": 7.98, "delta": 1e-4, "unit": "patient", "patients": 400, "not_covered": ["autoencoder", "labels"]}
LOWER = {
    "canaries": 400,
    "included": 207,
    "commitment": "ab" * 32,
    "most": 4.87,
    "state": "measured",
    "forms": {"f-dp": {"epsilon": 0.41}, "gaussian": {"epsilon": 0.92}},
}


def words(said, *, public=False, membership=None):
    found = evidence.epsilon({"epsilon": {"delta": 1e-4} | said, "membership": membership or {}})
    found = allow.epsilon(found) if public else found
    made = sections.epsilon(found, Numbers(coarse=public))
    parts = [made[0].lead] if made else []
    for section in made:
        for block in section.blocks:
            parts += [block.text] if block.kind == "note" else [block.caption]
            parts += [f"{cell.text} {cell.under}" for row in getattr(block, "rows", ()) for cell in row]
    return " | ".join(parts)


@pytest.mark.parametrize("public", [False, True])
def test_both_bounds_and_what_is_not_covered(public):
    said = words({"upper": UPPER, "lower": LOWER}, public=public)
    assert "At most, by the accountant for each patient" in said
    assert "7.98" in said
    assert "0.41" in said
    assert "400 canaries, can show at most 4.87" in said
    assert "Epsilon at delta 0.0001" in said
    assert "does not cover: the autoencoder, which was trained on the private images without noise; how often labels" in said
    assert "greater loss" not in said
    assert "ab" * 32 not in said


def test_a_refuted_bound_is_called_void():
    refuted = LOWER | {"forms": {"f-dp": {"epsilon": 9.0}}}
    assert "The bound is void for this model" in words({"upper": UPPER, "lower": refuted})


def test_an_equivalent_is_never_called_a_bound():
    equal = {"epsilon": 0.73, "patients": 300, "state": "invalid"}
    said = words({"upper": {"reason": "not private"}}, membership={"equivalent": equal})
    assert "Epsilon equivalent invalid" in said
    assert "No coins decided who took part, so there is no lower bound." in said
    assert "At least" not in said
    assert "there is no upper bound" in said


def test_few_canaries_are_named_as_too_few():
    assert "At least, proven by canaries too few" in words({"lower": LOWER | {"state": "insufficient"}})


def test_no_section_without_figures():
    assert words({"upper": {"reason": "not private"}}) == ""
    assert sections.epsilon(evidence.epsilon({}), Numbers()) == ()


def test_free_text_of_the_evidence_stays_inside():
    said = words({"upper": UPPER | {"unit": "Mrs Smith", "not_covered": ["Mrs Smith", "tuning"]}}, public=True)
    assert "Smith" not in said
    assert "every further training" in said
