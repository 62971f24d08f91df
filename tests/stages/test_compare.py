import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from headstart.store.audit_findings import write_findings
from headstart.store.embeddings import Embedding, write_embedding
from headstart.store.examples import ClassLabel
from headstart.store.filters import write_filters
from headstart.store.image_sheets import ImageSheet, save_sheet
from headstart.store.training_curves import Epoch, write_training_curve
from headstart.store.tuning_results import Score, TuningResults, write_tuning_results
from tests import cases


def write_tables(results: Path, backbone: str, run: str) -> None:
    """What train_head and tsne would write."""
    curve = [Epoch(epoch, 1 / epoch, 0.5, 1 / epoch, 0.5) for epoch in (1, 2)]
    write_training_curve(results / "training" / f"{run}.tsv", curve)
    settings = [{"shrinkage": value} for value in (0.1, 0.5)]
    candidates = TuningResults(settings, [Score(0.5, 1.0), Score(0.6, 1.0)], 1)
    write_tuning_results(results / "tuning" / f"{run}.tsv", candidates)
    embedding = Embedding(["1"], [ClassLabel("n0", "plunger")], np.zeros((1, 2)))
    write_embedding(results / "tsne" / f"{backbone}.tsv", embedding)
    filters = np.zeros((4 if backbone == "resnet50" else 0, 3, 7, 7), np.float32)
    write_filters(results / "filters" / "backbones" / f"{backbone}.npy", filters)
    write_findings(results / "audit" / f"{backbone}-findings.tsv", [])


def test_compares_what_evaluate_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    backbones = ["random", "resnet50"]
    for seed, backbone in enumerate(backbones):
        run = f"{backbone}-linear"
        cases.save_run(tmp_path / "predictions" / run, skill=1.0 + 2 * seed, seed=seed)
        written = ("--predictions", f"predictions/{run}", "--results", "results")
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *written)
        write_tables(tmp_path / "results", backbone, run)
    sheet = ImageSheet([np.zeros((8, 8, 3), np.uint8)], ["8 px"], columns=1)
    save_sheet(tmp_path / "results" / "sheets" / "rescaling.h5", sheet)
    # Everything is drawn from the tables.
    shutil.rmtree(tmp_path / "predictions")
    capsys.readouterr()

    cases.run_stage(
        monkeypatch,
        tmp_path,
        "compare",
        *("--results", "results", "--report", "report"),
        extract={"backbones": backbones},
        train_head={"heads": ["linear"]},
        learning_curve={"heads": []},
        studies={"both": ["random-linear", "resnet50-linear"], "one": ["both-linear", "vgg16"]},
    )
    report = tmp_path / "report"
    assert len((report / "learning_curves.tsv").read_text().splitlines()) == 1
    summary = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert summary["best"] == "resnet50-linear"
    evaluated = json.loads(
        (tmp_path / "results/evaluation/resnet50-linear/metrics.json").read_text()
    )
    stated = evaluated["val"]["ten_crop"]
    assert summary.pop("best") == "resnet50-linear"
    assert summary == {name: stated[name] for name in ("top1", "nll", "ece")}
    calibration = (tmp_path / "results/evaluation/resnet50-linear/calibration.json").read_text()
    ece = json.loads(calibration)["ten_crop"]["before"]["ece"]
    assert "**resnet50-linear**" in (tmp_path / "report" / "comparison.md").read_text()
    shown = {
        "comparison": ">resnet50-linear<",
        "training/resnet50-linear": ">cross-entropy<",
        "tuning/resnet50-linear": ">shrinkage<",
        "reliability/resnet50-linear": f">temperature 1: ECE {ece:.3f}<",
        "crops/resnet50-linear": ">logits averaged<",
        "tsne/resnet50": ">plunger<",
        "studies/both": ">random-linear<",
        "filters/backbones/resnet50": ">4 filters of 7 x 7 px<",
    }
    for name, text in shown.items():
        assert text in (report / "figures" / f"{name}.svg").read_text(), name
    figures = {path.relative_to(report / "figures") for path in report.rglob("*.svg")}
    assert len(figures) == 1 + 2 * 5 + 2
    assert (report / "figures" / "sheets" / "rescaling.png").is_file()
    pairs = (tmp_path / "report" / "pairs.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in pairs[1:]] == [["resnet50-linear", "random-linear"]]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("| run ")
    assert said[-1] == "compared 2 runs; tune chooses resnet50-linear"


def test_a_run_without_results_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: run bundled-linear has no results in "):
        cases.run_stage(monkeypatch, tmp_path, "compare", "--results", "r", "--report", "report")


def test_a_missing_table_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    cases.save_run(tmp_path / "predictions" / "random-linear")
    written = ("--predictions", "predictions/random-linear", "--results", "results")
    cases.run_stage(monkeypatch, tmp_path, "evaluate", *written)
    write_findings(tmp_path / "results" / "audit" / "random-findings.tsv", [])
    missing = r"^error: .*training.random-linear\.tsv is missing; `dvc repro` makes it$"
    with pytest.raises(SystemExit, match=missing):
        cases.run_stage(
            monkeypatch,
            tmp_path,
            "compare",
            *("--results", "results", "--report", "report"),
            extract={"backbones": ["random"]},
            train_head={"heads": ["linear"]},
            learning_curve={"heads": []},
        )
