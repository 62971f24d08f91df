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

from headstart import calibration, end_to_end, evaluation, finetuning, members, runtime, scratch
from headstart.augmentation import shrunk
from headstart.datasets.source import Source
from headstart.decode import BadImage, decode
from headstart.devices import device_named
from headstart.errors import UserError
from headstart.extraction import cast, row_provenance
from headstart.features import Features, joined
from headstart.h5 import UNLABELLED, ClassLabel, Examples
from headstart.heads import head as heads
from headstart.images import Fit, Images, to_square
from headstart.parallel import mapped
from headstart.params import Backbone, Extract
from headstart.predictions import Predictions
from headstart.training import logits_of
from headstart.views import WHOLE

BLOCK = 128
"""Images scored at once, or a few more, so that they fill whole batches."""

CHECKED = 16
"""Images of tune that are scored again."""

TOLERANCE = 0.1
"""Relative error up to which logits are those of the same network: it may compute in bfloat16."""


class Model(NamedTuple):
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


def load(folder: Path, zoo: Mapping[str, Mapping[str, Backbone]], extract: Extract) -> Model:
    """The model that `train_head`, `finetune` or `train_scratch` wrote to `folder`.

    zoo: what each alias stands for, as Params.backbones; a head's folder is `<alias>-<head>`.

    Raises:
        UserError: there is no model, it can't be read, or its backbone's alias is gone.
    """
    if (folder / end_to_end.MODEL).exists():
        return _of_network(folder / end_to_end.MODEL, extract.device)
    if not (folder / heads.FILE).exists():
        found = {path.parent.name for path in folder.parent.glob("*/*.safetensors")}
        near = ", ".join(sorted(found)) or "none; `dvc repro` trains some"
        raise UserError(f"{folder} holds no trained model; there are: {near}")
    alias = folder.name.partition("-")[0]
    if alias not in zoo:
        raise UserError(
            f"zoo has no '{alias}': the model's folder has to be named <alias>-<head>, after the "
            f"backbone that its head was trained on"
        )
    return _of_head(heads.load(folder / heads.FILE), zoo[alias], extract)


def _of_head(head: heads.Head, zoo: Mapping[str, Backbone], extract: Extract) -> Model:
    started = [members.start(name, backbone, extract) for name, backbone in zoo.items()]
    provenance = joined([row_provenance(member) for member in started])

    def logits(images: np.ndarray) -> np.ndarray:
        rows = np.hstack([runtime.compute(member.runtime, images) for member in started])
        unlabelled = np.full(len(images), UNLABELLED)
        examples = Examples([str(i) for i in range(len(images))], unlabelled, head.classes)
        values = cast(rows, extract.dtype)[:, None]
        return head.logits(Features(values, [WHOLE.name], examples, provenance))[:, 0]

    return Model(head.classes, logits)


def _of_network(path: Path, device: str) -> Model:
    saved = end_to_end.load(path)
    rebuilt = scratch.rebuilt if "scratch" in saved.identity else finetuning.rebuilt
    try:
        network = rebuilt(saved.identity, len(saved.classes))
        network.load_state_dict(saved.weights)
    except RuntimeError:
        raise UserError(f"{path} was saved by other code; delete it and run `dvc repro`") from None
    place = device_named(device, "extract")
    network.to(place)

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        pixels = shrunk(torch.from_numpy(images), saved.input.side)
        return logits_of(network, pixels, saved.input, place).cpu().numpy()

    return Model(saved.classes, logits)


def check(model: Model, images: Images, tune: Predictions) -> None:
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


def read(
    source: Source, names: Sequence[str], side: int, fit: Fit, max_pixels: int
) -> Iterator[np.ndarray | BadImage]:
    """The images as `resize` would store them, [side, side, 3] uint8, or why not, in order."""

    def stored(name: str) -> np.ndarray | BadImage:
        try:
            return to_square(decode(source.read(name), max_pixels), side, fit)
        except BadImage as bad:
            return bad

    return mapped(stored, names, "classifying")


def classify(
    model: Model,
    tune: Predictions,
    coverage: float,
    images: Iterable[np.ndarray | BadImage],
    batch_size: int,
) -> Iterator[Answer]:
    """An answer for each of `images`, in order, from one view.

    tune: the run's predictions; the temperature and the conformal sets of stated `coverage` come
    from them. batch_size: images that the model computes at once.
    """
    on_tune = evaluation.probabilities(tune)["whole"]
    temperature = calibration.fit_temperature(on_tune, tune.examples.labels)
    threshold = calibration.fit_threshold(on_tune, tune.examples.labels, coverage)

    def answers(good: np.ndarray) -> Iterator[Answer]:
        raw = softmax(model.logits(good).astype(np.float64), axis=1)  # [n, C]
        sure = calibration.scale(raw, temperature).max(axis=1)
        sets = calibration.prediction_sets(raw, threshold)
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
            yield Answer(problem=str(image)) if isinstance(image, BadImage) else next(said)
