"""Inside the house: sources of limits, waivers, statements; classes and outliers; samples beside private images."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

import reports
from synguard.governance.approvals import Required
from synguard.governance.attestations import SUBJECTS, Claim, Waived, attest
from tests.support.governed import LAST, NOW, asking, key
from tests.support.page import Page, read
from tests.support.runs import Made, fundus

RunFolder = Callable[..., Path]


def internal(run: Path) -> Page:
    page = read(reports.render(run, "internal").read_text())
    assert page.faults == []
    return page


def governed(run: Path) -> Path:
    """With the resolved policy, of which one waiver was used, and one statement."""
    policy = asking([Required("privacy-officer", 2), Required("board", 1)], [Waived("W-7", LAST)])
    (run / "policy.json").write_bytes(policy.to_bytes())
    claim = Claim(
        run="x",
        role="privacy-officer",
        verdict="refuse",
        reason='"><img src=x> is too near',
        signed=NOW,
        last=(NOW + timedelta(days=30)).date(),
        exit_code=0,
        required=(Required("privacy-officer", 2),),
    )
    (run / "attestations").mkdir()
    data = attest(claim, dict.fromkeys(SUBJECTS, "ab" * 32), key("e.moss"))
    (run / "attestations" / "0001-privacy-officer.dsse.json").write_bytes(data)
    return run


def test_every_limit_has_its_reason_and_source_and_waivers_are_named(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        made.results["checks"][3].update(status="waived", waiver="W-7")

    words = internal(governed(run_folder("clean", change))).text("policy").replace("\u00a0", " ")
    assert "fails where memorisation.exact_copies (accepted) is above 0 images" in words
    assert "No average excuses it. synguard design, section 2, principle 3" in words
    assert "W-7 near-copy-rate used above 2 %" in words
    assert "W-unused near-copy-rate not used" in words
    assert "Fields look alike. asked for by p.ito, granted by q.ray" in words
    assert f"{LAST}" in words


def test_without_the_resolved_policy_the_limits_still_stand(run_folder: RunFolder) -> None:
    run = run_folder("clean")
    (run / "policy.json").write_text('{"name": "broken"}')
    words = internal(run).text("policy")
    assert "sources of limits are not shown" in words
    assert "above 0 images" in words


def test_approvals_say_who_is_asked_and_what_was_signed(run_folder: RunFolder) -> None:
    run = governed(run_folder("clean"))
    (run / "attestations" / "0002-broken.dsse.json").write_text("{")
    words = internal(run).text("approvals")
    assert "privacy-officer 2 board 1" in words
    assert 'privacy-officer refuses "><img src=x> is too near' in words
    assert key("e.moss").key_id[:16] in words
    assert "0002-broken.dsse.json not readable" in words
    assert "Nobody has signed" in internal(run_folder("invalid")).text("approvals")


def test_nothing_of_it_leaves(run_folder: RunFolder) -> None:
    outside = reports.render(governed(run_folder("clean")), "public").read_text()
    for secret in ("W-7", "p.ito", "q.ray", "privacy-officer", "too near", key("e.moss").key_id[:16], "Fields look"):
        assert secret not in outside


def _scored(made: Made) -> None:
    for i, row in enumerate(made.images):
        row.update({"memorisation.score": i / 100, "memorisation.nearest": f"patient-{i % 3}.png"})
    made.images[0]["memorisation.score"] = 0.77


def test_classes_and_outliers(run_folder: RunFolder) -> None:
    words = internal(run_folder("copies", _scored)).text("classes")
    # 20 accepted, four a grade; the 15 copies all carry the first grade.
    assert "none 19 4 15 0" in words
    assert "mild 4 4 0 0" in words
    assert "000000.png patient-0.png 0.770" in words
    assert words.index("000000.png") < words.index("000019.png") < words.index("000018.png")
    assert "patient-0.png 12 7" in words
    assert "q00014.png" not in words, "copies that were refused have a section of their own"


def test_classes_without_scores_say_so(run_folder: RunFolder) -> None:
    words = internal(run_folder("clean")).text("classes")
    assert words.count("Not tested") == 2


def test_samples_stand_beside_their_nearest_private_image_inside_alone(run_folder: RunFolder) -> None:
    def change(made: Made) -> None:
        private = np.ascontiguousarray(fundus(500, 2))
        made.pictures |= {"pairs/s0001-candidate.png": fundus(0), "pairs/s0001-private.png": private}
        made.evidence["samples"] = {
            "nearest": [
                {"file": "000000.png", "nearest": '"><b>p-1.png', "pair": "pairs/s0001"},
                {"file": "000001.png", "nearest": "p-2.png", "pair": "../outside"},
                {"file": "000002.png", "nearest": "p-3.png"},
            ]
        }

    run = run_folder("clean", change)
    page = internal(run)
    beside = [str(image["alt"]) for image in page.all("img") if str(image["alt"]).startswith("Private image nearest")]
    assert beside == ['Private image nearest to it, "><b>p-1.png']
    assert "the private image that the audit found nearest" in page.text("samples")
    outside = reports.render(run, "public").read_text()
    assert "p-1.png" not in outside
    assert "nearest" not in read(outside).text("samples")


@pytest.mark.parametrize("wrong", [None, "text", [], [{"file": 3, "pair": []}]])
def test_samples_of_the_wrong_shape_break_nothing(run_folder: RunFolder, wrong: object) -> None:
    page = internal(run_folder("clean", lambda made: made.evidence.update(samples={"nearest": wrong})))
    assert sum("Synthetic image" in str(image["alt"]) for image in page.all("img")) == 20
