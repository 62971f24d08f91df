import json
from pathlib import Path

import pytest

from tests import cases

PATHS = ("--predictions", "predictions/random-linear", "--metrics", "results/r/metrics.json")


def test_writes_metrics_and_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    unlabeled = cases.predictions(5, split="test", labeled=False)
    cases.save_run(tmp_path / "predictions" / "random-linear", test=unlabeled)
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)

    results = tmp_path / "results" / "r"
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["val"]["n"] == 60
    assert set(json.loads((results / "calibration.json").read_text())) == {"whole", "ten_crop"}
    assert len((results / "crops.tsv").read_text().splitlines()) == 1 + 2 * 10
    assert ">logits averaged<" in (results / "crops.svg").read_text()
    assert len((results / "per_class.tsv").read_text().splitlines()) == 1 + 4
    assert (results / "confusions.tsv").read_text().startswith("true_id\t")
    assert ">temperature 1: ECE " in (results / "reliability.svg").read_text()
    assert len((results / "examples.tsv").read_text().splitlines()) == 1 + 60
    assert (results / "test_predictions.txt").read_text().startswith("test_0.JPEG n0000000")
    said = capsys.readouterr().out
    assert said.startswith(f"random-linear: top-1 {metrics['val']['ten_crop']['top1']:.1%} [")
    assert said.endswith("(ten_crop, 60 val images)\n")


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases.save_run(tmp_path / "predictions" / "random-linear")
    made = []
    for _ in range(2):
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
        made.append({f.name: f.read_bytes() for f in (tmp_path / "results" / "r").iterdir()})
    assert made[0] == made[1]


def test_one_view_has_no_curve_of_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases.save_run(tmp_path / "predictions" / "random-linear", views=1)
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
    written = {file.name for file in (tmp_path / "results" / "r").iterdir()}
    always = {"metrics.json", "calibration.json", "reliability.svg", "reliability.tsv"}
    assert written == always | {"per_class.tsv", "confusions.tsv", "examples.tsv"}


def test_missing_predictions_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: .*tune\.h5 is missing; `dvc repro` makes it$"):
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *PATHS)
