from pathlib import Path

import numpy as np

from headstart.evaluation.run_results import calibrate_run, protocol_probabilities, top_classes
from headstart.metrics.calibration import apply_temperature
from headstart.store.top_classes import load_top_classes, write_top_classes
from tests import cases


def test_the_five_likeliest_with_their_calibrated_probabilities(tmp_path: Path):
    splits = {split: cases.predictions(40, classes=9, split=split) for split in ("tune", "val")}
    calibrated = calibrate_run(splits, 0.95, 0.9, 100, 0)
    top = top_classes(splits["val"], calibrated)
    write_top_classes(tmp_path / "run.tsv", top)
    loaded = load_top_classes(tmp_path / "run.tsv")
    val = splits["val"].examples
    assert loaded.ids == val.ids
    assert loaded.labels == [val.classes[label].id for label in val.labels]
    probabilities = apply_temperature(
        protocol_probabilities(splits["val"])["ten_crop"], calibrated["ten_crop"]["temperature"]
    )
    expected = -np.sort(-probabilities, axis=1)[:, :5]
    np.testing.assert_allclose(loaded.probabilities, expected, atol=5.1e-5)
    names = np.array([label.id for label in val.classes])
    assert loaded.classes[:, 0].tolist() == names[probabilities.argmax(1)].tolist()
    assert loaded.classes.shape == (40, 5)


def test_names_that_a_spreadsheet_would_compute_come_back(tmp_path: Path):
    top = top_classes(cases.predictions(4, classes=2, views=1), {"whole": {"temperature": 1.0}})
    hostile = np.array([["=1+1", "<script>"]] * 4)
    named = type(top)(top.ids, ["=1+1"] * 4, hostile, top.probabilities)
    write_top_classes(tmp_path / "run.tsv", named)
    loaded = load_top_classes(tmp_path / "run.tsv")
    assert loaded.classes.tolist() == hostile.tolist()
    assert loaded.labels == ["=1+1"] * 4
