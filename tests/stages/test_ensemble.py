from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headstart import predictions
from tests import cases

RUNS = ["random-linear", "resnet50-linear"]
PATHS = ("--predictions", "predictions", "--ensemble", "ensembles/both", "--name", "both")


def run(monkeypatch: pytest.MonkeyPatch, folder: Path, **described: Any) -> None:
    cases.run_stage(
        monkeypatch,
        folder,
        "ensemble",
        *PATHS,
        extract={"backbones": ["random", "resnet50"]},
        ensembles={"both": {"members": RUNS} | described},
        ensemble={"ensembles": ["both"]},
    )


def test_an_ensemble_of_runs_is_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    test = cases.predictions(5, split="test", labelled=False)
    for seed, name in enumerate(RUNS):
        cases.save_run(tmp_path / "predictions" / name, seed=seed, test=test)
    run(monkeypatch, tmp_path, average="logits")
    said = f"both: averaged the logits of 2 runs ({', '.join(RUNS)})\n"
    assert capsys.readouterr().out == said
    written = tmp_path / "ensembles" / "both"
    assert {file.name for file in written.iterdir()} == {"tune.h5", "val.h5", "test.h5"}
    a, b = (predictions.load(tmp_path / "predictions" / name / "val.h5") for name in RUNS)
    expected = (a.logits + b.logits) / 2
    np.testing.assert_allclose(predictions.load(written / "val.h5").logits, expected, rtol=1e-4)

    paths = ("--predictions", "ensembles/both", "--metrics", "results/both/metrics.json")
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *paths)
    assert capsys.readouterr().out.startswith("both: top-1 ")


def test_tune_chooses_who_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, skill in zip(RUNS, (3.0, -20.0), strict=True):
        cases.save_run(tmp_path / "predictions" / name, skill=skill)
    run(monkeypatch, tmp_path, choose="ranked")
    written = tmp_path / "ensembles" / "both"
    joined = [line.split("\t") for line in (written / "curve.tsv").read_text().splitlines()[1:]]
    assert [(row[1], row[4]) for row in joined] == [(RUNS[0], "1"), (RUNS[1], "0")]
    assert (written / "curve.svg").exists()


def test_a_member_that_is_no_active_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = (
        r"ensembles\.both: no run 'resnet50-linaer' is active; did you mean 'resnet50-linear'"
    )
    with pytest.raises(SystemExit, match=expected):
        run(monkeypatch, tmp_path, members=["random-linear", "resnet50-linaer"])
