"""A model folder answers elsewhere as the pipeline does here."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.api.model_folders import ModelFolder
from headstart.core.errors import UserError
from headstart.evaluation.run_results import protocol_probabilities
from headstart.heads.familiarity import FAMILIARITY_FILE, load_familiarity
from headstart.metrics.calibration import apply_temperature
from headstart.packaging.model_description import load_description
from headstart.store.features import load_features
from headstart.store.predictions import load_predictions
from tests.packaged import RUNS

CLASSIFY_ALL = """
import sys
from pathlib import Path
from headstart.cli.main import main

for folder in sorted(Path(sys.argv[1]).iterdir()):
    status = main(["classify", str(folder), sys.argv[2], "-o", f"{folder.name}.tsv"])
    assert status == 0, folder
"""


@pytest.fixture(scope="module")
def elsewhere(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with copies of all model folders, classified there by a process of its own."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for run in RUNS:
        shutil.copytree(packaged / "data/models" / run, folder / "carried" / run)
    shutil.copytree(packaged / "new", folder / "new")
    work = folder / "work"
    work.mkdir()
    hidden = packaged.with_name("hidden")
    packaged.rename(hidden)  # so that nothing of the project can be read
    try:
        subprocess.run(
            [sys.executable, "-c", CLASSIFY_ALL, "../carried", "../new"], cwd=work, check=True
        )
    finally:
        hidden.rename(packaged)
    return folder


@pytest.mark.parametrize("run", RUNS)
def test_a_copy_of_the_folder_says_what_the_pipeline_said(
    packaged: Path, elsewhere: Path, run: str
) -> None:
    kind = "ensembles" if run == "team" else "predictions"
    val = load_predictions(packaged / f"data/{kind}/{run}/val.h5")
    protocols = protocol_probabilities(val)
    raw = protocols.get("ten_crop", protocols["whole"])
    description = load_description(elsewhere / "carried" / run)
    assert description.protocol == ("ten_crop" if "ten_crop" in protocols else "whole")
    calibrated = apply_temperature(raw, description.temperature)
    ids = [label.id for label in val.examples.classes]
    with (elsewhere / "work" / f"{run}.tsv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["file"] for row in rows] == [f"{number:02d}.png" for number in range(16)]
    # A head's answers are the pipeline's own; networks were evaluated in bfloat16 where there is.
    tolerance = 1e-4 if run.startswith(("tiny", "both")) and "finetune" not in run else 0.02
    for row, sure, plain in zip(rows, calibrated, raw, strict=True):
        label = ids.index(row["class"])
        assert float(row["probability"]) == pytest.approx(sure.max(), abs=tolerance)
        assert sure[label] == pytest.approx(sure.max(), abs=tolerance)
        candidates = row["candidates"].split("; ")
        assert candidates[0] == row["class"]
        for c in np.flatnonzero(np.abs(plain - description.conformal.threshold) > tolerance):
            held = plain[c] >= description.conformal.threshold or ids[c] == candidates[0]
            assert held == (ids[c] in candidates)


@pytest.mark.parametrize("run", RUNS)
def test_familiarity_is_that_of_the_runs_own_features(
    packaged: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(packaged / "cache"))
    folder = packaged / "data/models" / run
    model = hs.load(folder, device="cpu")
    assert isinstance(model, ModelFolder)
    paths = [packaged / f"new/{number:02d}.png" for number in range(16)]
    if run == "small":
        with pytest.raises(UserError, match="small doesn't know how familiar an image is"):
            model.familiarity(paths)
        return
    found = model.familiarity(paths)
    assert found.shape == (16,)
    assert ((found >= 0) & (found <= 100)).all()
    if run in ("tiny-linear", "both-lda"):
        backbone = run.partition("-")[0]
        own = load_familiarity(packaged / "data/trained" / run / FAMILIARITY_FILE)
        val = load_features(packaged / f"data/features/{backbone}/val.h5")
        # Of tune's 24 images one more or less may be as familiar.
        np.testing.assert_allclose(found, own.percentiles(val.values[:, 0]), atol=100 / 24 + 1e-6)
