from pathlib import Path

import pytest

from headstart.core.errors import UserError
from headstart.report.learning_curve_figure import draw_learning_curves
from headstart.store.learning_curves import (
    LearningCurvePoint,
    load_learning_curves,
    write_learning_curve,
    write_learning_curves,
)

FEW = LearningCurvePoint(1, 16, 3, 0.25, 0.2, 0.3, 0.22, 0.28)
ALL = LearningCurvePoint(64, 1000, 1, 0.75, 0.7, 0.8, 0.75, 0.75)
CURVES = {
    f"{backbone}-{head}": [FEW, ALL._replace(top1=top1)]
    for top1, (backbone, head) in enumerate(
        [("random", "lda"), ("random", "linear"), ("resnet50", "lda"), ("resnet50", "linear")]
    )
}


def test_curves_are_read_as_they_were_written(tmp_path: Path):
    for run, curve in CURVES.items():
        write_learning_curve(tmp_path / f"{run}.tsv", curve)
    (tmp_path / "stale-lda.tsv").write_text("once active\n")
    assert load_learning_curves(tmp_path, list(CURVES)) == CURVES


def test_a_missing_curve_names_the_fix(tmp_path: Path):
    with pytest.raises(UserError, match=r"^run random-lda has no learning curve at .*`dvc repro`"):
        load_learning_curves(tmp_path, ["random-lda"])


def test_one_table_of_all_runs(tmp_path: Path):
    write_learning_curves(tmp_path / "curves.tsv", CURVES)
    header, *rows = (tmp_path / "curves.tsv").read_text().splitlines()
    assert header.split("\t") == ["run", *LearningCurvePoint._fields]
    assert [row.split("\t")[0] for row in rows] == [run for run in CURVES for _ in range(2)]
    assert rows[0].split("\t")[1:5] == ["1", "16", "3", "0.25000"]


@pytest.mark.parametrize("runs", [["random-lda", "random-linear"], list(CURVES)])
def test_figure_names_every_run_and_number_and_is_the_same_twice(tmp_path: Path, runs: list[str]):
    curves = {run: CURVES[run] for run in runs}
    for name in ("a.svg", "b.svg"):
        draw_learning_curves(tmp_path / name, curves, 0.95)
    drawn = (tmp_path / "a.svg").read_text()
    for text in (*runs, "1", "64"):
        assert f">{text}<" in drawn
    assert "95% interval" in drawn
    assert (tmp_path / "b.svg").read_text() == drawn
