"""Heads that need all features at once: logistic regression and nearest neighbors."""

import itertools

import numpy as np

from headstart import config
from headstart.core.errors import UserError
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.head_models import Affine, NearestNeighbors, normalize_rows
from headstart.store.features import FeaturesOnDisk

SERIAL = 10**8
"""Multiplications in a product of weights and features below which threads cost more time than they
save, because L-BFGS needs hundreds of such products, and thousands of smaller ones."""


def fit_logistic_regression(
    recipe: config.LogisticRegressionHead, task: FitContext
) -> list[Candidate]:
    """scikit-learn's, multinomial; a candidate a `c`, each started from the one before it."""
    # Both here, as they take a second of imports.
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    x, labels = _rows(task, recipe.kind)
    arithmetic = x.size * len(task.train.examples.classes)
    threads = 1 if arithmetic < SERIAL else None
    fitter = LogisticRegression(
        max_iter=recipe.max_iterations,
        class_weight="balanced" if recipe.class_weights == "balanced" else None,
        warm_start=True,
    )
    found = []
    for c in recipe.c:
        with threadpool_limits(threads, user_api="blas"):
            fitter.set_params(C=c).fit(x, labels)
        weight, bias = np.asarray(fitter.coef_), np.asarray(fitter.intercept_)
        if len(weight) == 1:
            # Of two classes it gives the difference of their scores.
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        model = Affine(weight.astype(np.float32), bias.astype(np.float32))
        found.append(Candidate({"c": c}, model, []))
    return found


def fit_nearest_neighbors(recipe: config.NearestNeighborsHead, task: FitContext) -> list[Candidate]:
    """A candidate a pair of `k` and `temperature`; all share one bank."""
    x, labels = _rows(task, recipe.kind)
    bank, classes = normalize_rows(x), len(task.train.examples.classes)
    return [
        Candidate(
            {"k": k, "temperature": temperature},
            NearestNeighbors(bank, labels, classes, k, temperature),
            [],
        )
        for k, temperature in itertools.product(recipe.k, recipe.temperature)
    ]


def _rows(task: FitContext, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """All images and views: x [N * V, D] float32, standardized, and labels [N * V]."""
    values = task.train.values
    if isinstance(values, FeaturesOnDisk):
        gigabytes = 4 * np.prod(values.shape) / 1e9
        raise UserError(
            f"{kind} holds all features at once, {gigabytes:.1f} GB; raise "
            "memory_limit, or choose linear, mlp, ridge or lda"
        )
    images, views, width = values.shape
    x = task.standardization(values.reshape(images * views, width).astype(np.float32))
    return x, task.train.examples.labels.repeat(views)
