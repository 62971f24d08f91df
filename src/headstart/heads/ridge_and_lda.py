"""Ridge regression and linear discriminant analysis: all strengths from one eigendecomposition.

Both need nothing of the features but their moments, so one pass over them is enough, and what
doesn't fit the memory is no obstacle. N rows of D features, where N is less than D, span a space of
N dimensions at most: the eigendecomposition is then of an N x N matrix.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from headstart import config
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.class_weights import class_weights
from headstart.heads.fitted_head import Standardization, iterate_finite
from headstart.heads.head_models import Affine
from headstart.store.features import Features


class Subspace(NamedTuple):
    """The space that centered rows span, where it has fewer dimensions than there are features.

    Neither class means nor scatter have a part outside of it, so nothing is lost by computing in
    it; big_vision's few-shot evaluation (evaluators/fewshot_lsr.py) does so too.

    origin: [D] float64. axes: [D, K] float64, orthonormal columns.
    """

    origin: np.ndarray
    axes: np.ndarray


class Moments(NamedTuple):
    """Of weighted rows, float64, in `subspace` of K dimensions or, where that is None, in K = D.

    counts: [C], the weight of each class. means: [C, K]. scatter: [K, K], of the rows around the
    means of their classes.
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray
    subspace: Subspace | None


def moments(train: Features, standardization: Standardization, weights: np.ndarray) -> Moments:
    """Over all images and views. weights: [C], of a row of each class."""
    blocks = _blocks(train, standardization)
    if len(train.examples) * len(train.views) >= train.width:
        return Moments(*_accumulated(blocks, train.width, weights), subspace=None)
    rows, labels = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
    origin = rows.mean(axis=0, dtype=np.float64)
    axes, coordinates = np.linalg.qr((rows - origin).T)
    found = _accumulated([(coordinates.T, labels)], len(rows), weights)
    return Moments(*found, Subspace(origin, axes))


Block = tuple[np.ndarray, np.ndarray]
"""Rows [n, K] and their labels [n]."""


def _blocks(train: Features, standardization: Standardization) -> Iterator[Block]:
    for images, block in iterate_finite(train):
        labels = train.examples.labels[images].repeat(len(train.views))
        yield standardization(block.reshape(-1, train.width)), labels


def _accumulated(
    blocks: Iterable[Block], width: int, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """counts, means and scatter, as Moments has them."""
    classes = len(weights)
    counts, sums, gram = np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width))
    # Moments around a point amid the data lose no digits to its distance from zero.
    origin = None
    for x, labels in blocks:
        origin = x.mean(axis=0) if origin is None else origin
        x -= origin
        of_rows = weights[labels].astype(x.dtype)
        member = np.zeros((classes, len(x)), x.dtype)
        member[labels, np.arange(len(x))] = of_rows
        counts += member.sum(axis=1)
        sums += member @ x
        gram += (x * of_rows[:, None]).T @ x
    assert origin is not None
    means = sums / counts[:, None]
    return counts, means + origin, gram - (means * counts[:, None]).T @ means


def fit_ridge(recipe: config.RidgeHead, task: FitContext) -> list[Candidate]:
    """Regression onto C at the label and 0 elsewhere, with intercept; a candidate a strength.

    Minimizes sum |y - W x - b|^2 + strength * |W|^2 (Hoerl and Kennard, 1970). With the scatter's
    eigenvectors U and eigenvalues s, W = Y'X U diag(1 / (s + strength)) U'. C, not 1, because
    scores of order 1 are what a softmax and its temperature expect.
    """
    weights = class_weights(recipe.class_weights, task.train.examples)
    counts, means, within, subspace = moments(task.train, task.standardization, weights)
    total, mean = counts.sum(), counts @ means / counts.sum()
    away = means - mean
    values, vectors = np.linalg.eigh(within + (away * counts[:, None]).T @ away)
    targets = len(counts) * counts
    turned = away * targets[:, None] @ vectors  # Y'X U of centerd rows, [C, K]
    found = []
    for strength in recipe.strengths:
        weight = turned / (values + strength) @ vectors.T
        model = _affine(weight, targets / total - weight @ mean, subspace)
        found.append(Candidate({"strength": strength}, model, []))
    return found


def fit_lda(recipe: config.LDAHead, task: FitContext) -> list[Candidate]:
    """Gaussian classes with one covariance, shrunk to a multiple of one; a candidate a shrinkage.

    covariance = (1 - shrinkage) * within + shrinkage * mean(diagonal) * identity (Friedman, 1989,
    with one covariance for all): U stays, the eigenvalues move to their mean. One image of each
    class shows no scatter within; the nearest class mean then decides, at the scale of all images.
    """
    weights = class_weights(recipe.class_weights, task.train.examples)
    counts, means, within, subspace = moments(task.train, task.standardization, weights)
    width = task.train.width
    values, vectors = np.linalg.eigh(within / counts.sum())
    # Rounding can leave the smallest a hair below zero.
    values = values.clip(min=0)
    between = counts @ (means - counts @ means / counts.sum()) ** 2 / counts.sum()  # [K]
    average = values.sum() / width
    if values.sum() <= 1e-6 * between.sum():
        average = between.sum() / width
        values = np.full(len(values), average)
    turned = means @ vectors
    found = []
    for shrinkage in recipe.shrinkages:
        shrunk = (1 - shrinkage) * values + shrinkage * average
        weight = turned / shrunk @ vectors.T
        bias = np.log(counts / counts.sum()) - (weight * means).sum(axis=1) / 2
        found.append(Candidate({"shrinkage": shrinkage}, _affine(weight, bias, subspace), []))
    return found


def _affine(weight: np.ndarray, bias: np.ndarray, subspace: Subspace | None) -> Affine:
    """Of weight [C, K] and bias [C] in `subspace`, the same as a function of features."""
    if subspace:
        weight = weight @ subspace.axes.T
        bias = bias - weight @ subspace.origin
    return Affine(weight.astype(np.float32), bias.astype(np.float32))
