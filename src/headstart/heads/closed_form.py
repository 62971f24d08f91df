"""Ridge regression and linear discriminant analysis: all strengths from one eigendecomposition.

Both need nothing of the features but their moments, so one pass over them is enough, and what
doesn't fit the memory is no obstacle.
"""

from typing import NamedTuple

import numpy as np

from headstart import params
from headstart.features import Features
from headstart.heads.candidates import Candidate, Task
from headstart.heads.class_weights import class_weights
from headstart.heads.head import Standardization, finite_rows
from headstart.heads.models import Affine


class Moments(NamedTuple):
    """Of weighted rows, float64.

    counts: [C], the weight of each class. means: [C, D]. scatter: [D, D], of the rows around the
    means of their classes.
    """

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray


def moments(train: Features, standardization: Standardization, weights: np.ndarray) -> Moments:
    """Over all images and views. weights: [C], of a row of each class."""
    width, classes = train.width, len(weights)
    counts, sums, gram = np.zeros(classes), np.zeros((classes, width)), np.zeros((width, width))
    # Moments around a point amid the data lose no digits to its distance from zero.
    origin = None
    for rows, block in finite_rows(train):
        x = standardization(block.reshape(-1, width))
        origin = x.mean(axis=0) if origin is None else origin
        x -= origin
        labels = train.examples.labels[rows].repeat(train.values.shape[1])
        of_rows = weights[labels].astype(np.float32)
        member = np.zeros((classes, len(x)), np.float32)
        member[labels, np.arange(len(x))] = of_rows
        counts += member.sum(axis=1)
        sums += member @ x
        gram += (x * of_rows[:, None]).T @ x
    assert origin is not None
    means = sums / counts[:, None]
    return Moments(counts, means + origin, gram - (means * counts[:, None]).T @ means)


def ridge(recipe: params.RidgeHead, task: Task) -> list[Candidate]:
    """Regression onto C at the label and 0 elsewhere, with intercept; a candidate a strength.

    Minimises sum |y - W x - b|^2 + strength * |W|^2 (Hoerl and Kennard, 1970). With the scatter's
    eigenvectors U and eigenvalues s, W = Y'X U diag(1 / (s + strength)) U'. C, not 1, because
    scores of order 1 are what a softmax and its temperature expect.
    """
    weights = class_weights(recipe.class_weights, task.train.examples)
    counts, means, within = moments(task.train, task.standardization, weights)
    total, mean = counts.sum(), counts @ means / counts.sum()
    away = means - mean
    values, vectors = np.linalg.eigh(within + (away * counts[:, None]).T @ away)
    targets = len(counts) * counts
    turned = away * targets[:, None] @ vectors  # Y'X U of centred rows, [C, D]
    found = []
    for strength in recipe.strengths:
        weight = turned / (values + strength) @ vectors.T
        model = _affine(weight, targets / total - weight @ mean)
        found.append(Candidate({"strength": strength}, model, []))
    return found


def lda(recipe: params.LDAHead, task: Task) -> list[Candidate]:
    """Gaussian classes with one covariance, shrunk to a multiple of one; a candidate a shrinkage.

    covariance = (1 - shrinkage) * within + shrinkage * mean(diagonal) * identity (Friedman, 1989,
    with one covariance for all): U stays, the eigenvalues move to their mean. One image of each
    class shows no scatter within; the nearest class mean then decides, at the scale of all images.
    """
    weights = class_weights(recipe.class_weights, task.train.examples)
    counts, means, within = moments(task.train, task.standardization, weights)
    values, vectors = np.linalg.eigh(within / counts.sum())
    # Rounding can leave the smallest a hair below zero.
    values = values.clip(min=0)
    between = counts @ (means - counts @ means / counts.sum()) ** 2 / counts.sum()  # [D]
    if values.sum() <= 1e-6 * between.sum():
        values = np.full(len(values), between.mean())
    turned = means @ vectors
    found = []
    for shrinkage in recipe.shrinkages:
        shrunk = (1 - shrinkage) * values + shrinkage * values.mean()
        weight = turned / shrunk @ vectors.T
        bias = np.log(counts / counts.sum()) - (weight * means).sum(axis=1) / 2
        found.append(Candidate({"shrinkage": shrinkage}, _affine(weight, bias), []))
    return found


def _affine(weight: np.ndarray, bias: np.ndarray) -> Affine:
    return Affine(weight.astype(np.float32), bias.astype(np.float32))
