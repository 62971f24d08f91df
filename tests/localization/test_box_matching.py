from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from headstart.localization.box_decoder import Candidates
from headstart.localization.box_matching import (
    boxes_of,
    localization_loss,
    match,
    positions_of,
)

COORDINATE = st.floats(0, 1, width=16)
POSITION = st.tuples(*[COORDINATE] * 4)


def pair_cost(truth: np.ndarray, candidate: np.ndarray, step: int) -> np.ndarray:
    """(o, r, d) of Stewart and Andriluka, section 2.3."""
    inside = all(abs(candidate[i] - truth[i]) <= truth[2 + i] / 2 for i in (0, 1))
    return np.array([not inside, step, np.abs(candidate - truth).sum()])


@given(st.lists(POSITION, min_size=1, max_size=3), st.lists(POSITION, min_size=3, max_size=5))
def test_no_other_matching_costs_less(truths, candidates):
    truths, candidates = np.array(truths), np.array(candidates)

    def cost(steps) -> tuple[float, ...]:
        pairs = zip(truths, candidates[list(steps)], steps, strict=True)
        return tuple(np.sum([pair_cost(*pair) for pair in pairs], axis=0))

    ours = cost(match(truths, candidates))
    best = min(map(cost, permutations(range(len(candidates)), len(truths))))
    assert ours[:2] == best[:2]
    assert ours[2] == pytest.approx(best[2], abs=1e-9)


def test_precedence_and_localization():
    truth = np.array([[0.5, 0.5, 0.4, 0.4]])
    off, rough, exact = [0.1, 0.1, 0.4, 0.4], [0.6, 0.6, 0.3, 0.3], [0.5, 0.5, 0.4, 0.4]
    # Of those on the object the first, though a later one is better (figure 5: 1 before 2).
    assert match(truth, np.array([rough, exact])) == [0]
    # One beside it isn't taken, though it is the first.
    assert match(truth, np.array([off, exact])) == [1]
    # Two objects, two steps: who gets whom is decided by the distance.
    wide = np.array([[0.4, 0.5, 0.9, 0.9], [0.6, 0.5, 0.9, 0.9]])
    np.testing.assert_array_equal(match(wide, wide[::-1].copy()), [1, 0])


def test_the_loss_is_equation_1():
    positions = torch.tensor(
        [[[0.5, 0.5, 0.2, 0.2], [0.2, 0.2, 0.1, 0.1]], [[0.9, 0.9, 0.1, 0.1], [0.4, 0.4, 0.5, 0.5]]]
    )
    logits = torch.tensor([[2.0, -1.0], [0.5, 0.3]])
    truths = [
        np.array([[0.2, 0.25, 0.2, 0.1], [0.5, 0.5, 0.3, 0.2]]),
        np.array([[0.5, 0.5, 0.5, 0.5]]),
    ]
    # First image: candidate 0 is the second object, 1 the first. Second image: candidate 1.
    distance = (0.1 + 0 + 0.05 + 0.1) + (0.1 + 0.1)
    entropies = [*F.logsigmoid(logits[0]), F.logsigmoid(-logits[1, 0]), F.logsigmoid(logits[1, 1])]
    expected = (3.0 * distance - float(sum(entropies))) / 2
    loss = localization_loss(Candidates(positions, logits), truths, position_weight=3.0)
    assert loss.item() == pytest.approx(expected)


@given(st.lists(POSITION, min_size=1, max_size=4))
def test_positions_are_boxes(positions):
    wanted = np.array(positions)
    low, high = wanted[:, :2] * 40, (wanted[:, :2] + wanted[:, 2:] * (1 - wanted[:, :2])) * 40
    boxes = np.concatenate([low, high], axis=1)
    np.testing.assert_allclose(boxes_of(positions_of(boxes, 40), 40), boxes, atol=1e-9)


def test_boxes_end_with_the_image():
    np.testing.assert_allclose(boxes_of(np.array([0.9, 0.5, 0.4, -1]), 10), [7, 5, 10, 5])
