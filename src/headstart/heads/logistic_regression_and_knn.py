"""Logistic regression and k nearest neighbors, the heads that need all features in memory."""

import itertools

import numpy as np

from headstart import config
from headstart.core.errors import UserError
from headstart.heads.candidate_selection import Candidate, FitContext
from headstart.heads.head_models import Affine, NearestNeighbors, normalize_rows
from headstart.store.features import FeaturesOnDisk

SINGLE_THREAD_LIMIT = 10**8
"""Multiplications in a product of weights and features below which one thread is fastest.

L-BFGS needs hundreds of such products and thousands of smaller ones, for which starting threads
takes more time than they save.
"""


def fit_logistic_regression(
    recipe: config.LogisticRegressionHead, context: FitContext
) -> list[Candidate]:
    """Returns one candidate per value of `c`: scikit-learn's multinomial logistic regression.

    Each fit starts from the weights of the previous one.

    Raises:
        UserError: the features don't fit into the memory limit.
    """
    # Imported here because both together take a second.
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    x, labels = _all_rows(context, recipe.kind)
    multiplications = x.size * len(context.train.examples.classes)
    threads = 1 if multiplications < SINGLE_THREAD_LIMIT else None
    regression = LogisticRegression(
        max_iter=recipe.max_iterations,
        class_weight="balanced" if recipe.class_weights == "balanced" else None,
        warm_start=True,
    )
    candidates = []
    for c in recipe.c:
        with threadpool_limits(threads, user_api="blas"):
            regression.set_params(C=c).fit(x, labels)
        weight, bias = np.asarray(regression.coef_), np.asarray(regression.intercept_)
        if len(weight) == 1:
            # For two classes, scikit-learn returns the difference of their scores.
            weight, bias = np.concatenate([-weight, weight]) / 2, np.concatenate([-bias, bias]) / 2
        model = Affine(weight.astype(np.float32), bias.astype(np.float32))
        candidates.append(Candidate({"c": c}, model, []))
    return candidates


def fit_nearest_neighbors(
    recipe: config.NearestNeighborsHead, context: FitContext
) -> list[Candidate]:
    """Returns one candidate per pair of `k` and `temperature`; all share one bank of features.

    Raises:
        UserError: the features don't fit into the memory limit.
    """
    x, labels = _all_rows(context, recipe.kind)
    bank, classes = normalize_rows(x), len(context.train.examples.classes)
    return [
        Candidate(
            {"k": k, "temperature": temperature},
            NearestNeighbors(bank, labels, classes, k, temperature),
            [],
        )
        for k, temperature in itertools.product(recipe.k, recipe.temperature)
    ]


def _all_rows(context: FitContext, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns all views of all images: standardized x [N * V, D] float32 and labels [N * V]."""
    values = context.train.values
    if isinstance(values, FeaturesOnDisk):
        gigabytes = 4 * np.prod(values.shape) / 1e9
        raise UserError(
            f"{kind} holds all features at once, {gigabytes:.1f} GB; raise "
            "memory_limit, or choose linear, mlp, ridge or lda"
        )
    images, views, width = values.shape
    x = context.standardization(values.reshape(images * views, width).astype(np.float32))
    return x, context.train.examples.labels.repeat(views)
