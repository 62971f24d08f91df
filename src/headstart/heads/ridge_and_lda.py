"""Ridge regression and linear discriminant analysis, from one eigendecomposition for all strengths.

Both need only the moments of the features, so a single pass over the features is enough, and they
needn't fit into memory. If N rows have more than N features, they span a space of at most N
dimensions, and the eigendecomposition is of an N x N matrix.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from headstart import config
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.fitted_head import Standardization, iterate_finite
from headstart.heads.head_models import Affine
from headstart.store.class_weights import class_weights
from headstart.store.features import Features


class Subspace(NamedTuple):
    """The space that the centered rows span, if there are fewer rows than features.

    Class means and scatter lie within it, so computing in it is exact. The few-shot evaluation of
    big_vision (evaluators/fewshot_lsr.py) does the same.

    origin: [D] float64. axes: [D, K] float64, orthonormal columns.
    """

    origin: np.ndarray
    axes: np.ndarray


class ClassMoments(NamedTuple):
    """Moments of weighted rows, float64, in a subspace of K dimensions.

    counts: [C], the total weight of each class. means: [C, K]. scatter: [K, K], of the rows around
    the means of their classes. subspace: None if it has all dimensions, K = D.
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    subspace: Subspace | None


def class_moments(
    train: Features, standardization: Standardization, weights: np.ndarray
) -> ClassMoments:
    """Returns the moments over all images and views.

    weights: [C], the weight of a row of each class.
    """
    blocks = _iterate_blocks(train, standardization)
    if len(train.examples) * len(train.views) >= train.width:
        return ClassMoments(*_accumulate(blocks, train.width, weights), subspace=None)
    rows, labels = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    origin = rows.mean(axis=0, dtype=np.float64)
    axes, coordinates = np.linalg.qr((rows - origin).T)
    moments = _accumulate([(coordinates.T, labels)], len(rows), weights)
    return ClassMoments(*moments, Subspace(origin, axes))


Block = tuple[np.ndarray, np.ndarray]
"""Rows [n, K] and their labels [n]."""


def _iterate_blocks(train: Features, standardization: Standardization) -> Iterator[Block]:
    """Yields all views of all images, standardized, some images at a time."""
    for images, block in iterate_finite(train):
        labels = train.examples.labels[images].repeat(len(train.views))
        yield standardization(block.reshape(-1, train.width)), labels


def _accumulate(
    blocks: Iterable[Block], width: int, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the counts, means and scatter of `ClassMoments` over `blocks`.

    width: K. weights: [C].
    """
    classes = len(weights)
    counts, sums, gram = np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width))
    # Moments around a point within the data keep their precision if the data is far from zero.
    origin = None
    for x, labels in blocks:
        origin = x.mean(axis=0) if origin is None else origin
        x -= origin
        row_weights = weights[labels].astype(x.dtype)
        membership = np.zeros((classes, len(x)), x.dtype)
        membership[labels, np.arange(len(x))] = row_weights
        counts += membership.sum(axis=1)
        sums += membership @ x
        gram += (x * row_weights[:, None]).T @ x
    assert origin is not None
    means = sums / counts[:, None]
    return counts, means + origin, gram - (means * counts[:, None]).T @ means


def fit_ridge(recipe: config.RidgeHead, context: FitContext) -> list[Candidate]:
    """Returns one candidate per strength: ridge regression onto the label, with intercept.

    It minimizes sum |y - W x - b|^2 + strength * |W|^2 (Hoerl and Kennard, 1970). With the
    scatter's eigenvectors U and eigenvalues s, W = Y'X U diag(1 / (s + strength)) U'. The target y
    is C at the label (not 1) and 0 elsewhere, because a softmax and its temperature expect scores
    of order 1.

    Raises:
        UserError: a feature is NaN or infinite.
    """
    examples = context.train.examples
    weights = class_weights(recipe.class_weights, examples.labels, len(examples.classes))
    counts, means, within, subspace = class_moments(context.train, context.standardization, weights)
    total, mean = counts.sum(), counts @ means / counts.sum()
    centered_means = means - mean
    values, vectors = np.linalg.eigh(within + (centered_means * counts[:, None]).T @ centered_means)
    targets = len(counts) * counts
    rotated = centered_means * targets[:, None] @ vectors  # Y'X U of centered rows, [C, K]
    candidates = []
    for strength in recipe.strengths:
        weight = rotated / (values + strength) @ vectors.T
        model = _affine(weight, targets / total - weight @ mean, subspace)
        candidates.append(Candidate({"strength": strength}, model, []))
    return candidates


def fit_lda(recipe: config.LDAHead, context: FitContext) -> list[Candidate]:
    """Returns one candidate per shrinkage: Gaussian classes with a common covariance.

    The covariance is (1 - shrinkage) * within + shrinkage * mean(diagonal) * identity (Friedman,
    1989, with one covariance for all classes), so its eigenvectors don't depend on the shrinkage
    and its eigenvalues move towards their mean. With one image per class there is no scatter within
    classes; the nearest class mean then decides, with logits scaled by the variance of all images.

    Raises:
        UserError: a feature is NaN or infinite.
    """
    examples = context.train.examples
    weights = class_weights(recipe.class_weights, examples.labels, len(examples.classes))
    counts, means, within, subspace = class_moments(context.train, context.standardization, weights)
    width = context.train.width
    values, vectors = np.linalg.eigh(within / counts.sum())
    # Rounding can make the smallest slightly negative.
    values = values.clip(min=0)
    between = counts @ (means - counts @ means / counts.sum()) ** 2 / counts.sum()  # [K]
    average = values.sum() / width
    if values.sum() <= 1e-6 * between.sum():
        average = between.sum() / width
        values = np.full(len(values), average)
    rotated = means @ vectors
    candidates = []
    for shrinkage in recipe.shrinkages:
        shrunk_values = (1 - shrinkage) * values + shrinkage * average
        weight = rotated / shrunk_values @ vectors.T
        bias = np.log(counts / counts.sum()) - (weight * means).sum(axis=1) / 2
        candidates.append(Candidate({"shrinkage": shrinkage}, _affine(weight, bias, subspace), []))
    return candidates


def _affine(weight: np.ndarray, bias: np.ndarray, subspace: Subspace | None) -> Affine:
    """Returns an affine function of features, from its weight [C, K] and bias [C] in `subspace`."""
    if subspace:
        weight = weight @ subspace.axes.T
        bias = bias - weight @ subspace.origin
    return Affine(weight.astype(np.float32), bias.astype(np.float32))
