"""New images through a trained run: the class of each, how sure that is, and which others may be.

A model is a function here, from stored pixels to logits; where it comes from, its folder says.
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
from headstart.data.datasets.file_tree import FileTree
from headstart.data.decoding import UnreadableImageError, decode
from headstart.data.resizing import Fit, to_square
from headstart.evaluation.run_results import protocol_probabilities
from headstart.extraction.extractor import load_extractor
from headstart.extraction.pipeline import cast_features, row_provenance
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
"""Images scored at once, or a few more, so that they fill whole batches."""

CHECKED = 16
"""Images of tune that are scored again."""

TOLERANCE = 0.1
"""Relative error up to which logits are those of the same network: it may compute in bfloat16."""


class Classifier(NamedTuple):
    """A trained run.

    logits: of images [N, S, S, 3] uint8, [N, C] float32; raises UserError where the head was
    trained on features of another backbone, or a feature doesn't fit their dtype.
    """

    classes: list[ClassLabel]
    logits: Callable[[np.ndarray], np.ndarray]


class Answer(NamedTuple):
    """What a model says of one image.

    probability: that it is of the class `label`. candidates: the classes of its conformal set,
    the likeliest first; `label` is always among them. problem: why it couldn't be read, and then
    there is no more.
    """

    label: ClassLabel | None = None
    probability: float = 0.0
    candidates: Sequence[ClassLabel] = ()
    problem: str = ""


def load_classifier(
    folder: Path, zoo: Mapping[str, Mapping[str, Backbone]], extract: Extract
) -> Classifier:
    """The model that `train_head`, `finetune` or `train_scratch` wrote to `folder`.

    zoo: what each alias stands for, as Params.backbones; a head's folder is `<alias>-<head>`.

    Raises:
        UserError: there is no model, it can't be read, or its backbone's alias is gone.
    """
    if (folder / MODEL_FILE).exists():
        return _of_network(folder / MODEL_FILE, extract.device)
    if not (folder / HEAD_FILE).exists():
        found = {path.parent.name for path in folder.parent.glob("*/*.safetensors")}
        near = ", ".join(sorted(found)) or "none; `dvc repro` trains some"
        raise UserError(f"{folder} holds no trained model; there are: {near}")
    alias = folder.name.partition("-")[0]
    if alias not in zoo:
        raise UserError(
            f"zoo has no '{alias}': the model's folder has to be named <alias>-<head>, after the "
            f"backbone that its head was trained on"
        )
    return _of_head(load_head(folder / HEAD_FILE), zoo[alias], extract)


def _of_head(head: FittedHead, zoo: Mapping[str, Backbone], extract: Extract) -> Classifier:
    started = [load_extractor(name, backbone, extract) for name, backbone in zoo.items()]
    provenance = merge_provenances([row_provenance(member) for member in started])

    def logits(images: np.ndarray) -> np.ndarray:
        rows = np.hstack([extract_array(member.runtime, images) for member in started])
        unlabeled = np.full(len(images), UNLABELED)
        examples = Examples([str(i) for i in range(len(images))], unlabeled, head.classes)
        values = cast_features(rows, extract.dtype)[:, None]
        return head.logits(Features(values, [WHOLE.name], examples, provenance))[:, 0]

    return Classifier(head.classes, logits)


def _of_network(path: Path, device: str) -> Classifier:
    saved = load_model(path)
    rebuilt = (
        from_scratch.build_untrained if "scratch" in saved.identity else fine_tuning.build_untrained
    )
    try:
        network = rebuilt(saved.identity, len(saved.classes))
        network.load_state_dict(saved.weights)
    except RuntimeError:
        raise UserError(f"{path} was saved by other code; delete it and run `dvc repro`") from None
    place = resolve_device(device, "extract")
    network.to(place)

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        pixels = downscale(torch.from_numpy(images), saved.input_spec.side)
        return predict_logits(network, pixels, saved.input_spec, place).cpu().numpy()

    return Classifier(saved.classes, logits)


def check_classifier(model: Classifier, images: Images, tune: Predictions) -> None:
    """Finds out whether the model, the stored images and the predictions are of one run.

    Raises:
        UserError: the model says something else of the first images of tune than `tune` does.
    """
    rows = images.rows("tune")[:CHECKED]
    known = tune.logits[:CHECKED, tune.views.index(WHOLE.name)]
    fits = tune.examples.classes == model.classes and len(rows) == len(known)
    if fits:
        error = np.linalg.norm(model.logits(images.pixels[rows]) - known)
        fits = error <= TOLERANCE * np.linalg.norm(known)
    if not fits:
        raise UserError(
            "the predictions are not this model's of these images; name the folders of one run, "
            "and bring them up to date with `dvc repro`"
        )


def read_images(
    source: FileTree, names: Sequence[str], side: int, fit: Fit, max_pixels: int
) -> Iterator[np.ndarray | UnreadableImageError]:
    """The images as `resize` would store them, [side, side, 3] uint8, or why not, in order."""

    def stored(name: str) -> np.ndarray | UnreadableImageError:
        try:
            return to_square(decode(source.read(name), max_pixels), side, fit)
        except UnreadableImageError as bad:
            return bad

    return thread_map(stored, names, "classifying")


def classify_images(
    model: Classifier,
    tune: Predictions,
    coverage: float,
    images: Iterable[np.ndarray | UnreadableImageError],
    batch_size: int,
) -> Iterator[Answer]:
    """An answer for each of `images`, in order, from one view.

    tune: the run's predictions; the temperature and the conformal sets of stated `coverage` come
    from them. batch_size: images that the model computes at once.
    """
    on_tune = protocol_probabilities(tune)["whole"]
    temperature = fit_temperature(on_tune, tune.examples.labels)
    threshold = conformal_threshold(on_tune, tune.examples.labels, coverage)

    def answers(good: np.ndarray) -> Iterator[Answer]:
        raw = softmax(model.logits(good).astype(np.float64), axis=1)  # [n, C]
        sure = apply_temperature(raw, temperature).max(axis=1)
        sets = prediction_sets(raw, threshold)
        for order, probability, held in zip(
            np.argsort(-raw, kind="stable"), sure, sets, strict=True
        ):
            label, *others = (model.classes[c] for c in order if held[c] or c == order[0])
            yield Answer(label, float(probability), [label, *others])

    images = iter(images)
    size = -(-BLOCK // batch_size) * batch_size
    while block := list(islice(images, size)):
        good = [image for image in block if isinstance(image, np.ndarray)]
        said = answers(np.stack(good)) if good else iter(())
        for image in block:
            yield (
                Answer(problem=str(image))
                if isinstance(image, UnreadableImageError)
                else next(said)
            )
