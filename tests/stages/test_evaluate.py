import json
from pathlib import Path

import pytest

from tests import cases

PATHS = ("--predictions", "predictions/random-linear", "--results", "results")
TABLES = ("reliability", "predictions")


def test_writes_metrics_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    unlabeled = cases.predictions(5, split="test", labeled=False)
    cases.save_run(tmp_path / "predictions" / "random-linear", test=unlabeled)
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)

    results = tmp_path / "results" / "evaluation" / "random-linear"
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["val"]["n"] == 60
    assert set(json.loads((results / "calibration.json").read_text())) == {"whole", "ten_crop"}
    assert len((results / "crops.tsv").read_text().splitlines()) == 1 + 2 * 10
    assert len((results / "per_class.tsv").read_text().splitlines()) == 1 + 4
    assert (results / "confusions.tsv").read_text().startswith("true_id\t")
    reliability, predicted = (
        (tmp_path / "results" / kind / "random-linear.tsv").read_text().splitlines()
        for kind in TABLES
    )
    assert reliability[0].split("\t")[:4] == ["confidence", "accuracy", "n", "stage"]
    assert reliability[1].split("\t")[3] == "temperature 1"
    assert predicted[0].split("\t") == ["id", "class", "predicted", "whole", "ten_crop"]
    assert len(predicted) == 1 + 60
    summary = json.loads((tmp_path / "results/metrics/random-linear.json").read_text())
    stated = metrics["val"]["ten_crop"]
    assert summary == {name: stated[name] for name in ("top1", "nll", "ece")}
    assert (results / "test_predictions.txt").read_text().startswith("test_0.JPEG n0000000")
    said = capsys.readouterr().out
    assert said.startswith(f"random-linear: top-1 {metrics['val']['ten_crop']['top1']:.1%} [")
    assert said.endswith("(ten_crop, 60 val images)\n")


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases.save_run(tmp_path / "predictions" / "random-linear")
    made = []
    for _ in range(2):
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
        files = [*(tmp_path / "results").rglob("*.*")]
        made.append({file: file.read_bytes() for file in files})
    assert len(made[0]) == 9
    assert made[0] == made[1]


def test_one_view_has_no_curve_of_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases.save_run(tmp_path / "predictions" / "random-linear", views=1)
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
    results = tmp_path / "results" / "evaluation" / "random-linear"
    written = {file.name for file in results.iterdir()}
    assert written == {"metrics.json", "calibration.json", "per_class.tsv", "confusions.tsv"}


def test_missing_predictions_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: .*tune\.h5 is missing; `dvc repro` makes it$"):
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
