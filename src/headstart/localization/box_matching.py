"""The matching of objects to candidates, and the loss of equation 1."""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional as F

from headstart.localization.box_decoder import Candidates


def matching_cost(truths: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the cost of each pair, as one number: [G, K] float64.

    A pair's cost is (o, r, d), compared in this order (Stewart and Andriluka, section 2.3): o is 1
    if the candidate's center doesn't lie in the object's box, r the step of the candidate, and d
    the L1 distance of the positions. So among candidates that lie on the object the first is taken
    (precedence), and only among equals the nearest (localization). Sums of the numbers are ordered
    as the sums of the triples, because d is scaled so that all of them together are less than a
    step, and all steps together are less than an o.

    truths, candidates: positions [G, 4] and [K, 4], centers first.
    """
    difference = np.abs(truths[:, None].astype(np.float64) - candidates)  # [G, K, 4]
    outside = (difference[..., :2] > truths[:, None, 2:] / 2).any(-1)
    distance = difference.sum(-1)
    steps = np.arange(len(candidates))
    all_steps = len(truths) * len(candidates)
    return outside * all_steps + steps + distance / (1 + distance.sum())


def match(truths: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Returns the candidate of each object, for the least total cost: [G] int.

    truths, candidates: positions [G, 4] and [K, 4], G at most K.
    """
    return linear_sum_assignment(matching_cost(truths, candidates))[1]


def localization_loss(
    candidates: Candidates, truths: list[np.ndarray], position_weight: float
) -> Tensor:
    """Returns the mean over images of equation 1.

    L = α * sum over objects i of |position_i - position of the candidate f(i)| + sum over
    candidates j of the cross-entropy of confidence_j, which should be 1 for a candidate that an
    object is matched to and 0 for another.

    truths: positions [G, 4] of the objects in each image. position_weight: α.
    """
    positions, logits = candidates
    predicted = positions.detach().cpu().double().numpy()
    matches = [match(own, boxes) for own, boxes in zip(truths, predicted, strict=True)]
    image = np.repeat(np.arange(len(truths)), [len(own) for own in matches])
    step = np.concatenate(matches)
    true = torch.from_numpy(np.concatenate(truths)).to(positions)
    confident = torch.zeros_like(logits)
    confident[image, step] = 1
    distance = (positions[image, step] - true).abs().sum()
    entropy = F.binary_cross_entropy_with_logits(logits, confident, reduction="sum")
    return (position_weight * distance + entropy) / len(truths)


def positions_of(boxes: np.ndarray, side: int) -> np.ndarray:
    """Returns the positions of boxes [..., 4] (x0, y0, x1, y1 in px of an image of `side` px)."""
    low, high = boxes[..., :2] / side, boxes[..., 2:] / side
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def boxes_of(positions: np.ndarray, side: int) -> np.ndarray:
    """Returns positions [..., 4] as x0, y0, x1, y1 in px, clipped to an image of `side` px."""
    center, size = positions[..., :2], positions[..., 2:].clip(0)
    return (np.concatenate([center - size / 2, center + size / 2], axis=-1) * side).clip(0, side)
