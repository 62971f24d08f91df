"""One run's predictions turned into the files of its results."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from headstart import calibration, files, metrics, predictions, reliability
from headstart.errors import UserError
from headstart.h5 import UNLABELLED
from headstart.metrics import Estimate
from headstart.predictions import Predictions
from headstart.views import TEN_CROP, WHOLE

TEN_CROP_NAMES = [view.name for view in TEN_CROP]
UNSURE = ("nll", "brier", "ece")
"""The metrics that a temperature changes."""


def load(folder: Path) -> dict[str, Predictions]:
    """The predictions of tune, val and, where there is one, test.

    Raises:
        UserError: tune or val is missing or not labelled, a split is labelled in part, or a score
            is not a number.
    """
    splits = {split: predictions.load(folder / f"{split}.h5") for split in ("tune", "val")}
    if (test := folder / "test.h5").exists():
        splits["test"] = predictions.load(test)
    for split, found in splits.items():
        unlabelled = int((found.examples.labels == UNLABELLED).sum())
        if unlabelled and (split != "test" or unlabelled < len(found.examples)):
            raise UserError(
                f"{folder.name}: {unlabelled} of {len(found.examples)} images in {split} have no "
                "label; label all of them or leave those out of the dataset"
            )
        if not np.isfinite(found.logits).all():
            raise UserError(
                f"{folder.name}: scores in {split} are not finite; the head's training diverged: "
                "lower its learning_rate"
            )
    return splits


def probabilities(found: Predictions) -> dict[str, np.ndarray]:
    """[N, C] probabilities of each way to look: `whole`, and `ten_crop` where all ten are there."""
    looks = {"whole": [WHOLE.name], "ten_crop": TEN_CROP_NAMES}
    return {
        look: metrics.average_probabilities(
            found.logits[:, found.views.index(name)] for name in names
        )
        for look, names in looks.items()
        if set(names) <= set(found.views)
    }


def evaluate(
    splits: dict[str, Predictions], confidence: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The content of metrics.json: passes, {split: {"n": ..., "whole": {...}, "ten_crop": {...}}}.

    val, and test where it is labelled, have every metric and, as `<metric>_interval`, [low, high]
    at `confidence` (DVC's tables leave lists out). tune has what choices rest on: top1 and nll.
    passes: as in Predictions.
    """
    made: dict[str, Any] = {}
    for split in ("val", "test"):
        if split in splits and splits[split].examples.labelled:
            labels = splits[split].examples.labels
            made[split] = {"n": len(labels)}
            for look, probability in probabilities(splits[split]).items():
                found = metrics.estimate(probability, labels, confidence, resamples, seed)
                made[split][look] = _rounded(found)
    labels = splits["tune"].examples.labels
    made["tune"] = {"n": len(labels)} | {
        look: {name: round(metrics.measure(p, labels)[name], 5) for name in ("top1", "nll")}
        for look, p in probabilities(splits["tune"]).items()
    }
    made["passes"] = splits["val"].passes
    return made


def calibrate(
    splits: dict[str, Predictions], confidence: float, coverage: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The content of calibration.json: for each look what tune fits and what it does on val.

    temperature: fitted on tune; nll, brier and ece on val before and after it (top-1 stays).
    sets: conformal sets for `coverage`, calibrated on tune without the temperature: how often they
    hold the label on val and how many classes on average, with intervals at `confidence`.
    """
    tune, val = splits["tune"], splits["val"]
    on_val = probabilities(val)
    made: dict[str, Any] = {}
    for look, p in probabilities(tune).items():
        # As it is stated, so that a reader's figures are these.
        temperature = round(calibration.fit_temperature(p, tune.examples.labels), 4)
        threshold = calibration.fit_threshold(p, tune.examples.labels, coverage)
        stages = {"before": on_val[look], "after": calibration.scale(on_val[look], temperature)}
        sets = calibration.prediction_sets(on_val[look], threshold)
        holds = sets[np.arange(len(sets)), val.examples.labels]
        found = metrics.mean_estimates(
            np.stack([holds, sets.sum(1)], axis=1), confidence, resamples, seed
        )
        made[look] = {
            "temperature": temperature,
            **{
                stage: {
                    name: round(metrics.measure(q, val.examples.labels)[name], 5) for name in UNSURE
                }
                for stage, q in stages.items()
            },
            "sets": {
                "stated_coverage": coverage,
                **_rounded(dict(zip(("coverage", "size"), found, strict=True))),
            },
        }
    return made


def headline(split: dict[str, Any]) -> str:
    """The look that stands for a split of metrics.json: ten crops where there are ten."""
    return "ten_crop" if "ten_crop" in split else "whole"


def _rounded(found: dict[str, Estimate]) -> dict[str, Any]:
    """Estimates as `<name>` and `<name>_interval`, in as many digits as a JSON reader wants."""
    values = {name: round(estimate.value, 5) for name, estimate in found.items()}
    intervals = {
        f"{name}_interval": [round(estimate.low, 5), round(estimate.high, 5)]
        for name, estimate in found.items()
    }
    return values | intervals


def write_per_class(path: Path, val: Predictions, confidence: float) -> None:
    """A row a class, worst first: n, top-1 with Wilson's interval, the class most confused with."""
    looks = probabilities(val)
    found = metrics.per_class(looks[headline(looks)], val.examples.labels)
    lows, highs = metrics.wilson(found.hits, found.n, confidence)
    classes = val.examples.classes
    share = np.divide(found.hits, found.n, out=np.ones(len(classes)), where=found.n > 0)
    with files.table(path) as table:
        table.writerow(
            ["id", "name", "n", "top1", "low", "high", "confused_with", "confused_name", "times"]
        )
        for c in np.argsort(share, kind="stable"):
            row: list[Any] = [classes[c].id, classes[c].name, found.n[c]]
            row += [f"{x:.4f}" for x in (share[c], lows[c], highs[c])] if found.n[c] else [""] * 3
            if found.confused_n[c]:
                other = classes[found.confused[c]]
                row += [other.id, other.name, found.confused_n[c]]
            else:
                row += ["", "", 0]
            table.writerow(row)


def write_confusions(path: Path, val: Predictions) -> None:
    """A row a pair of classes that are confused, most frequent first, of the headline's look.

    count: images of the true class taken for the predicted one; share: of the true class's images.
    """
    looks = probabilities(val)
    confusion = metrics.confusion_matrix(looks[headline(looks)], val.examples.labels)
    n = confusion.sum(1)
    np.fill_diagonal(confusion, 0)
    pairs = np.argwhere(confusion)  # [P, 2]
    count = confusion[tuple(pairs.T)]
    share = count / n[pairs[:, 0]]
    classes = val.examples.classes
    with files.table(path) as table:
        table.writerow(["true_id", "true_name", "predicted_id", "predicted_name", "count", "share"])
        for i in np.lexsort([-share, -count]):
            true, predicted = (classes[c] for c in pairs[i])
            names = (true.id, true.name, predicted.id, predicted.name)
            table.writerow([*names, count[i], f"{share[i]:.4f}"])


def write_reliability(
    folder: Path, val: Predictions, calibrated: dict[str, Any], confidence: float
) -> None:
    """reliability.tsv and .svg of the headline's look; calibrated: what `calibrate` made."""
    looks = probabilities(val)
    look = headline(looks)
    temperature = calibrated[look]["temperature"]
    stages = {
        "temperature 1": reliability.bins(looks[look], val.examples.labels),
        f"{temperature:g}, fitted on tune": reliability.bins(
            calibration.scale(looks[look], temperature), val.examples.labels
        ),
    }
    reliability.write(folder / "reliability.tsv", stages)
    shown = {"whole": "one view", "ten_crop": "ten crops"}[look]
    reliability.draw(folder / "reliability.svg", stages, shown, confidence)


def write_examples(path: Path, val: Predictions) -> None:
    """A table with a row an image: its id, its class, and the class predicted by each look."""
    classes = val.examples.classes
    predicted = {look: p.argmax(1) for look, p in probabilities(val).items()}
    with files.table(path) as table:
        table.writerow(["id", "class", *predicted])
        for i, (id_, label) in enumerate(zip(val.examples.ids, val.examples.labels, strict=True)):
            table.writerow(
                [id_, classes[label].id, *(classes[p[i]].id for p in predicted.values())]
            )


def write_challenge(path: Path, test: Predictions) -> None:
    """The predictions of `test` as the Tiny ImageNet challenge takes them: `test_0.JPEG n01443537`.

    Where two images in different folders have one file name, the whole ids stand instead.
    """
    names = [PurePosixPath(id_).name for id_ in test.examples.ids]
    if max(Counter(names).values()) > 1:
        names = test.examples.ids
    looks = probabilities(test)
    predicted = looks[headline(looks)].argmax(1)
    lines = [
        f"{name} {test.examples.classes[c].id}\n" for name, c in zip(names, predicted, strict=True)
    ]
    files.write(path, "".join(lines))
