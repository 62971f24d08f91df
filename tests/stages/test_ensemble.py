from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from headstart.store.ensemble_curves import load_ensemble_curve
from headstart.store.predictions import load_predictions
from tests import cases

RUNS = ["random-linear", "resnet50-linear"]
ENSEMBLE = ("--predictions", "predictions", "--results", "results", "--ensemble")
PATHS = (*ENSEMBLE, "ensembles/both", "--name", "both")


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
    test = cases.predictions(5, split="test", labeled=False)
    for seed, name in enumerate(RUNS):
        cases.save_run(tmp_path / "predictions" / name, seed=seed, test=test)
    run(monkeypatch, tmp_path, average="logits")
    said = f"both: averaged the logits of 2 ({', '.join(RUNS)})\n"
    assert capsys.readouterr().out == said
    written = tmp_path / "ensembles" / "both"
    assert {file.name for file in written.iterdir()} == {"tune.h5", "val.h5", "test.h5"}
    a, b = (load_predictions(tmp_path / "predictions" / name / "val.h5") for name in RUNS)
    expected = (a.logits + b.logits) / 2
    np.testing.assert_allclose(load_predictions(written / "val.h5").logits, expected, rtol=1e-4)

    assert load_ensemble_curve(tmp_path / "results" / "ensembles" / "both.tsv") == []

    paths = ("--predictions", "ensembles/both", "--results", "results")
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *paths)
    assert capsys.readouterr().out.startswith("both: top-1 ")


def test_tune_chooses_who_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, skill in zip(RUNS, (3.0, -20.0), strict=True):
        cases.save_run(tmp_path / "predictions" / name, skill=skill)
    run(monkeypatch, tmp_path, choose="ranked")
    curve = load_ensemble_curve(tmp_path / "results" / "ensembles" / "both.tsv")
    assert [(size.joins, size.kept) for size in curve] == [(RUNS[0], True), (RUNS[1], False)]


SNAPSHOTS = {"networks": ["mini_inception"], "snapshots": 20}


def snapshots(
    monkeypatch: pytest.MonkeyPatch, folder: Path, count: int, trained: dict[str, Any] = SNAPSHOTS
) -> None:
    """The shipped ensemble of snapshots, of a network that kept `count` of them."""
    network = folder / "predictions" / "mini_inception"
    cases.save_run(network, views=1, skill=1.0)
    for i in range(count):
        cases.save_run(network / f"snapshot_{i:02d}", seed=i, views=1, skill=0.8 + 0.1 * i)
    name = "mini_inception_snapshots"
    paths = (*ENSEMBLE, f"ensembles/{name}", "--name", name)
    cases.run_stage(
        monkeypatch,
        folder,
        "ensemble",
        *paths,
        train_scratch=trained,
        ensemble={"ensembles": [name]},
    )


def test_the_snapshots_of_one_training_run_are_an_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    snapshots(monkeypatch, tmp_path, 5)
    written = tmp_path / "ensembles" / "mini_inception_snapshots"
    table = tmp_path / "results" / "ensembles" / "mini_inception_snapshots.tsv"
    rows = [line.split("\t") for line in table.read_text().splitlines()[1:]]
    joined = [row[1] for row in rows]
    assert sorted(joined) == [f"mini_inception/snapshot_{i:02d}" for i in range(5)]
    tune = [load_predictions(tmp_path / "predictions" / name / "tune.h5") for name in joined]
    alone = [np.mean(run.logits[:, 0].argmax(1) == run.examples.labels) for run in tune]
    assert alone == sorted(alone, reverse=True)
    kept = [row[1] for row in rows if row[4] == "1"]
    assert 1 < len(kept) < 5
    said = f"averaged the probabilities of {len(kept)} ({', '.join(kept)})\n"
    assert capsys.readouterr().out == f"mini_inception_snapshots: {said}"
    assert max(rows, key=lambda row: float(row[2]))[1] == kept[-1]

    runs = [load_predictions(tmp_path / "predictions" / name / "val.h5") for name in kept]
    expected = np.mean([softmax(run.logits, axis=-1) for run in runs], axis=0)
    found = load_predictions(written / "val.h5")
    np.testing.assert_allclose(softmax(found.logits, axis=-1), expected, rtol=1e-4)


def test_one_snapshot_is_no_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match="mini_inception has 1 snapshots, and an ensemble wants"):
        snapshots(monkeypatch, tmp_path, 1)
    with pytest.raises(SystemExit, match=r"_snapshots: train_scratch\.snapshots is 1; raise it"):
        snapshots(monkeypatch, tmp_path, 1, {**SNAPSHOTS, "snapshots": 1})


def test_a_member_that_is_no_active_run_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    expected = (
        r"ensembles\.both: no run 'resnet50-linaer' is active; did you mean 'resnet50-linear'"
    )
    with pytest.raises(SystemExit, match=expected):
        run(monkeypatch, tmp_path, members=["random-linear", "resnet50-linaer"])
