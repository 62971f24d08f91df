"""One run's predictions turned into the files of its results."""

from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from headstart.core.atomic_files import tsv_writer, write_text
from headstart.core.errors import UserError
from headstart.evaluation.reliability_bins import reliability_bins, write_reliability_bins
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
from headstart.report.reliability_figure import draw_reliability
from headstart.store.examples import UNLABELED
from headstart.store.predictions import Predictions, load_predictions
from headstart.store.views import TEN_CROP, WHOLE

TEN_CROP_NAMES = [view.name for view in TEN_CROP]
UNSURE = ("nll", "brier", "ece")
"""The metrics that a temperature changes."""


def load_splits(folder: Path) -> dict[str, Predictions]:
    """The predictions of tune, val and, where there is one, test.

    Raises:
        UserError: tune or val is missing or not labeled, a split is labeled in part, or a score
            is not a number.
    """
    splits = {split: load_predictions(folder / f"{split}.h5") for split in ("tune", "val")}
    if (test := folder / "test.h5").exists():
        splits["test"] = load_predictions(test)
    for split, found in splits.items():
        unlabeled = int((found.examples.labels == UNLABELED).sum())
        if unlabeled and (split != "test" or unlabeled < len(found.examples)):
            raise UserError(
                f"{folder.name}: {unlabeled} of {len(found.examples)} images in {split} have no "
                "label; label all of them or leave those out of the dataset"
            )
        if not np.isfinite(found.logits).all():
            raise UserError(
                f"{folder.name}: scores in {split} are not finite; the head's training diverged: "
                "lower its learning_rate"
            )
    return splits


def protocol_probabilities(found: Predictions) -> dict[str, np.ndarray]:
    """Probabilities [N, C] by protocol: `whole`, and `ten_crop` where all ten crops are there."""
    protocols = {"whole": [WHOLE.name], "ten_crop": TEN_CROP_NAMES}
    return {
        protocol: average_probabilities(found.logits[:, found.views.index(name)] for name in names)
        for protocol, names in protocols.items()
        if set(names) <= set(found.views)
    }


def evaluate_run(
    splits: dict[str, Predictions], confidence: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The content of metrics.json: passes, {split: {"n": ..., "whole": {...}, "ten_crop": {...}}}.

    val, and test where it is labeled, have every metric and, as `<metric>_interval`, [low, high]
    at `confidence` (DVC's tables leave lists out). tune has what choices rest on: top1 and nll.
    passes: as in Predictions.
    """
    made: dict[str, Any] = {}
    for split in ("val", "test"):
        if split in splits and splits[split].examples.labeled:
            labels = splits[split].examples.labels
            made[split] = {"n": len(labels)}
            for protocol, probability in protocol_probabilities(splits[split]).items():
                found = estimate_metrics(probability, labels, confidence, resamples, seed)
                made[split][protocol] = _rounded(found)
    labels = splits["tune"].examples.labels
    made["tune"] = {"n": len(labels)} | {
        protocol: {name: round(compute_metrics(p, labels)[name], 5) for name in ("top1", "nll")}
        for protocol, p in protocol_probabilities(splits["tune"]).items()
    }
    made["passes"] = splits["val"].passes
    return made


def calibrate_run(
    splits: dict[str, Predictions], confidence: float, coverage: float, resamples: int, seed: int
) -> dict[str, Any]:
    """The content of calibration.json: for each protocol what tune fits and what it does on val.

    temperature: fitted on tune; nll, brier and ece on val before and after it (top-1 stays).
    sets: conformal sets for `coverage`, calibrated on tune without the temperature: how often they
    hold the label on val and how many classes on average, with intervals at `confidence`.
    """
    tune, val = splits["tune"], splits["val"]
    on_val = protocol_probabilities(val)
    made: dict[str, Any] = {}
    for protocol, p in protocol_probabilities(tune).items():
        # As it is stated, so that a reader's figures are these.
        temperature = round(fit_temperature(p, tune.examples.labels), 4)
        threshold = conformal_threshold(p, tune.examples.labels, coverage)
        stages = {
            "before": on_val[protocol],
            "after": apply_temperature(on_val[protocol], temperature),
        }
        sets = prediction_sets(on_val[protocol], threshold)
        holds = sets[np.arange(len(sets)), val.examples.labels]
        found = estimate_means(np.stack([holds, sets.sum(1)], axis=1), confidence, resamples, seed)
        made[protocol] = {
            "temperature": temperature,
            **{
                stage: {
                    name: round(compute_metrics(q, val.examples.labels)[name], 5) for name in UNSURE
                }
                for stage, q in stages.items()
            },
            "sets": {
                "stated_coverage": coverage,
                **_rounded(dict(zip(("coverage", "size"), found, strict=True))),
            },
        }
    return made


def primary_protocol(split: dict[str, Any]) -> str:
    """The protocol that stands for a split of metrics.json: ten crops where there are ten."""
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
    protocols = protocol_probabilities(val)
    found = per_class(protocols[primary_protocol(protocols)], val.examples.labels)
    lows, highs = wilson_interval(found.hits, found.n, confidence)
    classes = val.examples.classes
    share = np.divide(found.hits, found.n, out=np.ones(len(classes)), where=found.n > 0)
    with tsv_writer(path) as table:
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
    """A row a pair of classes that are confused, most frequent first, of the headline's protocol.

    count: images of the true class taken for the predicted one; share: of the true class's images.
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


def write_reliability(
    folder: Path, val: Predictions, calibrated: dict[str, Any], confidence: float
) -> None:
    """reliability.tsv and .svg of the headline's protocol; calibrated: what `calibrate` made."""
    protocols = protocol_probabilities(val)
    protocol = primary_protocol(protocols)
    temperature = calibrated[protocol]["temperature"]
    stages = {
        "temperature 1": reliability_bins(protocols[protocol], val.examples.labels),
        f"{temperature:g}, fitted on tune": reliability_bins(
            apply_temperature(protocols[protocol], temperature), val.examples.labels
        ),
    }
    write_reliability_bins(folder / "reliability.tsv", stages)
    shown = {"whole": "one view", "ten_crop": "ten crops"}[protocol]
    draw_reliability(folder / "reliability.svg", stages, shown, confidence)


def write_examples(path: Path, val: Predictions) -> None:
    """A table with a row an image: its id, its class, and the class predicted by each protocol."""
    classes = val.examples.classes
    predicted = {protocol: p.argmax(1) for protocol, p in protocol_probabilities(val).items()}
    with tsv_writer(path) as table:
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
    protocols = protocol_probabilities(test)
    predicted = protocols[primary_protocol(protocols)].argmax(1)
    lines = [
        f"{name} {test.examples.classes[c].id}\n" for name, c in zip(names, predicted, strict=True)
    ]
    write_text(path, "".join(lines))
