"""New images through a trained run: the class of each, how sure that is, and which others may be.

A model is a function here, from stored pixels to logits; where it comes from, its folder says.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import softmax

from headstart import backbones, calibration, end_to_end, finetuning, runtime, scratch
from headstart.augmentation import shrunk
from headstart.datasets.source import Source
from headstart.decode import BadImage, decode
from headstart.devices import device_named
from headstart.errors import UserError
from headstart.extraction import Member, row_provenance
from headstart.features import Features, joined
from headstart.h5 import UNLABELLED, ClassLabel, Examples
from headstart.heads import head as heads
from headstart.images import Fit, to_square
from headstart.parallel import mapped
from headstart.params import Backbone, Extract
from headstart.predictions import Predictions
from headstart.training import logits_of
from headstart.views import WHOLE

BLOCK = 128
"""Images scored at once."""


class Model(NamedTuple):
    """A trained run. logits: of images [N, S, S, 3] uint8, [N, C] float32."""

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
        UserError: there is no model, its backbone's alias is gone or is another backbone now.
    """
    if (folder / end_to_end.MODEL).exists():
        return _of_network(folder / end_to_end.MODEL, extract.device)
    if not (folder / heads.FILE).exists():
        near = ", ".join(sorted(path.name for path in folder.parent.glob("*/"))) or "none"
        raise UserError(f"{folder} holds no trained model; there are: {near}")
    alias = folder.name.partition("-")[0]
    if alias not in zoo:
        raise UserError(f"zoo has no '{alias}', the backbone of {folder}; bring it back")
    return _of_head(heads.load(folder / heads.FILE), zoo[alias], extract)


def _of_head(head: heads.Head, zoo: Mapping[str, Backbone], extract: Extract) -> Model:
    members: list[Member] = []
    for name, backbone in zoo.items():
        loaded = backbones.load(backbone)
        started = runtime.start(loaded, extract.device, extract.batch_size, backbone.precision)
        members.append(Member(name, started, loaded.provenance))
    provenance = joined([row_provenance(member) for member in members])

    def logits(images: np.ndarray) -> np.ndarray:
        rows = [runtime.compute(member.runtime, images).astype(extract.dtype) for member in members]
        unlabelled = np.full(len(images), UNLABELLED)
        examples = Examples([str(i) for i in range(len(images))], unlabelled, head.classes)
        features = Features(np.hstack(rows)[:, None], [WHOLE.name], examples, provenance)
        return head.logits(features)[:, 0]

    return Model(head.classes, logits)


def _of_network(path: Path, device: str) -> Model:
    saved = end_to_end.load(path)
    rebuilt = scratch.rebuilt if "scratch" in saved.identity else finetuning.rebuilt
    network = rebuilt(saved.identity, len(saved.classes))
    network.load_state_dict(saved.weights)
    place = device_named(device, "extract")
    network.to(place)

    @torch.inference_mode()
    def logits(images: np.ndarray) -> np.ndarray:
        pixels = shrunk(torch.from_numpy(images), saved.input.side)
        return logits_of(network, pixels, saved.input, place).cpu().numpy()

    return Model(saved.classes, logits)


def classify(
    model: Model,
    tune: Predictions,
    coverage: float,
    source: Source,
    names: Sequence[str],
    side: int,
    fit: Fit,
    max_pixels: int,
) -> Iterator[Answer]:
    """An answer for each of `names`, in order, from one view of each image.

    tune: the run's predictions; the temperature and the conformal sets of stated `coverage` come
    from them, as in calibration.json. side: in px, of the images that the model learnt from.
    """
    on_tune = softmax(tune.logits[:, tune.views.index(WHOLE.name)].astype(np.float64), axis=1)
    temperature = calibration.fit_temperature(on_tune, tune.examples.labels)
    threshold = calibration.fit_threshold(on_tune, tune.examples.labels, coverage)

    def answer(raw: np.ndarray) -> Answer:
        order = np.argsort(-raw, kind="stable")
        held = calibration.prediction_sets(raw, threshold)
        held[order[0]] = True
        sure = calibration.scale(raw[None], temperature)[0]
        candidates = [model.classes[label] for label in order if held[label]]
        return Answer(candidates[0], float(sure[order[0]]), candidates)

    def stored(name: str) -> np.ndarray | BadImage:
        try:
            return to_square(decode(source.read(name), max_pixels), side, fit)
        except BadImage as bad:
            return bad

    images = mapped(stored, names, "classifying")
    while block := list(islice(images, BLOCK)):
        good = [image for image in block if isinstance(image, np.ndarray)]
        logits = model.logits(np.stack(good)) if good else np.empty((0, len(model.classes)))
        probabilities = iter(softmax(logits.astype(np.float64), axis=1))
        for image in block:
            if isinstance(image, BadImage):
                yield Answer(problem=str(image))
            else:
                yield answer(next(probabilities))
