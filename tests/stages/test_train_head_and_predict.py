import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart.store.predictions import load_predictions
from headstart.store.tuning_results import load_tuning_results
from tests import cases
from tests.heads import blobs

MODEL = ("--features", "features", "--model", "model/random-linear")
TRAIN = (*MODEL, "--results", "results", "--head")
PREDICT = (*MODEL, "--predictions", "predictions/random-linear")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, views in (("train", 2), ("tune", 10), ("val", 10), ("test", 10)):
        blobs.save(
            tmp_path / "features" / f"{split}.h5", blobs.features(60, views=views, split=split)
        )
    return tmp_path


def test_from_features_to_predictions(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "linear")
    said = capsys.readouterr().out
    assert re.fullmatch(r"random-linear: 60 train images, top-1 \d+\.\d% on 60 tune images\n", said)
    files = {file.name for file in (folder / "model/random-linear").iterdir()}
    assert files == {"head.safetensors", "familiarity.safetensors"}
    curve = (folder / "results/training/random-linear.tsv").read_text().splitlines()
    columns = ["epoch", "train_loss", "train_top1", "tune_loss", "tune_top1", "phase", "tune_score"]
    assert curve[0].split("\t") == columns
    assert [line.split("\t")[0] for line in curve[1:]] == [str(e) for e in range(1, 16)]
    tuning = (folder / "results/tuning/random-linear.tsv").read_text().splitlines()
    assert tuning[0].split("\t") == ["tune_top1", "tune_nll", "chosen"]
    assert len(tuning) == 2

    cases.run_stage(monkeypatch, folder, "predict", *PREDICT)
    assert capsys.readouterr().out == (
        "random-linear: scored 60 tune, 60 val, 60 test images for 4 classes\n"
    )
    val = load_predictions(folder / "predictions" / "random-linear" / "val.h5")
    assert val.logits.shape == (60, 10, 4)
    averaged = val.logits.mean(axis=1).argmax(axis=1)
    assert (averaged == val.examples.labels).mean() > 0.8
    assert np.isfinite(val.logits).all()


def test_a_choice_leaves_its_candidates(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "lda")
    assert " (of 12: shrinkage 0." in capsys.readouterr().out
    tuning = (folder / "results/tuning/random-linear.tsv").read_text().splitlines()
    assert tuning[0].split("\t") == ["shrinkage", "tune_top1", "tune_nll", "chosen"]
    assert len(tuning) == 1 + 12
    # A head that is not trained in epochs has a table all the same: dvc.yaml declares one.
    assert len((folder / "results/training/random-linear.tsv").read_text().splitlines()) == 1


def test_tune_chooses_by_what_params_say(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    choice = {"choose_by": "macro_f1"}
    cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "lda", evaluate=choice)
    said = capsys.readouterr().out
    assert re.search(r"60 train images, macro-F1 \d+\.\d% on 60 tune images", said)
    table = load_tuning_results(folder / "results/tuning/random-linear.tsv")
    assert table.metric == "macro_f1"
    best = max(table.scores, key=lambda score: (score.value, -score.nll))
    assert table.scores[table.chosen] == best


def test_features_above_the_memory_limit_are_streamed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    limit = {"memory_limit": "1KB"}
    cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "linear", train_head=limit)
    assert "60 train images, top-1 9" in capsys.readouterr().out
    too_big = r"^error: nearest_neighbors holds all features at once"
    with pytest.raises(SystemExit, match=too_big):
        cases.run_stage(
            monkeypatch, folder, "train_head", *TRAIN, "nearest_neighbors", train_head=limit
        )


def test_the_same_features_give_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    made = []
    for _ in range(2):
        cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "linear")
        files = [*(folder / "model").rglob("*.*"), *(folder / "results").rglob("*.tsv")]
        assert len(files) == 4
        made.append({f: f.read_bytes() for f in files})
    assert made[0] == made[1]


def test_a_dataset_may_have_no_test_split(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "features" / "test.h5").unlink()
    cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "linear")
    cases.run_stage(monkeypatch, folder, "predict", *PREDICT)
    assert {file.name for file in (folder / "predictions" / "random-linear").iterdir()} == {
        "tune.h5",
        "val.h5",
    }


def test_an_unknown_head_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: heads has no 'liner'; did you mean 'linear'"):
        cases.run_stage(monkeypatch, folder, "train_head", *TRAIN, "liner")


@pytest.mark.parametrize(
    "modules", ["heads.fitted_head, headstart.store.features", "heads.fitting"]
)
def test_predicting_and_heads_without_gradients_import_no_torch(modules: str):
    code = f"import sys, headstart.{modules}; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "False\n"
