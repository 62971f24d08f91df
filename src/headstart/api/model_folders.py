"""Classifiers from their folders: those that the pipeline packaged, and those saved here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headstart.api.classifier import (
    Classifier,
    Evaluation,
    check_confidence,
    load_classifier,
    match_examples,
)
from headstart.api.extractor import DEFAULT_CACHE, Extractor, cache_folder
from headstart.api.image_inputs import ImageInputs, gather_inputs
from headstart.api.square_images import SquareImages
from headstart.core.errors import UserError
from headstart.data.resizing import to_square
from headstart.inference.trained_model import (
    ModelOutputs,
    SquareBatch,
    TrainedModel,
    load_model,
)
from headstart.metrics.classification_metrics import estimate_metrics
from headstart.packaging.model_description import DESCRIPTION_FILE, ModelDescription
from headstart.store.examples import Examples


class ModelFolder:
    """A run of the pipeline as a classifier; follows scikit-learn, as `Classifier` does.

    description: the content of its model.json.
    """

    def __init__(self, model: TrainedModel, cache: Path | str | None) -> None:
        self.model, self.cache = model, cache

    @property
    def description(self) -> ModelDescription:
        return self.model.description

    @property
    def classes_(self) -> np.ndarray:
        """[C] the ids of the classes, in the order of the columns of predict_proba."""
        return np.array([label.id for label in self.description.labels])

    def predict(self, images: Any) -> np.ndarray:
        """The class of each image, [N], as in classes_.

        images: whatever an Extractor takes: paths, PIL images, uint8 arrays or a torch Dataset.

        Raises:
            UserError: images can't be read: all of them are named.
        """
        return self.classes_[self.predict_proba(images).argmax(axis=1)]

    def predict_proba(self, images: Any) -> np.ndarray:
        """Calibrated probabilities [N, C] float64; images and errors as of `predict`."""
        logits = self._outputs(gather_inputs(images, None)).logits
        return self.model.calibrated(self.model.probabilities(logits))

    def familiarity(self, images: Any) -> np.ndarray:
        """How many percent of tune's images are not more like the training images: [N] float64.

        Near 0 an image is probably of none of the classes. Images and errors as of `predict`.

        Raises:
            UserError: the model is a network of the papers, which doesn't know it.
        """
        found = self._outputs(gather_inputs(images, None)).familiarity
        if found is None:
            raise UserError(
                f"{self.description.name} doesn't know how familiar an image is; heads on a "
                f"backbone and networks of timm's do"
            )
        return found

    def score(self, images: Any, labels: Sequence[Any] | None = None) -> float:
        """Top-1 accuracy; arguments and errors as of `evaluate`."""
        probabilities, examples = self._predict_labeled(images, labels)
        return float((probabilities.argmax(axis=1) == examples.labels).mean())

    def evaluate(
        self,
        images: Any,
        labels: Sequence[Any] | None = None,
        *,
        confidence: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Evaluation:
        """Accuracy and calibration with bootstrap intervals; see `Classifier.evaluate`."""
        check_confidence(confidence)
        probabilities, examples = self._predict_labeled(images, labels)
        metrics = estimate_metrics(probabilities, examples.labels, confidence, resamples, seed)
        return Evaluation(len(examples), self.description.protocol, confidence, metrics)

    def __repr__(self) -> str:
        return f"<ModelFolder {self.description.name}: {len(self.description.classes)} classes>"

    def _outputs(self, inputs: ImageInputs) -> ModelOutputs:
        rule = self.description.image
        squares = SquareImages(
            inputs, lambda image: to_square(image, rule.side, rule.fit), self.description.name
        )
        cache = None if self.cache is None else cache_folder(self.cache)
        return self.model.outputs(SquareBatch(squares, squares.digests), cache)

    def _predict_labeled(
        self, images: Any, labels: Sequence[Any] | None
    ) -> tuple[np.ndarray, Examples]:
        inputs = gather_inputs(images, labels)
        logits = self._outputs(inputs).logits
        examples = inputs.examples()
        if not examples.labeled:
            raise UserError("there are images without a label; give a label for each")
        examples = match_examples(examples, self.description.labels)
        return self.model.calibrated(self.model.probabilities(logits)), examples


def load(
    folder: Path | str,
    extractor: Extractor | None = None,
    *,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    cache: Path | str | None = DEFAULT_CACHE,
    batch_size: int = 16,
) -> "Classifier | ModelFolder":
    """The classifier in a folder.

    Args:
        folder: what `Classifier.save` wrote, or the folder of a run of the pipeline or a copy of
            it (data/models/<run>).
        extractor: for a saved Classifier, the extractor that gives its features, where there is one
            already; for one of a module of your own it has to be given.
        device, cache: of the extractor that is made otherwise.
        batch_size: images computed at once, by a run of the pipeline.

    Raises:
        UserError: there is no classifier, it can't be read, or its weights can't be had.
    """
    folder = Path(folder)
    if not (folder / DESCRIPTION_FILE).is_file():
        return load_classifier(folder, extractor, device, cache)
    if extractor is not None:
        raise UserError(f"{folder} holds a run with its own backbone; leave `extractor` out")
    return ModelFolder(load_model(folder, device, batch_size), cache)
