from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.store.training_curves import Epoch, load_training_curve, write_training_curve
from headstart.store.tuning_results import (
    Score,
    TuningResults,
    load_tuning_results,
    write_tuning_results,
)


def test_settings_of_every_kind_are_read_as_they_were(tmp_path: Path):
    settings = [
        {"learning_rate": 1e-05, "hidden": [256, 64], "class_weights": None, "optimizer": "adam"},
        {"learning_rate": 3, "hidden": [], "class_weights": True, "optimizer": "a b"},
    ]
    results = TuningResults(settings, [Score(0.25, 1.5), Score(0.5, 1.25)], 1)
    write_tuning_results(tmp_path / "run.tsv", results)
    assert load_tuning_results(tmp_path / "run.tsv") == results


def test_one_candidate_has_no_settings(tmp_path: Path):
    results = TuningResults([{}], [Score(0.25, 1.5)], 0)
    write_tuning_results(tmp_path / "run.tsv", results)
    assert load_tuning_results(tmp_path / "run.tsv") == results


@pytest.mark.parametrize("epochs", [0, 3])
def test_a_training_curve_is_read_as_it_was(tmp_path: Path, epochs: int):
    curve = [Epoch(i + 1, 2.5 / (i + 1), 0.5, 1.25, 0.75) for i in range(epochs)]
    write_training_curve(tmp_path / "run.tsv", curve)
    read = load_training_curve(tmp_path / "run.tsv")
    assert [epoch.epoch for epoch in read] == list(range(1, epochs + 1))
    for one, other in zip(read, curve, strict=True):
        assert one.train_loss == pytest.approx(other.train_loss, rel=1e-5)
        assert (one.train_top1, one.tune_loss, one.tune_top1) == (0.5, 1.25, 0.75)


def test_a_missing_table_names_the_fix(tmp_path: Path):
    with pytest.raises(UserError, match=r"run\.tsv is missing; `dvc repro` makes it"):
        load_tuning_results(tmp_path / "run.tsv")
