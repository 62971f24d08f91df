import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart.core.errors import UserError
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.report.comparison import (
    best_run,
    comparison_report,
    comparison_table,
    draw_comparison,
    ranked_runs,
    results_summary,
    thousands,
    write_pairs,
)
from headstart.store.predicted_classes import load_correct
from headstart.store.run_metrics import load_metrics


def measured(top1: float, nll: float = 1.0) -> dict[str, Any]:
    interval = [round(top1 - 0.02, 5), round(top1 + 0.02, 5)]
    averages = {"balanced_accuracy": 1 - top1, "macro_f1": 0.4, "auroc": 0.8}
    intervals = {f"{name}_interval": [value, 1.0] for name, value in averages.items()}
    values = {"top1": top1, "top1_interval": interval, "top5": 0.9, "nll": nll, "ece": 0.05}
    return values | averages | intervals


def run(whole: float, ten_crop: float | None, tune: float, tune_nll: float = 1.0) -> dict[str, Any]:
    val: dict[str, Any] = {"n": 500, "whole": measured(whole)}
    tuned: dict[str, Any] = {"n": 80, "whole": measured(tune, tune_nll) | {"auroc": 1 - tune}}
    if ten_crop is not None:
        val["ten_crop"] = measured(ten_crop)
        tuned["ten_crop"] = tuned["whole"]
    return {"val": val, "tune": tuned, "passes": 600_000, "parameters": 8_300_000}


RESULTS = {"a-linear": run(0.50, 0.55, 0.60), "b-linear": run(0.57, None, 0.58)}


def test_best_is_chosen_on_tune_though_val_says_otherwise():
    assert best_run(RESULTS, "accuracy") == "a-linear"
    assert ranked_runs(RESULTS, "accuracy") == ["b-linear", "a-linear"]
    summary = {"best": "a-linear", "top1": 0.55, "nll": 1.0, "ece": 0.05}
    assert results_summary(RESULTS, "accuracy") == summary


def test_of_equals_the_lower_loss_on_tune_wins():
    results = {"a": run(0.5, 0.5, 0.6, 1.2), "b": run(0.5, 0.5, 0.6, 1.1)}
    assert best_run(results, "accuracy") == "b"


def test_another_criterion_chooses_ranks_and_has_a_column_of_its_own():
    """By accuracy on tune a-linear is better; its AUROC is made the worse one."""
    assert best_run(RESULTS, "auroc") == "b-linear"
    assert ranked_runs(RESULTS, "balanced_accuracy") == ["a-linear", "b-linear"]
    assert results_summary(RESULTS, "auroc")["auroc"] == 0.8
    head, _, first, *_ = comparison_table({"b": RESULTS["b-linear"]}, "macro_f1").splitlines()
    columns = [cell.strip() for cell in head.split("|")[1:4]]
    assert columns == ["run", "top-1", "macro-F1"]
    assert "| 40.0 % [40.0, 100.0] |" in first
    report = comparison_report(RESULTS, "auroc", [], 0.95, [], [])
    assert "**b-linear**, AUROC 42.0% on 80 tune images and 80.0% on 500 val images" in report
    assert "| 80.0 % [80.0, 100.0] |" in report


def test_table_has_a_row_a_run_and_aligned_columns():
    head, rule, first, second = comparison_table(RESULTS, "accuracy").splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        *("run", "top-1, one view", "top-1, ten crops", "top-5", "NLL", "ECE", "n", "passes"),
        "trained parameters",
    ]
    assert first.startswith("| b-linear ")
    assert "| 57.0 % [55.0, 59.0] |" in first
    assert "| 90.0 % |" in first
    assert first.endswith(" 8.3 M |")
    assert "**a-linear**" in second
    assert "55.0 % [53.0, 57.0]" in second
    assert len({len(line) for line in (head, rule, first, second)}) == 1


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (12_800, "12,800"), (600_000, "0.6 M"), (1_234_567_890, "1,234.6 M")],
)
def test_passes_are_for_people(count: int, text: str):
    assert thousands(count) == text
    results = {"a": run(0.5, None, 0.6) | {"passes": count}}
    assert comparison_table(results, "accuracy").splitlines()[-1].split("|")[-3].strip() == text


def test_report_says_what_was_chosen_on_what():
    report = comparison_report(RESULTS, "accuracy", [], 0.95, [], [])
    assert "**a-linear**, top-1 60.0% on 80 tune images and 55.0% on 500 val images" in report
    assert "95% bootstrap intervals" in report
    assert "against each other run" not in report
    assert "What the runs say" not in report


def test_report_compares_the_chosen_run_with_each_other(tmp_path: Path):
    differences = [
        AccuracyDifference("b-linear", "a-linear", 0.02, -0.01, 0.05, 0.2134),
        AccuracyDifference("a-linear", "c-linear", 0.05, 0.01, 0.09, 0.004),
        AccuracyDifference("c-linear", "b-linear", 0.01, -0.02, 0.04, 0.5),
    ]
    report = comparison_report(
        RESULTS, "accuracy", differences, 0.95, ["It is worth it."], ["2 outliers."]
    )
    # An interval that holds zero shows no difference, and the sentence must not claim one.
    assert (
        "**b-linear** is not shown to differ from **a-linear**: ahead by 2.0 points [-1.0, 5.0], "
        "p = 0.21\n"
    ) in report
    assert (
        "**a-linear** is better than **c-linear** by 5.0 points [1.0, 9.0], p = 0.004\n" in report
    )
    assert "**c-linear** is" not in report
    assert "\n## What the runs say\n\n- It is worth it.\n" in report
    assert "\n## What the audit says of the data\n\n- 2 outliers.\n" in report
    write_pairs(tmp_path / "pairs.tsv", differences)
    assert (tmp_path / "pairs.tsv").read_text().splitlines()[1:] == [
        "b-linear\ta-linear\t0.02000\t-0.01000\t0.05000\t0.213",
        "a-linear\tc-linear\t0.05000\t0.01000\t0.09000\t0.004",
        "c-linear\tb-linear\t0.01000\t-0.02000\t0.04000\t0.5",
    ]


def write_predicted(path: Path, header: str, *rows: str) -> None:
    text = "\n".join([header, *rows]).replace(" ", "\t") + "\n"
    path.write_text(text, encoding="utf-8")


def test_correct_images_are_those_of_the_primary_protocol(tmp_path: Path):
    header = "id class predicted whole ten_crop"
    write_predicted(tmp_path / "a.tsv", header, "1 x x y x", "2 y x y x")
    write_predicted(tmp_path / "b.tsv", "id class predicted whole", "1 x x x", "2 y y y")
    right = load_correct(tmp_path, ["a", "b"])
    np.testing.assert_array_equal(right["a"], [True, False])
    np.testing.assert_array_equal(right["b"], [True, True])


def test_runs_of_different_images_are_not_compared(tmp_path: Path):
    write_predicted(tmp_path / "a.tsv", "id class predicted whole", "1 x y y")
    write_predicted(tmp_path / "b.tsv", "id class predicted whole", "2 x y y")
    with pytest.raises(UserError, match="runs a and b saw different val images; run `dvc repro`"):
        load_correct(tmp_path, ["a", "b"])


def test_only_active_runs_are_read(tmp_path: Path):
    for name in ("a-linear", "old-linear"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.json").write_text(json.dumps(RESULTS["a-linear"]))
    assert list(load_metrics(tmp_path, ["a-linear"])) == ["a-linear"]


def test_a_run_without_results_names_the_fix(tmp_path: Path):
    with pytest.raises(UserError, match=r"run a-linear has no results in .*; `dvc repro` makes"):
        load_metrics(tmp_path, ["a-linear"])


def test_no_active_run_names_the_fix(tmp_path: Path):
    with pytest.raises(UserError, match=r"name at least one of zoo in extract\.backbones"):
        load_metrics(tmp_path, [])


@pytest.mark.parametrize("runs", [1, 40])
def test_figure_names_every_run_and_is_the_same_twice(tmp_path: Path, runs: int):
    results = {f"run{i}-linear": run(0.3 + i / 100, 0.32 + i / 100, i / 100) for i in range(runs)}
    draw_comparison(results, "accuracy", tmp_path / "one.svg")
    draw_comparison(results, "accuracy", tmp_path / "two.svg")
    drawn = (tmp_path / "one.svg").read_text()
    assert all(f">{name}<" in drawn for name in results)
    assert drawn == (tmp_path / "two.svg").read_text()
