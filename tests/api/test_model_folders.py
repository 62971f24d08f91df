"""`hs.load` opens the folder of a run; its answers are those of the pipeline."""

from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.evaluation.run_results import protocol_probabilities
from headstart.metrics.calibration import apply_temperature
from headstart.store.predictions import load_predictions


def test_a_run_predicts_evaluates_and_names_what_it_cannot_read(packaged: Path) -> None:
    model = hs.load(packaged / "data/models/tiny-lda", device="cpu", cache=None)
    assert isinstance(model, hs.ModelFolder)
    val = load_predictions(packaged / "data/predictions/tiny-lda/val.h5")
    raw = protocol_probabilities(val)["ten_crop"]
    expected = apply_temperature(raw, model.description.temperature)
    paths = sorted((packaged / "new").iterdir())
    np.testing.assert_allclose(model.predict_proba(paths), expected, atol=1e-6)
    assert model.predict(paths[:1]).tolist() == [model.classes_[expected[0].argmax()]]
    labels = [val.examples.classes[label].id for label in val.examples.labels]
    assert model.score(paths, labels) == (expected.argmax(1) == val.examples.labels).mean()
    evaluation = model.evaluate(paths, labels, resamples=100)
    assert evaluation.n == 16
    assert evaluation.protocol == "ten_crop"
    with pytest.raises(hs.UserError, match="1 of 2 images can't be read"):
        model.predict([paths[0], packaged / "nowhere.png"])
    with pytest.raises(hs.UserError, match="there are images without a label"):
        model.score(paths)
