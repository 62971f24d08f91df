import json
from pathlib import Path

import pytest

from tests import cases


def test_compares_what_evaluate_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    backbones = ["random", "resnet50"]
    for seed, backbone in enumerate(backbones):
        run = f"{backbone}-linear"
        cases.save_run(tmp_path / "predictions" / run, skill=1.0 + 2 * seed, seed=seed)
        written = (
            "--predictions",
            f"predictions/{run}",
            "--metrics",
            f"results/{run}/metrics.json",
        )
        cases.run_stage(monkeypatch, tmp_path, "evaluate", *written)
    capsys.readouterr()

    cases.run_stage(
        monkeypatch,
        tmp_path,
        "compare",
        *("--results", "results", "--report", "report"),
        extract={"backbones": backbones},
        train_head={"heads": ["linear"]},
        learning_curve={"heads": []},
    )
    curves = tmp_path / "report" / "learning_curve"
    assert [file.name for file in curves.iterdir()] == ["curves.tsv"]
    assert len((curves / "curves.tsv").read_text().splitlines()) == 1
    summary = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert summary["best"] == "resnet50-linear"
    evaluated = json.loads((tmp_path / "results" / "resnet50-linear" / "metrics.json").read_text())
    assert summary["best_top1"] == evaluated["val"]["ten_crop"]["top1"]
    assert "**resnet50-linear**" in (tmp_path / "report" / "comparison.md").read_text()
    assert ">resnet50-linear<" in (tmp_path / "report" / "comparison.svg").read_text()
    pairs = (tmp_path / "report" / "pairs.tsv").read_text().splitlines()
    assert [line.split("\t")[:2] for line in pairs[1:]] == [["resnet50-linear", "random-linear"]]
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("| run ")
    assert said[-1] == "compared 2 runs; tune chooses resnet50-linear"


def test_a_run_without_results_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(SystemExit, match=r"^error: run bundled-linear has no results in "):
        cases.run_stage(monkeypatch, tmp_path, "compare", "--results", "r", "--report", "report")
