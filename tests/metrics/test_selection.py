from typing import get_args

import numpy as np
import pytest

from headstart.config.evaluation import ChooseBy
from headstart.metrics.classification_metrics import METRIC_NAMES, compute_metrics
from headstart.metrics.selection import CRITERIA, preference, tune_score


def test_every_criterion_of_params_is_one_of_the_metrics():
    assert set(CRITERIA) == set(get_args(ChooseBy))
    assert {criterion.metric for criterion in CRITERIA.values()} <= set(METRIC_NAMES)


@pytest.mark.parametrize("choose_by", CRITERIA)
def test_what_tune_chooses_by_is_what_is_reported(choose_by: str):
    rng = np.random.default_rng(0)
    probabilities, labels = rng.dirichlet(np.ones(4), size=60), rng.integers(3, size=60)
    metrics = compute_metrics(probabilities, labels)
    score = tune_score(probabilities, labels, choose_by)
    assert score == pytest.approx(metrics[CRITERIA[choose_by].metric], abs=1e-12)


def test_the_lower_nll_is_preferred_among_equals_and_divergence_never():
    ranked = sorted(
        [(0.0, 9.0), (0.5, 1.0), (0.5, 2.0), (0.9, np.nan)], key=lambda p: preference(*p)
    )
    assert ranked == [(0.9, pytest.approx(np.nan, nan_ok=True)), (0.0, 9.0), (0.5, 2.0), (0.5, 1.0)]
