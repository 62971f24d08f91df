"""Probabilities and candidates of new images rest on the whole view: they have no other."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from headstart.inference import Classifier, classify_images
from headstart.metrics.calibration import conformal_threshold, fit_temperature
from headstart.store.views import WHOLE
from tests import cases


@pytest.mark.parametrize("turned", [False, True])
def test_temperature_and_sets_are_those_of_the_whole_view(turned: bool) -> None:
    tune = cases.predictions(200, split="tune")
    if turned:
        tune = replace(tune, logits=tune.logits[:, ::-1], views=tune.views[::-1])
    rng = np.random.default_rng(1)
    scores = 2 * rng.normal(size=(50, len(tune.examples.classes))).astype(np.float32)
    images = [np.full((8, 8, 3), number, np.uint8) for number in range(len(scores))]
    model = Classifier(tune.examples.classes, lambda block: scores[block[:, 0, 0, 0]])

    whole = softmax(tune.logits[:, tune.views.index(WHOLE.name)].astype(np.float64), axis=1)
    temperature = fit_temperature(whole, tune.examples.labels)
    threshold = conformal_threshold(whole, tune.examples.labels, 0.9)
    predictions = list(classify_images(model, tune, 0.9, images, batch_size=16))
    calibrated = softmax(scores.astype(np.float64) / temperature, axis=1).max(axis=1)
    np.testing.assert_allclose(
        [prediction.probability for prediction in predictions], calibrated, rtol=1e-5
    )
    for prediction, raw in zip(
        predictions, softmax(scores.astype(np.float64), axis=1), strict=True
    ):
        best = model.classes[raw.argmax()]
        assert prediction.label == best
        held = {model.classes[c] for c in np.flatnonzero(raw >= threshold)}
        assert set(prediction.candidates) == held | {best}
