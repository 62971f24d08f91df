from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    roc_auc_score,
)

from headstart.heads import candidate_selection, hyperparameter_sweep
from headstart.heads.candidate_selection import Candidate, FitContext, best_candidate, score_models
from headstart.heads.fitted_head import Standardization
from headstart.heads.fitting import fit_head
from headstart.heads.head_models import Affine
from headstart.heads.hyperparameter_sweep import fit_sweep, sweep_points
from headstart.report.tuning_figure import draw_tuning
from headstart.store.tuning_results import Score, load_tuning_results, write_tuning_results
from tests.heads import blobs

# No batch has equally many images of all classes. In such a batch a bias's first gradient would be
# 0 except for rounding, and Adam divides by its absolute value.
TRAIN, TUNE = blobs.features(100, views=2, classes=3), blobs.features(60, classes=3, split="tune")
CONTEXT = FitContext(TRAIN, TUNE, Standardization.from_features(TRAIN), "cpu")


@pytest.mark.parametrize(
    ("kind", "fixed", "over"),
    [
        (
            "linear",
            {},
            {
                "learning_rate": [0.003, 0.02],
                "learning_rate_decay": [0.5, 1],
                "weight_decay": [0, 0.1],
                "label_smoothing": [0, 0.2],
            },
        ),
        ("linear", {}, {"seed": [3, 4], "dropout": [0, 0.3], "learning_rate": [0.003, 0.02]}),
        ("linear", {"epochs": 3}, {"keep": ["last", "best"], "average_snapshots": [1, 2]}),
        ("mlp", {"hidden": [8]}, {"hidden": [[8], [6, 5]], "dropout": [0, 0.3], "seed": [0, 1]}),
    ],
)
def test_every_point_equals_a_separate_run(kind: str, fixed: dict, over: dict):
    fixed = {"epochs": 2, "train_views": "all", **fixed}
    head = blobs.recipe(kind, **fixed)
    swept = fit_sweep(blobs.sweep(head, over), CONTEXT)
    assert len(swept) == np.prod([len(values) for values in over.values()])
    for candidate in swept:
        separate = fit_head(blobs.recipe(kind, **fixed | candidate.settings), TRAIN, TUNE)
        for name, tensor in separate.head.model.tensors().items():
            np.testing.assert_allclose(
                candidate.model.tensors()[name], tensor, rtol=1e-3, atol=1e-5
            )
        for ours, theirs in zip(candidate.curve, separate.curve, strict=True):
            assert ours.tune_loss == pytest.approx(theirs.tune_loss, rel=1e-3)
            assert ours.train_loss == pytest.approx(theirs.train_loss, rel=1e-3)


def test_many_points_are_trained_in_several_stacks(monkeypatch: pytest.MonkeyPatch):
    recipe = blobs.sweep(blobs.linear(epochs=1), {"learning_rate": [0.1, 0.2, 0.3, 0.4, 0.5]})
    at_once = fit_sweep(recipe, CONTEXT)
    stack_sizes = []

    def train(recipes: list[Any], context: FitContext) -> list[Candidate]:
        stack_sizes.append(len(recipes))
        return train_stacked(recipes, context)

    train_stacked = hyperparameter_sweep.train_stacked
    monkeypatch.setattr(hyperparameter_sweep, "train_stacked", train)
    monkeypatch.setattr(hyperparameter_sweep, "MAX_STACKED_MODELS", 2)
    for whole, part in zip(at_once, fit_sweep(recipe, CONTEXT), strict=True):
        assert whole.settings == part.settings
        np.testing.assert_allclose(
            whole.model.tensors()["weight"], part.model.tensors()["weight"], rtol=1e-4, atol=1e-6
        )
    assert stack_sizes == [2, 2, 1]


def test_a_sample_is_part_of_the_grid_and_depends_on_the_seed():
    over = {"learning_rate": [0.1, 0.2, 0.3], "seed": [0, 1, 2, 3], "dropout": [0, 0.5]}
    grid = sweep_points(blobs.sweep(blobs.linear(), over))
    assert len(grid) == 24
    samples = [sweep_points(blobs.sweep(blobs.linear(), over, sample=9, seed=s)) for s in (0, 0, 1)]
    assert samples[0] == samples[1] != samples[2]
    assert len({str(point) for point in samples[0]}) == 9
    assert all(point in grid for point in samples[0])


def test_tune_chooses_and_a_diverged_point_does_not_matter(tmp_path: Path):
    over = {"learning_rate": [1e38, 1e-6, 0.02], "weight_decay": [0, 0.001]}
    fitted = fit_head(blobs.sweep(blobs.linear(), over), TRAIN, TUNE)
    top1 = [score.value for score in fitted.surface.scores]
    assert np.isnan(top1[:2]).all()
    assert fitted.score.value == max(top1[2:])
    assert fitted.settings["learning_rate"] == 0.02
    by_hand = (fitted.head.logits(TUNE)[:, 0].argmax(1) == TUNE.examples.labels).mean()
    assert fitted.score.value == pytest.approx(by_hand)

    write_tuning_results(tmp_path / "tuning.tsv", fitted.surface)
    header, *lines = [
        line.split("\t") for line in (tmp_path / "tuning.tsv").read_text().splitlines()
    ]
    assert header == ["learning_rate", "weight_decay", "tune_top1", "tune_nll", "chosen"]
    assert len(lines) == 6
    assert [line[0] for line in lines if line[4] == "1"] == ["0.02"]
    assert lines[0][2] == "nan"
    read = load_tuning_results(tmp_path / "tuning.tsv")
    assert read.settings == fitted.surface.settings
    assert read.chosen == fitted.surface.chosen
    np.testing.assert_allclose(read.scores, fitted.surface.scores, rtol=1e-5)
    draw_tuning(tmp_path / "tuning.svg", read)
    assert ">weight_decay<" in (tmp_path / "tuning.svg").read_text()


def test_a_score_is_scikit_learn_s_and_none_where_a_weight_is_not_finite():
    rng = np.random.default_rng(0)
    weight, bias = (rng.normal(size=size).astype(np.float32) for size in ((3, TUNE.width), 3))
    broken = weight.copy()
    broken[1, 2] = np.nan
    models = [Affine(weight, bias), Affine(broken, bias)]
    found, none = score_models(models, TUNE, Standardization.identity(TUNE.width), "accuracy")
    logits = TUNE.values[:, 0].astype(np.float32) @ weight.T + bias
    labels = TUNE.examples.labels
    assert found.value == accuracy_score(labels, logits.argmax(1))
    assert found.nll == pytest.approx(log_loss(labels, softmax(logits, axis=1)), rel=1e-4)
    assert np.isnan(none).all()


@pytest.mark.parametrize("choose_by", ["balanced_accuracy", "macro_f1", "auroc"])
def test_a_sweep_chooses_by_the_criterion(choose_by: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(candidate_selection, "SCORED_LOGITS", 1)  # one model at a time
    rng = np.random.default_rng(1)
    models = [
        Affine(*(rng.normal(size=size).astype(np.float32) for size in ((3, TUNE.width), 3)))
        for _ in range(5)
    ]
    scores = score_models(models, TUNE, Standardization.identity(TUNE.width), choose_by)
    labels, x = TUNE.examples.labels, TUNE.values[:, 0].astype(np.float32)
    reference = {
        "balanced_accuracy": lambda p: balanced_accuracy_score(labels, p.argmax(1)),
        "macro_f1": lambda p: f1_score(labels, p.argmax(1), average="macro"),
        "auroc": lambda p: roc_auc_score(labels, p, multi_class="ovr"),
    }[choose_by]
    expected = [reference(softmax(model(x).astype(np.float64), axis=1)) for model in models]
    assert [score.value for score in scores] == pytest.approx(expected, abs=1e-6)
    assert best_candidate(scores) == np.argmax(expected)


def test_equal_accuracies_are_ordered_by_likelihood():
    scores = [Score(0.5, 2.0), Score(0.6, 2.0), Score(0.6, 1.0)]
    assert best_candidate(scores) == 2


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ({"learnin_rate": [0.1]}, "can't vary 'learnin_rate'; did you mean 'learning_rate'"),
        ({"standardize": [True]}, "can't vary 'standardize'"),
        ({"learning_rate": [0.1, -1]}, "learning_rate can't be -1: Input should be greater than 0"),
        ({}, "at least 1"),
    ],
)
def test_impossible_sweeps_are_refused(over: dict, message: str):
    with pytest.raises(ValidationError, match=message):
        blobs.sweep(blobs.linear(), over)
