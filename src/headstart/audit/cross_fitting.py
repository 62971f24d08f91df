"""Out-of-sample predictions for every image: fitted on some folds, made for the other one.

Images of one group of duplicates are in the same fold, so no image is predicted from its own copy.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax, softmax

from headstart import config
from headstart.heads.candidate_selection import FitContext
from headstart.heads.fitted_head import Standardization
from headstart.heads.ridge_and_lda import fit_lda
from headstart.metrics.calibration import apply_temperature, fit_temperature
from headstart.store.examples import Examples
from headstart.store.features import Features, select_images
from headstart.store.views import WHOLE

FOLDS = 5

SEED = 0

LDA = config.LDAHead(kind="lda", shrinkages=[0.03, 0.1, 0.3, 0.6], standardize=True)


class OutOfSample(NamedTuple):
    """Predictions for the M images of classes with `FOLDS` groups or more.

    positions: [M], ascending. labels: [M], index into `classes`. classes: [K], index into the
    dataset's classes. logits, probabilities: [M, K].
    """

    positions: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray


def cross_fit(rows: np.ndarray, examples: Examples, groups: np.ndarray) -> OutOfSample:
    """Predicts every image by linear discriminant analysis of the other folds.

    The shrinkage with the lowest negative log-likelihood over all folds is used, and one
    temperature calibrates all probabilities. Images of classes with fewer than `FOLDS` groups are
    left out, since such a class can't be in every fold.

    rows: [N, D] float32. examples: of the rows. groups: [N] int64; images with the same number are
    in the same fold.
    """
    all_labels = examples.labels
    firsts = np.unique(groups, return_index=True)[1]
    classes = np.flatnonzero(np.bincount(all_labels[firsts]) >= FOLDS)
    positions = np.flatnonzero(np.isin(all_labels, classes))
    labels = np.searchsorted(classes, all_labels[positions])
    if len(classes) < 2:
        empty = np.empty((0, len(classes)))
        return OutOfSample(positions[:0], labels[:0], classes, empty, empty)
    part = Features(
        rows[positions, None],
        [WHOLE.name],
        Examples(
            [examples.ids[i] for i in positions], labels, [examples.classes[c] for c in classes]
        ),
        provenance={},
    )
    folds = _stratified_folds(labels, groups[positions])
    logits = np.empty((len(LDA.shrinkages), len(labels), len(classes)), dtype=np.float32)
    for fold in range(FOLDS):
        held_out = np.flatnonzero(folds == fold)
        logits[:, held_out] = _fit_and_predict(part, np.flatnonzero(folds != fold), held_out)
    every = np.arange(len(labels))
    nll = [-log_softmax(candidate, axis=1)[every, labels].mean() for candidate in logits]
    chosen = logits[int(np.argmin(nll))]
    probabilities = softmax(chosen.astype(np.float64), axis=1)
    calibrated = apply_temperature(probabilities, fit_temperature(probabilities, labels))
    return OutOfSample(positions, labels, classes, chosen, calibrated)


def _stratified_folds(labels: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Returns the fold [M] of each image: each class's groups are dealt out in turn."""
    _, firsts, membership = np.unique(groups, return_index=True, return_inverse=True)
    shuffled = np.random.default_rng(SEED).permutation(len(firsts))
    by_class = shuffled[np.argsort(labels[firsts[shuffled]], kind="stable")]
    fold_of_group = np.empty(len(firsts), dtype=np.int64)
    fold_of_group[by_class] = np.arange(len(firsts)) % FOLDS
    return fold_of_group[membership]


def _fit_and_predict(features: Features, train: np.ndarray, held_out: np.ndarray) -> np.ndarray:
    """Returns the logits [shrinkages, H, K] of the images at `held_out` [H]."""
    fitted_on = select_images(features, train)
    standardization = Standardization.from_features(fitted_on)
    context = FitContext(fitted_on, fitted_on, standardization, "cpu")
    x = standardization(features.values[held_out, 0])
    return np.stack([candidate.model(x) for candidate in fit_lda(LDA, context)])
