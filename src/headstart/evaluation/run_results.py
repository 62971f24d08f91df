"""From the predictions of one run to the files of its results."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from headstart.core.atomic_files import tsv_writer, write_text
from headstart.core.errors import UserError
from headstart.evaluation.reliability_bins import reliability_bins
from headstart.metrics.calibration import (
    apply_temperature,
    conformal_threshold,
    fit_temperature,
    prediction_sets,
)
from headstart.metrics.classification_metrics import (
    Estimate,
    average_probabilities,
    compute_metrics,
    confusion_matrix,
    estimate_means,
    estimate_metrics,
    per_class,
    wilson_interval,
)
from headstart.store.examples import UNLABELED
from headstart.store.predictions import Predictions, load_predictions
from headstart.store.reliability_bins import ReliabilityBins
from headstart.store.run_metrics import RunMetrics, primary_protocol
from headstart.store.top_classes import TopClasses
from headstart.store.views import TEN_CROP, WHOLE

TEN_CROP_NAMES = [view.name for view in TEN_CROP]
CALIBRATED = ("nll", "brier", "ece")
"""The metrics that temperature scaling changes."""


def load_splits(folder: Path) -> dict[str, Predictions]:
    """The predictions of tune and val, and of test if there is such a split.

    Raises:
        UserError: tune or val is missing or not labeled, only a part of a split is labeled, or a
            score is not finite.
    """
    splits = {split: load_predictions(folder / f"{split}.h5") for split in ("tune", "val")}
    if (test := folder / "test.h5").exists():
        splits["test"] = load_predictions(test)
    for split, predictions in splits.items():
        unlabeled = int((predictions.examples.labels == UNLABELED).sum())
        if unlabeled and (split != "test" or unlabeled < len(predictions.examples)):
            raise UserError(
                f"{folder.name}: {unlabeled} of {len(predictions.examples)} images in {split} have "
                "no label; label all of them or leave those out of the dataset"
            )
        if not np.isfinite(predictions.logits).all():
            raise UserError(
                f"{folder.name}: scores in {split} are not finite; the head's training diverged: "
                "lower its learning_rate"
            )
    return splits


def protocol_probabilities(predictions: Predictions) -> dict[str, np.ndarray]:
    """Probabilities [N, C] by protocol: `whole`, and `ten_crop` if all ten crops were predicted."""
    protocols = {"whole": [WHOLE.name], "ten_crop": TEN_CROP_NAMES}
    return {
        protocol: average_probabilities(
            predictions.logits[:, predictions.views.index(name)] for name in names
        )
        for protocol, names in protocols.items()
        if set(names) <= set(predictions.views)
    }


def evaluate_run(
    splits: dict[str, Predictions], confidence: float, resamples: int, seed: int
) -> RunMetrics:
    """The metrics of one run.

    val, and test if it is labeled, have every metric, and [low, high] at `confidence` as
    `<metric>_interval`. tune has the metrics alone, on which choices rest.
    passes, parameters: as in Predictions.
    """
    metrics: RunMetrics = {}
    for split in ("val", "test"):
        if split in splits and splits[split].examples.labeled:
            labels = splits[split].examples.labels
            metrics[split] = {"n": len(labels)}
            for protocol, probability in protocol_probabilities(splits[split]).items():
                estimates = estimate_metrics(probability, labels, confidence, resamples, seed)
                metrics[split][protocol] = _round_estimates(estimates)
    labels = splits["tune"].examples.labels
    metrics["tune"] = {"n": len(labels)} | {
        protocol: {name: round(value, 5) for name, value in compute_metrics(p, labels).items()}
        for protocol, p in protocol_probabilities(splits["tune"]).items()
    }
    metrics["passes"] = splits["val"].passes
    metrics["parameters"] = splits["val"].parameters
    return metrics


def calibrate_run(
    splits: dict[str, Predictions], confidence: float, coverage: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The content of calibration.json: by protocol, calibration on tune and its effect on val.

    temperature: fitted on tune. before, after: nll, brier and ece on val without and with it; it
    leaves top-1 as it is. sets: conformal sets for `coverage`, calibrated on tune without the
    temperature; how often they contain the label on val and their mean size, with intervals at
    `confidence`. sets.threshold: as `metrics.calibration.conformal_threshold`.
    """
    tune, val = splits["tune"], splits["val"]
    on_val = protocol_probabilities(val)
    calibrated: dict[str, Any] = {}
    for protocol, p in protocol_probabilities(tune).items():
        # Rounded first, so that the stated temperature gives the stated metrics.
        temperature = round(fit_temperature(p, tune.examples.labels), 4)
        threshold = conformal_threshold(p, tune.examples.labels, coverage)
        stages = {
            "before": on_val[protocol],
            "after": apply_temperature(on_val[protocol], temperature),
        }
        sets = prediction_sets(on_val[protocol], threshold)
        covered = sets[np.arange(len(sets)), val.examples.labels]
        per_image = np.stack([covered, sets.sum(1)], axis=1)
        estimates = estimate_means(per_image, confidence, resamples, seed)
        calibrated[protocol] = {
            "temperature": temperature,
            **{
                stage: {
                    name: round(compute_metrics(q, val.examples.labels)[name], 5)
                    for name in CALIBRATED
                }
                for stage, q in stages.items()
            },
            "sets": {
                "stated_coverage": coverage,
                "threshold": threshold,
                **_round_estimates(dict(zip(("coverage", "size"), estimates, strict=True))),
            },
        }
    return calibrated


def _round_estimates(estimates: dict[str, Estimate]) -> dict[str, Any]:
    """Each estimate as `<name>` and `<name>_interval`, to five decimals."""
    values = {name: round(estimate.value, 5) for name, estimate in estimates.items()}
    intervals = {
        f"{name}_interval": [round(estimate.low, 5), round(estimate.high, 5)]
        for name, estimate in estimates.items()
    }
    return values | intervals


def write_per_class(path: Path, val: Predictions, confidence: float) -> None:
    """One row per class, the worst first, under the primary protocol.

    Of each class: n, top-1 with Wilson's interval, the class that it is most often taken for, and
    the number of distinct classes that it is taken for (Milani, section 4.3).
    """
    protocols = protocol_probabilities(val)
    counts = per_class(protocols[primary_protocol(protocols)], val.examples.labels)
    lows, highs = wilson_interval(counts.hits, counts.n, confidence)
    classes = val.examples.classes
    share = np.divide(counts.hits, counts.n, out=np.ones(len(classes)), where=counts.n > 0)
    with tsv_writer(path) as table:
        table.writerow(
            [
                *("id", "name", "n", "top1", "low", "high", "confused_with", "confused_name"),
                *("times", "distinct_wrong_classes"),
            ]
        )
        for c in np.argsort(share, kind="stable"):
            row: list[Any] = [classes[c].id, classes[c].name, counts.n[c]]
            row += [f"{x:.4f}" for x in (share[c], lows[c], highs[c])] if counts.n[c] else [""] * 3
            if counts.confused_n[c]:
                other = classes[counts.confused[c]]
                row += [other.id, other.name, counts.confused_n[c], counts.wrong_classes[c]]
            else:
                row += ["", "", 0, 0]
            table.writerow(row)


def write_confusions(path: Path, val: Predictions) -> None:
    """One row per pair of confused classes, the most frequent first, under the primary protocol.

    count: images of the true class that were predicted as the other. share: their fraction of the
    true class's images.
    """
    protocols = protocol_probabilities(val)
    confusion = confusion_matrix(protocols[primary_protocol(protocols)], val.examples.labels)
    n = confusion.sum(1)
    np.fill_diagonal(confusion, 0)
    pairs = np.argwhere(confusion)  # [P, 2]
    count = confusion[tuple(pairs.T)]
    share = count / n[pairs[:, 0]]
    classes = val.examples.classes
    with tsv_writer(path) as table:
        table.writerow(["true_id", "true_name", "predicted_id", "predicted_name", "count", "share"])
        for i in np.lexsort([-share, -count]):
            true, predicted = (classes[c] for c in pairs[i])
            names = (true.id, true.name, predicted.id, predicted.name)
            table.writerow([*names, count[i], f"{share[i]:.4f}"])


def calibration_stages(val: Predictions, calibrated: dict[str, Any]) -> dict[str, ReliabilityBins]:
    """The reliability bins of val before and after temperature scaling, under the primary protocol.

    calibrated: what `calibrate_run` returned.
    """
    protocols = protocol_probabilities(val)
    protocol = primary_protocol(protocols)
    temperature = calibrated[protocol]["temperature"]
    scaled = apply_temperature(protocols[protocol], temperature)
    return {
        "temperature 1": reliability_bins(protocols[protocol], val.examples.labels),
        f"{temperature:g}, fitted on tune": reliability_bins(scaled, val.examples.labels),
    }


def predict_classes(predictions: Predictions) -> dict[str, np.ndarray]:
    """The positions [N] of the predicted classes, by protocol."""
    return {
        protocol: probabilities.argmax(1)
        for protocol, probabilities in protocol_probabilities(predictions).items()
    }


def top_classes(val: Predictions, calibrated: dict[str, Any], count: int = 5) -> TopClasses:
    """The `count` likeliest classes of each image of val, under the primary protocol.

    calibrated: what `calibrate_run` returned; its temperature gives the probabilities.
    """
    protocols = protocol_probabilities(val)
    protocol = primary_protocol(protocols)
    # Ranked before the temperature: it keeps the order, but rounding might break it.
    order = np.argsort(-protocols[protocol], axis=1, kind="stable")[:, :count]
    scaled = apply_temperature(protocols[protocol], calibrated[protocol]["temperature"])
    names = np.array([label.id for label in val.examples.classes])
    labels = [val.examples.classes[label].id for label in val.examples.labels]
    probabilities = np.take_along_axis(scaled, order, axis=1)
    return TopClasses(val.examples.ids, labels, names[order], probabilities)


def write_challenge(path: Path, test: Predictions) -> None:
    """The predictions of `test` in the Tiny ImageNet challenge's format: `test_0.JPEG n01443537`.

    If two images in different folders have the same file name, all images are named by their ids.
    """
    names = [PurePosixPath(id_).name for id_ in test.examples.ids]
    if max(Counter(names).values()) > 1:
        names = test.examples.ids
    protocols = protocol_probabilities(test)
    predicted = protocols[primary_protocol(protocols)].argmax(1)
    lines = [
        f"{name} {test.examples.classes[c].id}\n" for name, c in zip(names, predicted, strict=True)
    ]
    write_text(path, "".join(lines))
