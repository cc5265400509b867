"""The audit as a whole: a planted leak is seen on the right patients, none is invented, what cannot be judged says so."""

import json

import numpy as np
import pandas as pd
import pytest

from audits.disclosure import pseudonym, run
from audits.disclosure.exposed import exposed
from audits.membership.split import Validity
from synguard.config import AttributeConfig, MembershipConfig
from synguard.data.conditions import ConditionSchema
from tests.support.membership import Pixels, World, image_set, world

NAMES = ("disclosure.singling_out", "disclosure.linkability", "disclosure.inference")
SEX = ConditionSchema((AttributeConfig(name="sex", kind="binary", levels=("f", "m")),))


def valid(state="valid"):
    both = (0.45, 0.55)
    return Validity(
        state=state, reason=f"the split is {state}", classifier="none", auc=0.5, interval=both, bounds=both, p_value=0.5,
        permutations=199, placebo_auc=0.5, placebo_interval=both, placebo_bounds=both, excludes=0.53,
        minimum_detectable_auc=0.56, n_members=10, n_nonmembers=10, member_patients=10, nonmember_patients=10,
    )  # fmt: skip


def labelled(drawn: World, seed=0) -> World:
    """An attribute that no picture shows."""
    rng = np.random.default_rng(seed)

    def give(images, per_patient=1):
        sex = rng.choice(["f", "m"], -(-len(images) // per_patient)).repeat(per_patient)[: len(images)]
        return image_set(images.pixels, images.name, per_patient=per_patient, metadata=pd.DataFrame({"sex": sex}))

    per = 2 if drawn.private.has_patient_ids else 1
    roles = [give(s, per) for s in (drawn.roles.calibration, drawn.roles.evaluation, drawn.roles.reference)]
    return World(give(drawn.private, per), type(drawn.roles)(*roles, seed=0), give(drawn.synthetic))


def stolen(drawn: World, count: int) -> World:
    """The first `count` synthetic images are private ones, with their labels; of each patient one."""
    step = 2 if drawn.private.has_patient_ids else 1
    rows = np.arange(count) * step
    pixels = np.concatenate([drawn.private.pixels[rows], drawn.synthetic.pixels[count:]])
    labels = pd.concat([drawn.private.metadata.iloc[rows], drawn.synthetic.metadata.iloc[count:]], ignore_index=True)
    return World(drawn.private, drawn.roles, image_set(pixels, "synthetic", metadata=labels))


def audit(drawn, *, schema=SEX, split=None, seed=0, config=None):
    result = run(
        drawn.private,
        drawn.roles,
        drawn.synthetic,
        schema=schema,
        embedder=Pixels(),
        split=split or valid(),
        config=config or MembershipConfig(),
        seed=seed,
    )
    json.dumps(result.evidence, allow_nan=False)
    return {(m.name, m.group): m for m in result.metrics}, result


@pytest.fixture(scope="module")
def drawn():
    return labelled(world(2, members=300, each=150, synthetic=300))


@pytest.fixture(scope="module")
def pairs():
    """Two photographs a patient."""
    return labelled(world(3, members=600, each=300, synthetic=300, per_patient=2))


def test_a_clean_release_adds_nothing(drawn, pairs):
    for one in (drawn, pairs):
        found, result = audit(one)
        for name in NAMES:
            metric = found[name, None]
            assert metric.state == "measured"
            assert metric.interval[0] == 0
            assert metric.attainable[1] > 0
        assert not any(row["detected"] for row in result.evidence["attacks"])


def test_copies_of_one_patient_in_ten_are_seen_by_all_three(drawn):
    found, result = audit(stolen(drawn, 60))
    rows = {row["name"]: row for row in result.evidence["attacks"]}
    for name in NAMES:
        row = rows[name.removeprefix("disclosure.")]
        assert row["attack"] > row["control"] >= 0, name
        # A fifth of the patients are in the release; inference guesses half of them right anyway.
        assert found[name, None].bounds[0] <= 0.2 <= found[name, None].bounds[1] + 0.05, name
    for name in NAMES[:2]:
        assert found[name, None].bounds[0] > 0.05
        assert rows[name.removeprefix("disclosure.")]["detected"]


def test_one_copied_photograph_links_the_two_of_a_patient(pairs):
    clean, _ = audit(pairs)
    leaky, result = audit(stolen(pairs, 150))
    assert "two photographs" in leaky[NAMES[1], None].method
    assert leaky[NAMES[1], None].value > clean[NAMES[1], None].value + 0.1
    assert {row["name"]: row["attacked"] for row in result.evidence["attacks"]}["linkability"] == 300


def test_an_attribute_that_the_copies_carry_is_inferred(drawn):
    found, _ = audit(stolen(drawn, 300))
    metric = found[NAMES[2], "sex"]
    assert metric.value == 1
    assert found[NAMES[2], None].value == 1
    assert "sex" in found[NAMES[2], None].method


def test_the_most_exposed_are_those_who_were_copied_and_have_pseudonyms(drawn):
    leaky = stolen(drawn, 10)
    _, result = audit(leaky)
    rows = result.evidence["exposed"]
    copied = {pseudonym(str(patient), leaky.private) for patient in leaky.private.patients[:10]}
    assert {row["pseudonym"] for row in rows[:10]} == copied
    assert len(rows) == 20
    assert all("singling out" in row["attacks"] for row in rows[:10])
    assert all(row["p_value"] == pytest.approx(1 / 151) for row in rows[:10])
    assert "exposed" not in result.public
    text = json.dumps(result.evidence)
    assert not [patient for patient in leaky.private.patients if patient in text]


def test_pseudonyms_hang_on_the_private_set(drawn):
    name = str(drawn.private.patients[0])
    assert pseudonym(name, drawn.private) == pseudonym(name, drawn.private)
    assert pseudonym(name, drawn.private) != pseudonym(name, drawn.private.take(range(299)))


def test_p_values_of_patients_who_cannot_have_leaked_are_honest():
    rng = np.random.default_rng(0)
    images = image_set(np.zeros((400, 16, 16, 3), dtype=np.uint8), "private")
    below = 0
    for _ in range(100):
        rows = exposed(images, images, (rng.normal(size=400), rng.normal(size=200)), np.arange(200).astype(str), [])
        below += any(row["q_value"] <= 0.05 for row in rows)
    # With 200 unseen patients none of 400 can stand out after correction.
    assert below == 0


def test_an_invalid_split_spoils_every_figure_but_shows_it(drawn):
    found, result = audit(drawn, split=valid("invalid"))
    for name in NAMES:
        assert found[name, None].state == "invalid"
        assert found[name, None].value is not None
        assert "split is invalid" in found[name, None].note
    assert {row["state"] for row in result.evidence["attacks"]} == {"invalid"}


def test_few_patients_are_insufficient():
    few = labelled(world(4, members=100, each=15, synthetic=60))
    found, _ = audit(few)
    for name in NAMES:
        assert found[name, None].state == "insufficient"
        assert found[name, None].value is None
        assert "expected at least 20" in found[name, None].note


def test_an_empty_role_is_not_tested(drawn):
    roles = type(drawn.roles)(drawn.roles.calibration, drawn.roles.evaluation.take([]), drawn.roles.reference, seed=0)
    found, _ = audit(World(drawn.private, roles, drawn.synthetic))
    assert {found[name, None].state for name in NAMES} == {"not_tested"}


def test_without_labels_nothing_is_inferred(drawn):
    found, _ = audit(drawn, schema=ConditionSchema())
    assert found[NAMES[2], None].state == "not_tested"
    assert found[NAMES[0], None].state == "measured"
    bare = drawn.synthetic.metadata.assign(sex=None)
    unlabelled = World(drawn.private, drawn.roles, image_set(drawn.synthetic.pixels, "synthetic", metadata=bare))
    found, _ = audit(unlabelled)
    assert found[NAMES[2], "sex"].state == "not_tested"
    assert "no released image" in found[NAMES[2], None].note


def test_row_order_changes_nothing(drawn):
    shuffle = np.random.default_rng(1).permutation(300)
    leaky = stolen(drawn, 60)
    first, _ = audit(leaky)
    mixed = World(leaky.private.take(shuffle), leaky.roles, leaky.synthetic)
    second, _ = audit(mixed)
    for key, metric in first.items():
        assert second[key].value == pytest.approx(metric.value), key
        assert second[key].bounds == pytest.approx(metric.bounds), key
