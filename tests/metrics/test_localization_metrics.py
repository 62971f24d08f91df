import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score
from torchvision.ops import box_iou as torchvision_iou

from headstart.metrics.localization_metrics import (
    LocatedBoxes,
    Resampled,
    average_precision,
    best_threshold,
    box_iou,
    hits,
    iou_sums,
    localization_metrics,
    mean_resampled,
)

NAN = [np.nan] * 4


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    corners = np.sort(rng.uniform(0, 64, (*shape, 2, 2)), axis=-2)
    return corners.reshape(*shape, 4)


def shifted(x: float) -> list[float]:
    """A box of 10 x 10 px whose IoU with that at 0 is (10 - x) / (10 + x)."""
    return [x, 0, x + 10, 10]


def test_iou_is_torchvisions():
    rng = np.random.default_rng(0)
    a, b = random_boxes(rng, 40), random_boxes(rng, 30)
    expected = torchvision_iou(torch.from_numpy(a), torch.from_numpy(b)).numpy()
    np.testing.assert_allclose(box_iou(a[:, None], b), expected, atol=1e-12)
    assert (expected > 0).sum() > 100


def test_a_box_that_is_none_overlaps_nothing():
    boxes = np.array([NAN, [5, 5, 5, 9], [8, 8, 2, 2]])
    np.testing.assert_array_equal(box_iou(boxes[:, None], np.array([[0, 0, 10, 10], NAN])), 0)


@given(st.integers(0, 10_000), st.integers(1, 60), st.booleans())
def test_average_precision_is_scikit_learns_times_the_share_that_is_found(seed, n, ties):
    rng = np.random.default_rng(seed)
    found = rng.random(n) < 0.5
    found[0] = True
    scores = rng.integers(0, 5, n) / 5 if ties else rng.random(n)
    counts = rng.integers(0, 4, n)
    counts[0] += 1
    truths = int(counts @ found) + int(rng.integers(0, 5))
    expected = average_precision_score(found, scores, sample_weight=counts)
    expected *= (counts @ found) / truths
    ours = average_precision(found, scores, truths, counts.astype(float))
    assert ours == pytest.approx(expected)


def test_average_precision_by_hand():
    # Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4; two objects are never found.
    found = np.array([True, False, True])
    assert average_precision(found, np.array([0.9, 0.8, 0.3]), 4) == pytest.approx(1 / 4 + 2 / 12)
    # Of equal score all three stand at precision 2/3.
    assert average_precision(found, np.ones(3), 4) == pytest.approx(2 / 4 * 2 / 3)


def test_an_object_is_found_once_and_by_the_surest_box():
    truths = np.array([[shifted(0), NAN], [shifted(0), shifted(100)]])
    boxes = np.array([[shifted(1), shifted(0), NAN], [shifted(101), shifted(4), shifted(3)]])
    scores = np.array([[0.9, 0.8, 0.0], [0.5, 0.7, 0.6]])
    located = LocatedBoxes(truths, boxes, scores)
    # The second image: 4 px off is an IoU of 6/14, 3 px off one of 7/13.
    np.testing.assert_array_equal(hits(located), [[1, 0, 0], [1, 0, 1]])
    np.testing.assert_array_equal(located.truth_counts, [1, 2])


def test_ious_are_of_the_emitted_boxes_one_to_one():
    truths = np.array([[shifted(0), shifted(10)]])
    boxes = np.array([[shifted(5), shifted(9), shifted(10)]])
    scores = np.array([[0.9, 0.8, 0.1]])
    # shifted(5) has an IoU of 1/3 with both, shifted(9) of 9/11 with the second.
    assert iou_sums(LocatedBoxes(truths, boxes, scores, 0.5)) == pytest.approx([1 / 3 + 9 / 11])
    assert iou_sums(LocatedBoxes(truths, boxes, scores)) == pytest.approx([1 / 3 + 1])
    assert iou_sums(LocatedBoxes(truths, boxes, scores, 0.95)) == pytest.approx([0])


def test_the_threshold_emits_what_is_rather_an_object_than_none():
    truths = np.array([[shifted(0)]] * 4)
    boxes = np.array([[shifted(0), shifted(40)]] * 3 + [[shifted(9), shifted(40)]])
    scores = np.array([[0.95, 0.1], [0.9, 0.2], [0.6, 0.3], [0.5, 0.4]])
    # 0.55 emits three boxes that are right: 2 * 3 / (3 + 4). The fourth, of an IoU of 1/19, would
    # add less than it costs, and so would all second boxes.
    located = LocatedBoxes(truths, boxes, scores)
    assert best_threshold(located) == 0.6
    good = LocatedBoxes(truths, np.array([[shifted(0), shifted(40)]] * 4), scores)
    assert best_threshold(good) == 0.5


def test_intervals_are_over_images_and_paired():
    rng = np.random.default_rng(1)
    truths = random_boxes(rng, 100, 1)
    close = LocatedBoxes(truths, truths + rng.normal(0, 2, (100, 1, 4)), rng.random((100, 1)))
    far = LocatedBoxes(truths, truths + rng.normal(0, 6, (100, 1, 4)), np.ones((100, 1)))
    ours, theirs = (localization_metrics(located, 1000, seed=0) for located in (close, far))
    ious = box_iou(truths[:, 0], close.boxes[:, 0])
    iou = ours["iou"].estimate(0.95)
    assert iou.value == pytest.approx(ious.mean())
    # The bootstrap's interval of a mean is about that of the normal distribution.
    half = 1.96 * ious.std() / 10
    assert iou.low == pytest.approx(ious.mean() - half, abs=0.2 * half)
    assert iou.high == pytest.approx(ious.mean() + half, abs=0.2 * half)
    gain = ours["iou"] - theirs["iou"]
    difference = ious - box_iou(truths[:, 0], far.boxes[:, 0])
    assert gain.value == pytest.approx(difference.mean())
    assert gain.resamples.std() == pytest.approx(difference.std() / 10, rel=0.15)


def test_the_mean_over_classes_is_narrower():
    rng = np.random.default_rng(0)
    classes = [Resampled(value, value + rng.normal(0, 0.1, 2000)) for value in (0.4, 0.6)]
    mean = mean_resampled(classes).estimate(0.95)
    assert mean.value == pytest.approx(0.5)
    assert mean.high - mean.low == pytest.approx(2 * 1.96 * 0.1 / 2**0.5, rel=0.1)
