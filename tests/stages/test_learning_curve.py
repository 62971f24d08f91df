import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest

from headstart.store.audit_findings import write_findings
from headstart.store.embeddings import Embedding, write_embedding
from headstart.store.examples import ClassLabel
from headstart.store.filters import write_filters
from tests import cases
from tests.heads import blobs

CURVE = ("--features", "random", "--results", "results", "--head")
ASKED = {"heads": ["lda"], "images_per_class": [2, 5, 100], "subsets": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split, views in (("train", 2), ("tune", 10), ("val", 10)):
        made = blobs.features(60, views=views, split=split, distance=0.4)
        blobs.save(tmp_path / "random" / f"{split}.h5", made)
    return tmp_path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, dialect="excel-tab"))


def test_its_last_point_is_what_train_head_predict_and_evaluate_give(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    cases.run_stage(monkeypatch, folder, "learning_curve", *CURVE, "lda", learning_curve=ASKED)
    said = capsys.readouterr().out
    assert re.fullmatch(
        r"random-lda: top-1 by images per class, 2: [\d.]+%, 5: [\d.]+%, 15: [\d.]+% "
        r"\(60 val images\)\n",
        said,
    )
    found = rows(folder / "results" / "learning_curves" / "random-lda.tsv")
    assert [row["images_per_class"] for row in found] == ["2", "5", "15"]
    assert [row["train_images"] for row in found] == ["8", "20", "60"]
    assert [row["subsets"] for row in found] == ["2", "2", "1"]

    model = ("--features", "random", "--model", "model/random-lda")
    measured = ("--results", "results")
    scored = ("--predictions", "predictions/random-lda")
    cases.run_stage(monkeypatch, folder, "train_head", *model, *measured, "--head", "lda")
    cases.run_stage(monkeypatch, folder, "predict", *model, *scored)
    cases.run_stage(monkeypatch, folder, "evaluate", *scored, *measured)
    evaluated = json.loads((folder / "results/evaluation/random-lda/metrics.json").read_text())
    whole = evaluated["val"]["whole"]
    last = found[-1]
    assert float(last["top1"]) == whole["top1"]
    assert [float(last["low"]), float(last["high"])] == whole["top1_interval"]

    active = {"extract": {"backbones": ["random"]}, "train_head": {"heads": ["lda"]}}
    points = Embedding(["1"], [ClassLabel("n0", "plunger")], np.zeros((1, 2)))
    write_embedding(folder / "results/tsne/random.tsv", points)
    write_findings(folder / "results/audit/random-findings.tsv", [])
    write_filters(
        folder / "results/filters/backbones/random.npy", np.zeros((0, 3, 7, 7), np.float32)
    )
    written = (*measured, "--report", "report")
    cases.run_stage(monkeypatch, folder, "compare", *written, learning_curve=ASKED, **active)
    report = folder / "report"
    assert [row["run"] for row in rows(report / "learning_curves.tsv")] == ["random-lda"] * 3
    assert ">random-lda<" in (report / "figures" / "learning_curves.svg").read_text()
    assert ">shrinkage<" in (report / "figures" / "tuning" / "random-lda.svg").read_text()
    assert not (report / "figures" / "training").exists()


def test_features_above_the_memory_limit_give_the_same_curve(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    path = folder / "results" / "learning_curves" / "random-lda.tsv"
    made = []
    for limit in (None, "1KB"):
        change = {"train_head": {"memory_limit": limit}, "learning_curve": ASKED}
        cases.run_stage(monkeypatch, folder, "learning_curve", *CURVE, "lda", **change)
        made.append(path.read_bytes())
    assert made[0] == made[1]
    too_big = r"^error: nearest_neighbors holds all features at once"
    with pytest.raises(SystemExit, match=too_big):
        cases.run_stage(
            monkeypatch, folder, "learning_curve", *CURVE, "nearest_neighbors", **change
        )


def test_a_typo_and_missing_features_are_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: heads has no 'ldaa'; did you mean 'lda'"):
        cases.run_stage(monkeypatch, folder, "learning_curve", *CURVE, "ldaa")
    (folder / "random" / "val.h5").unlink()
    with pytest.raises(SystemExit, match=r"^error: .*val\.h5 is missing; `dvc repro` makes it"):
        cases.run_stage(monkeypatch, folder, "learning_curve", *CURVE, "lda")
