"""A trained head together with the extractor whose features it takes: images in, classes out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, ValidationError

from headstart.api.extractor import (
    ExtractedFeatures,
    Extractor,
    ExtractorSettings,
)
from headstart.api.image_inputs import make_examples
from headstart.config import Backbone, Section, validate_as
from headstart.config.section import Positive
from headstart.core.atomic_files import write_text
from headstart.core.errors import UserError, did_you_mean
from headstart.core.file_digests import file_sha256
from headstart.evaluation.run_results import primary_protocol, protocol_probabilities
from headstart.heads.fitted_head import HEAD_FILE, FittedHead, load_head, save_head
from headstart.metrics.calibration import apply_temperature, fit_temperature
from headstart.metrics.classification_metrics import Estimate, estimate_metrics
from headstart.store.examples import UNLABELED, ClassLabel, Examples
from headstart.store.features import Features
from headstart.store.predictions import Predictions
from headstart.store.views import WHOLE

DESCRIPTION_FILE = "classifier.json"
"""Beside the head, in a saved classifier's folder."""


@dataclass(frozen=True)
class Evaluation:
    """How good a classifier is on n labeled images.

    protocol: `whole` is one view of each image, `ten_crop` the average of ten.
    metrics: top1, top5, nll, brier, ece, balanced_accuracy, macro_f1 and auroc, each with its
    interval at `confidence`.
    """

    n: int
    protocol: str
    confidence: float
    metrics: dict[str, Estimate]

    def __str__(self) -> str:
        views = {"whole": "one view", "ten_crop": "ten crops"}[self.protocol]
        lines = [f"n = {self.n}, {views}, {self.confidence:.0%} bootstrap intervals"]
        for name, (value, low, high) in self.metrics.items():
            lines.append(
                f"{name:<17} {value:6.3f} [{low:.3f}, {high:.3f}]"
                if name in ("nll", "brier", "ece")
                else f"{name:<17} {value:6.1%} [{low:.1%}, {high:.1%}]"
            )
        return "\n".join(lines)


class Description(Section):
    """What a saved classifier is besides its head.

    name, backbone, extractor: its extractor's; a module's backbone is None. head_sha256: of the
    head's file, because a head of another training would fit neither temperatures nor labels.
    """

    name: str
    backbone: dict[str, Any] | None
    extractor: ExtractorSettings
    temperatures: Annotated[dict[str, Positive], Field(min_length=1)]
    numeric_labels: bool
    head_sha256: str


class Classifier:
    """A head and its extractor. Follows scikit-learn: predict, predict_proba, score, classes_.

    head: the fitted head. extractor: gives the features that it was trained on.
    temperatures: by protocol (`whole`, `ten_crop`), what divides the logarithms of probabilities.
    numeric_labels: whether labels are whole numbers and not text.
    """

    def __init__(
        self,
        head: FittedHead,
        extractor: Extractor,
        temperatures: dict[str, float],
        numeric_labels: bool,
    ) -> None:
        self.head, self.extractor, self.temperatures = head, extractor, temperatures
        self.numeric_labels = numeric_labels

    @classmethod
    def calibrated(cls, head: FittedHead, tune: ExtractedFeatures) -> Self:
        """A classifier whose temperatures give the labels of `tune` the highest likelihood.

        tune: its labels index the head's classes. For a protocol whose views it lacks, the
        temperature is that of the whole image.
        """
        classifier = cls(head, tune.extractor, {}, tune.numeric_labels)
        for protocol, probabilities in classifier._protocols(tune).items():
            temperature = fit_temperature(probabilities, tune.examples.labels)
            classifier.temperatures[protocol] = temperature
        return classifier

    @property
    def classes_(self) -> np.ndarray:
        """[C] the labels as they were given, in the order of the columns of predict_proba."""
        ids = [label.id for label in self.head.classes]
        return np.array([int(id_) for id_ in ids] if self.numeric_labels else ids)

    def predict(self, images: Any) -> np.ndarray:
        """The class of each image, [N], as in classes_.

        images: whatever an Extractor takes, its features, or an array [N, D] of whole images'
            features.

        Raises:
            UserError: images can't be read, or the features are another extractor's.
        """
        return self.classes_[self.predict_proba(images).argmax(axis=1)]

    def predict_proba(self, images: Any) -> np.ndarray:
        """Calibrated probabilities [N, C] float64; images and errors as of `predict`."""
        return self._probabilities(self._features(images))[1]

    def score(self, images: Any, labels: Sequence[Any] | None = None) -> float:
        """Top-1 accuracy; arguments and errors as of `evaluate`."""
        features = self._labeled_features(images, labels)
        _, probabilities = self._probabilities(features)
        return float((probabilities.argmax(axis=1) == features.examples.labels).mean())

    def evaluate(
        self,
        images: Any,
        labels: Sequence[Any] | None = None,
        *,
        confidence: float = 0.95,
        resamples: int = 1000,
        seed: int = 0,
    ) -> Evaluation:
        """Accuracy and calibration with bootstrap intervals, of calibrated probabilities.

        Args:
            images: as for `predict`.
            labels: one for each image; None for features or a Dataset that bring their own.
            confidence: of the intervals, in (0, 1).
            resamples: how often the bootstrap draws.
            seed: of the bootstrap.

        Raises:
            UserError: an image has no label, or one that the classifier doesn't know; or as
                `predict`.
        """
        check_confidence(confidence)
        features = self._labeled_features(images, labels)
        protocol, probabilities = self._probabilities(features)
        metrics = estimate_metrics(
            probabilities, features.examples.labels, confidence, resamples, seed
        )
        return Evaluation(len(features.examples), protocol, confidence, metrics)

    def save(self, folder: Path | str) -> None:
        """Writes the head and what describes its extractor to `folder`, which `load` reads.

        The network's weights are not written. A weights file is remembered by its path, and a
        module of your own has to be handed to `load` again.

        Raises:
            UserError: the folder can't be written to.
        """
        folder = Path(folder)
        entry = self.extractor.entry
        backbone = None if entry is None else entry.model_dump(mode="json")
        if entry is not None and backbone and entry.weights_file and entry.weights != "bundled":
            backbone["weights"] = str(entry.weights_file.resolve())
        save_head(folder / HEAD_FILE, self.head)
        description = Description(
            name=self.extractor.name,
            backbone=backbone,
            extractor=self.extractor.settings,
            temperatures=self.temperatures,
            numeric_labels=self.numeric_labels,
            head_sha256=file_sha256(folder / HEAD_FILE),
        )
        write_text(folder / DESCRIPTION_FILE, description.model_dump_json(indent=2) + "\n")

    def __repr__(self) -> str:
        return f"<Classifier of {len(self.head.classes)} classes on {self.extractor!r}>"

    def _protocols(self, features: Features) -> dict[str, np.ndarray]:
        """By protocol that the views allow, probabilities [N, C] at temperature 1."""
        # The head compares classes, but labels play no part in its scores.
        unlabeled = np.full(len(features.examples), UNLABELED, np.int64)
        examples = Examples(features.examples.ids, unlabeled, self.head.classes)
        logits = self.head.logits(replace(features, examples=examples))
        return protocol_probabilities(
            Predictions(logits, features.views, examples, self.head.passes, self.head.parameters)
        )

    def _probabilities(self, features: Features) -> tuple[str, np.ndarray]:
        """The protocol that stands for the features, and its calibrated probabilities [N, C]."""
        protocols = self._protocols(features)
        protocol = primary_protocol(protocols)
        temperature = self.temperatures.get(protocol, self.temperatures["whole"])
        return protocol, apply_temperature(protocols[protocol], temperature)

    def _features(self, images: Any, labels: Sequence[Any] | None = None) -> Features:
        if isinstance(images, np.ndarray) and images.ndim == 2:
            ids = [str(position) for position in range(len(images))]
            examples = make_examples(ids, None)
            images = Features(images[:, None], [WHOLE.name], examples, self.head.provenance)
        if not isinstance(images, Features):
            return self.extractor(images, labels)
        if labels is None:
            return images
        if len(labels) != len(images.examples):
            raise UserError(
                f"there are {len(images.examples)} images and {len(labels)} labels; give one each"
            )
        return replace(images, examples=make_examples(images.examples.ids, labels))

    def _labeled_features(self, images: Any, labels: Sequence[Any] | None) -> Features:
        """Features whose labels index the head's classes."""
        features = self._features(images, labels)
        if not len(features.examples):
            raise UserError("there are no images")
        if not features.examples.labeled:
            raise UserError("there are images without a label; give a label for each")
        return match_classes(features, self.head.classes)


def check_confidence(confidence: float) -> None:
    """Raises UserError unless `confidence` is between 0 and 1."""
    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence}; give a number between 0 and 1")


def match_classes(features: Features, classes: list[ClassLabel]) -> Features:
    """The same features, with labels that index `classes`; some classes may have no images.

    Raises:
        UserError: one of their classes is not among `classes`.
    """
    return replace(features, examples=match_examples(features.examples, classes))


def match_examples(examples: Examples, classes: list[ClassLabel]) -> Examples:
    """The same examples, with labels that index `classes`.

    Raises:
        UserError: one of their classes is not among `classes`.
    """
    position = {label.id: index for index, label in enumerate(classes)}
    own = examples.classes
    for index in np.unique(examples.labels):
        if own[index].id not in position:
            raise UserError(
                f"there are images of '{own[index].name}', and none of that class were trained "
                f"on; {did_you_mean(own[index].id, position)}"
            )
    table = np.array([position.get(label.id, UNLABELED) for label in own], np.int64)
    return Examples(examples.ids, table[examples.labels], classes)


def load_classifier(
    folder: Path,
    extractor: Extractor | None,
    device: Literal["auto", "cpu", "cuda"],
    cache: Path | str | None,
) -> Classifier:
    """The classifier that `Classifier.save` wrote to `folder`; arguments as of `headstart.load`.

    Raises:
        UserError: there is no classifier, it can't be read, or its extractor can't be had.
    """
    description, head = _read_classifier(folder)
    if extractor is None:
        if description.backbone is None:
            raise UserError(
                f"the classifier in {folder} was trained on features of the module "
                f"{description.name}; give `load` an Extractor of that module"
            )
        settings = description.extractor.model_dump(exclude={"device"})
        entry = validate_as(Backbone, description.backbone, str(folder / DESCRIPTION_FILE))
        extractor = Extractor(entry, **settings, device=device, cache=cache)
        extractor.name = description.name
    if extractor.provenance != head.provenance:
        raise UserError(
            f"the classifier in {folder} was trained on features of another network than "
            f"{extractor.name} is now: its weights, preprocessing or precision differ"
        )
    return Classifier(head, extractor, description.temperatures, description.numeric_labels)


def _read_classifier(folder: Path) -> tuple[Description, FittedHead]:
    """The description and the head in `folder`.

    Raises:
        UserError: they are missing, damaged, or not of one classifier.
    """
    try:
        description = Description.model_validate_json((folder / DESCRIPTION_FILE).read_bytes())
        if file_sha256(folder / HEAD_FILE) == description.head_sha256:
            return description, load_head(folder / HEAD_FILE)
    except FileNotFoundError as error:
        raise UserError(
            f"{folder} holds no classifier ({Path(error.filename).name} is missing); "
            f"`Classifier.save` writes one"
        ) from None
    except (OSError, ValidationError):
        pass
    raise UserError(
        f"the classifier in {folder} is damaged or of another version; train and save it again"
    )
