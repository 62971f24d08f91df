"""What `classify` says of new images, of the whole view alone, and which predictions it refuses."""

from collections.abc import Callable
from dataclasses import replace

import h5py
import numpy as np
import pytest
from scipy.special import softmax

from headstart.core.errors import UserError
from headstart.data.decoding import UnreadableImageError
from headstart.inference import Classifier, ImagePrediction, check_classifier, classify_images
from headstart.metrics.calibration import conformal_threshold, fit_temperature
from headstart.store.examples import ClassLabel
from headstart.store.images import Images
from headstart.store.predictions import Predictions
from headstart.store.views import WHOLE
from tests import cases


@pytest.mark.parametrize("turned", [False, True])
def test_temperature_and_sets_are_those_of_the_whole_view(
    monkeypatch: pytest.MonkeyPatch, turned: bool
) -> None:
    monkeypatch.setattr("headstart.inference.BLOCK", 20)
    tune = cases.predictions(200, split="tune")
    if turned:
        tune = replace(tune, logits=tune.logits[:, ::-1], views=tune.views[::-1])
    rng = np.random.default_rng(1)
    scores = 2 * rng.normal(size=(50, len(tune.examples.classes))).astype(np.float32)
    images = [np.full((8, 8, 3), number, np.uint8) for number in range(len(scores))]
    batches = []

    def logits(block: np.ndarray) -> np.ndarray:
        batches.append(len(block))
        return scores[block[:, 0, 0, 0]]

    model = Classifier(tune.examples.classes, logits)

    whole = softmax(tune.logits[:, tune.views.index(WHOLE.name)].astype(np.float64), axis=1)
    temperature = fit_temperature(whole, tune.examples.labels)
    threshold = conformal_threshold(whole, tune.examples.labels, 0.9)
    given = [*images[:7], UnreadableImageError("torn"), *images[7:]]
    answers = list(classify_images(model, tune, 0.9, given, batch_size=16))
    assert batches == [31, 19]  # at most 32 at once, whole batches of 16
    assert answers.pop(7) == ImagePrediction(problem="torn")
    sure = softmax(scores.astype(np.float64) / temperature, axis=1).max(axis=1)
    np.testing.assert_allclose([answer.probability for answer in answers], sure, rtol=1e-5)
    for answer, raw in zip(answers, softmax(scores.astype(np.float64), axis=1), strict=True):
        best = model.classes[raw.argmax()]
        assert prediction.label == best
        held = {model.classes[c] for c in np.flatnonzero(raw >= threshold)}
        assert set(answer.candidates) == held | {best}


def told_apart(change: Callable[[Predictions], Predictions], error: float = 0.0) -> bool:
    """Whether a model is refused whose logits are those of tune but for a relative error."""
    tune = cases.predictions(40, split="tune")
    rng = np.random.default_rng(1)
    known = tune.logits[:, tune.views.index(WHOLE.name)].copy()
    noise = rng.normal(size=known.shape).astype(np.float32)
    wrong = known + error * noise * np.linalg.norm(known) / np.linalg.norm(noise)
    with h5py.File("pixels", "w", driver="core", backing_store=False) as file:
        numbers = np.arange(45, dtype=np.uint8)[:, None, None, None]
        pixels = file.create_dataset("pixels", data=np.tile(numbers, (1, 8, 8, 3)))
        splits = np.array(["val"] * 5 + ["tune"] * 40)
        none = np.empty((45, 0))
        images = Images(pixels, none, splits, none, cases.examples(45))
        model = Classifier(tune.examples.classes, lambda block: wrong[block[:, 0, 0, 0] - 5])
        try:
            check_classifier(model, images, change(tune))
        except UserError:
            return True
    return False


def test_predictions_of_this_model_are_known_by_their_first_images() -> None:
    def other_classes(tune: Predictions) -> Predictions:
        other = [*tune.examples.classes[:-1], ClassLabel("n99999999", "minibus")]
        return replace(tune, examples=replace(tune.examples, classes=other))

    def fewer(tune: Predictions) -> Predictions:
        return replace(tune, logits=tune.logits[:3], examples=tune.examples[np.arange(3)])

    assert not told_apart(lambda tune: tune)
    assert not told_apart(lambda tune: tune, error=0.05)  # as of bfloat16
    assert told_apart(lambda tune: tune, error=0.2)
    assert told_apart(other_classes)
    assert told_apart(fewer)
    assert told_apart(lambda tune: replace(tune, logits=tune.logits[::-1]))
