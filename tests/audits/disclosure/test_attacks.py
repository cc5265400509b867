"""The three attacks where the answer can be read off."""

import numpy as np
import pytest

from audits.disclosure.attacks import UNKNOWN, Gallery, infer, link, search_radius, single_out


def line(*places, patients=None, labels=None):
    """Images on a line, one patient each unless said otherwise."""
    n = len(places)
    patients = range(n) if patients is None else patients
    labels = [UNKNOWN] * n if labels is None else labels
    return Gallery(np.array(places, dtype=float)[:, None], np.array(patients), np.array(labels))


def alone(private, synthetic, radius=1.0, reference=None):
    """Who is singled out among the private patients, with a holdout far away of just as many."""
    far = Gallery(private.features + 1e6, private.patients, private.labels)
    found = single_out(private, far, synthetic, reference or line(2e6), radius, np.random.default_rng(0))
    assert not found.control.any()
    return found.attack.tolist()


def test_a_patient_is_singled_out_by_a_predicate_that_holds_for_nobody_else():
    private = line(0, 10, 10.5, 20)
    assert alone(private, line(0.4, 10.2, 30)) == [True, False, False, False]
    assert alone(private, line(9.3)) == [False, True, False, False]


def test_several_images_of_one_patient_are_one_patient():
    private = line(0, 0.2, 0.4, 9, patients=[0, 0, 0, 1])
    assert alone(private, line(0.1)) == [True, False]
    assert alone(private, line(4.7), radius=5) == [False, False]


def test_the_label_decides_between_several_and_a_missing_one_does_not():
    private = line(0, 0.5, labels=[3, 4])
    assert alone(private, line(0.2, labels=[4])) == [False, True]
    assert alone(private, line(0.2, labels=[5])) == [False, False]
    assert alone(private, line(0.2)) == [False, False]
    # A wrong label does not save somebody whom the picture alone singles out.
    assert alone(line(0, 9, labels=[3, 4]), line(0.2, labels=[4])) == [True, False]


def test_both_sides_are_attacked_in_groups_of_one_size():
    """Twelve copies of one place: in a crowd nobody is alone, in groups of one everybody is."""
    private, holdout = line(*[0.0] * 12), line(0.0)
    found = single_out(private, holdout, line(0.0), line(50.0), 1.0, np.random.default_rng(1))
    assert found.attack.all()
    assert found.control.all()
    assert found.naive == 0
    crowd = single_out(private, line(*[0.0] * 12), line(0.0), line(0.0), 1.0, np.random.default_rng(1))
    assert not crowd.attack.any()
    assert not crowd.control.any()


def test_every_patient_is_counted_once_whatever_the_sizes():
    rng = np.random.default_rng(3)
    places = rng.permutation(100) * 10.0
    private, holdout, made = line(*places[:23]), line(*places[23:30]), line(*places)
    found = single_out(private, holdout, made, line(-50.0), 1.0, rng)
    assert found.attack.shape == (23,)
    assert found.attack.all()
    assert found.control.all()


def test_the_naive_rate_is_that_of_as_many_guesses():
    private = line(0, 10, 20, 30)
    one = single_out(private, private, line(500), line(10.1), 1.0, np.random.default_rng(0))
    assert one.naive == pytest.approx(0.25)
    three = single_out(private, private, line(500, 600, 700), line(10.1), 1.0, np.random.default_rng(0))
    assert three.naive == pytest.approx(1 - 0.75**3)


def test_the_radius_is_a_quantile_of_the_distance_to_other_patients():
    patients = np.repeat(np.arange(100), 2)
    places = np.repeat(np.arange(100) ** 2.0, 2) + np.tile([0.0, 0.001], 100)
    found = search_radius(line(*places, patients=patients), 0.01)
    assert found == pytest.approx(1.0, abs=0.01)  # 0 and 1 are nearest; a patient's own second image does not count
    assert search_radius(line(*places, patients=patients), 0.5) > 50


def test_views_are_linked_by_the_same_nearest_image():
    made = np.array([[0.0], [10.0], [20.0]])
    private = np.array([[0.1], [9.0], [19.0]]), np.array([[1.0], [11.0], [1.0]])
    holdout = np.array([[0.0], [0.0]]), np.array([[9.0], [19.0]])
    found = link(private, holdout, (made, made), np.random.default_rng(0))
    assert found.attack.tolist() == [True, True, False]
    assert found.control.tolist() == [False, False]
    assert found.naive in (0.0, 1 / 3)


def test_an_attribute_is_that_of_the_nearest_image():
    made = np.array([[0.0], [10.0], [11.0]]), np.array([1, 2, 2])
    private = np.array([[1.0], [9.0], [2.0]]), np.array([1, 2, 2])
    holdout = np.array([[0.0], [12.0]]), np.array([2, 2])
    found = infer(private, holdout, made)
    assert found.attack.tolist() == [True, True, False]
    assert found.control.tolist() == [False, True]
    assert found.naive == pytest.approx(2 / 3)  # the commonest synthetic level is 2
