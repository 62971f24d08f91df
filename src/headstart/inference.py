"""Classifies new images with a trained run: the class of each, its probability, and candidates.

A trained run is a function here, from stored pixels to logits. The files in its folder say whether
it is a head on a backbone's features or a network that was trained end to end.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax

from headstart.config import Backbone, Extract
from headstart.core.devices import resolve_device
from headstart.core.errors import UserError
from headstart.core.thread_map import thread_map
from headstart.data.datasets.file_tree import FileTree, is_image
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.resizing import Fit, to_square
from headstart.evaluation.run_results import protocol_probabilities
from headstart.extraction.pipeline import cast_features, row_provenances
from headstart.extraction.row_extractor import load_row_extractor
from headstart.heads.fitted_head import HEAD_FILE, FittedHead, load_head
from headstart.metrics.calibration import (
    apply_temperature,
    conformal_threshold,
    fit_temperature,
    prediction_sets,
)
from headstart.runtime.runtimes import extract_array
from headstart.store.examples import UNLABELED, ClassLabel, Examples
from headstart.store.features import Features, merge_provenances
from headstart.store.images import Images
from headstart.store.predictions import Predictions
from headstart.store.views import WHOLE
from headstart.training import fine_tuning, from_scratch
from headstart.training.image_transforms import downscale
from headstart.training.training_jobs import MODEL_FILE, load_model
from headstart.training.training_loop import predict_logits

BLOCK = 128
"""Images held in memory at once, rounded up to whole batches."""

CHECK_IMAGES = 16
"""Images of tune whose logits are computed again, to compare them with the stored ones."""

TOLERANCE = 0.1
"""Relative error up to which two logits are taken for those of one network, which may compute in
bfloat16."""


class Classifier(NamedTuple):
    """A trained run as a function.

    classes: [C]. logits: from images [N, S, S, 3] uint8 to logits [N, C] float32; raises UserError
    where the head was trained on features of another backbone, or a feature doesn't fit the dtype.
    """

    classes: list[ClassLabel]
    logits: Callable[[np.ndarray], np.ndarray]


class ImagePrediction(NamedTuple):
    """What a classifier predicts for one image.

    label: the likeliest class. probability: the calibrated probability of `label`. candidates: the
    classes of the image's conformal set, the likeliest first; `label` is always among them.
    problem: why the image couldn't be read; the other fields then keep their defaults.
    """

    label: ClassLabel | None = None
    probability: float = 0.0
    candidates: Sequence[ClassLabel] = ()
    problem: str = ""


def load_classifier(
    folder: Path, zoo: Mapping[str, Mapping[str, Backbone]], extract: Extract
) -> Classifier:
    """Loads the model that `train_head`, `finetune` or `train_scratch` wrote to `folder`.

    zoo: the backbones that each alias stands for, as Params.backbones. The folder of a head is
    named `<alias>-<head>`. extract: how the backbone under a head computes.

    Raises:
        UserError: the model can't be read, or zoo has no such alias any more.
    """
    if (folder / MODEL_FILE).exists():
        return _network_classifier(folder / MODEL_FILE, extract.device)
    alias = folder.name.partition("-")[0]
    if alias not in zoo:
        raise UserError(
            f"zoo has no '{alias}': the model's folder has to be named <alias>-<head>, after the "
            f"backbone that the head was trained on"
        )
    return _head_classifier(load_head(folder / HEAD_FILE), zoo[alias], extract)


def _head_classifier(head: FittedHead, zoo: Mapping[str, Backbone], extract: Extract) -> Classifier:
    started = [load_row_extractor(name, backbone, extract) for name, backbone in zoo.items()]
    provenance = merge_provenances([own for member in started for own in row_provenances(member)])

    def logits(images: np.ndarray) -> np.ndarray:
        rows = np.hstack([extract_array(member.runtime, images) for member in started])
        unlabeled = np.full(len(images), UNLABELED)
        examples = Examples([str(i) for i in range(len(images))], unlabeled, head.classes)
        values = cast_features(rows, extract.dtype)[:, None]
        return head.logits(Features(values, [WHOLE.name], examples, provenance))[:, 0]

    return Classifier(head.classes, logits)


def _network_classifier(path: Path, device: str) -> Classifier:
    saved = load_model(path)
    build = (
        from_scratch.build_untrained if "scratch" in saved.identity else fine_tuning.build_untrained
    )
    try:
        network = build(saved.identity, len(saved.classes))
        network.load_state_dict(saved.weights)
    except RuntimeError:
        raise UserError(f"{path} was saved by other code; delete it and run `dvc repro`") from None
    place = resolve_device(device)
    network.to(place)

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        pixels = downscale(torch.from_numpy(images), saved.input_spec.side)
        return predict_logits(network, pixels, saved.input_spec, place).cpu().numpy()

    return Classifier(saved.classes, logits)


def check_classifier(model: Classifier, images: Images, tune: Predictions) -> None:
    """Checks that the model, the stored images and the predictions belong to one run.

    Raises:
        UserError: the model's logits of the first images of tune are not those in `tune`.
    """
    rows = images.rows("tune")[:CHECK_IMAGES]
    known = tune.logits[:CHECK_IMAGES, tune.views.index(WHOLE.name)]
    fits = tune.examples.classes == model.classes and len(rows) == len(known)
    if fits:
        error = np.linalg.norm(model.logits(images.pixels[rows]) - known)
        fits = error <= TOLERANCE * np.linalg.norm(known)
    if not fits:
        raise UserError(
            "the stored predictions are not this model's for these images; bring the run up to "
            "date with `dvc repro`"
        )


def read_images(
    source: FileTree, names: Sequence[str], side: int, fit: Fit, max_pixels: int
) -> Iterator[np.ndarray | UnreadableImageError]:
    """The images as `resize` would store them, [side, side, 3] uint8, in the order of `names`.

    A file that can't be read, or whose name isn't an image's, gives the error instead.
    """

    def load(name: str) -> np.ndarray | UnreadableImageError:
        if not is_image(name):
            return UnreadableImageError("its name doesn't end as an image's does (.jpg, .png, …)")
        try:
            return to_square(decode(source.read(name), max_pixels), side, fit)
        except UnreadableImageError as error:
            return error

    return thread_map(load, names, "classifying")


def classify_images(
    model: Classifier,
    tune: Predictions,
    coverage: float,
    images: Iterable[np.ndarray | UnreadableImageError],
    batch_size: int,
) -> Iterator[ImagePrediction]:
    """Predicts the class of each image from one view, the whole image, in order.

    tune: the run's predictions on tune, which the temperature and the threshold of the conformal
    sets are computed from. coverage: the share of images whose conformal set holds the true class.
    batch_size: images that the model computes at once.
    """
    on_tune = protocol_probabilities(tune)["whole"]
    temperature = fit_temperature(on_tune, tune.examples.labels)
    threshold = conformal_threshold(on_tune, tune.examples.labels, coverage)

    def predict(pixels: np.ndarray) -> Iterator[ImagePrediction]:
        raw = softmax(model.logits(pixels).astype(np.float64), axis=1)  # [n, C]
        calibrated = apply_temperature(raw, temperature).max(axis=1)
        sets = prediction_sets(raw, threshold)
        for order, probability, members in zip(
            np.argsort(-raw, kind="stable"), calibrated, sets, strict=True
        ):
            label, *others = (model.classes[c] for c in order if members[c] or c == order[0])
            yield ImagePrediction(label, float(probability), [label, *others])

    images = iter(images)
    size = -(-BLOCK // batch_size) * batch_size
    while block := list(islice(images, size)):
        readable = [image for image in block if isinstance(image, np.ndarray)]
        predictions = predict(np.stack(readable)) if readable else iter(())
        for image in block:
            yield (
                ImagePrediction(problem=str(image))
                if isinstance(image, UnreadableImageError)
                else next(predictions)
            )
