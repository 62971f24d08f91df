"""Predictions to metrics with intervals, calibration, tables, and the challenge's test file."""

import argparse
import json

from headstart.params import Params
from stages import parser, run


def evaluate(args: argparse.Namespace, params: Params) -> str:
    from headstart import crops, evaluation, files

    asked = params.evaluate
    sampling = (asked.resamples, asked.seed)
    splits = evaluation.load(args.predictions)
    found = evaluation.evaluate(splits, asked.confidence, *sampling)
    calibrated = evaluation.calibrate(splits, asked.confidence, asked.coverage, *sampling)

    folder = args.metrics.parent
    files.write(args.metrics, json.dumps(found, indent=2) + "\n")
    files.write(folder / "calibration.json", json.dumps(calibrated, indent=2) + "\n")
    evaluation.write_per_class(folder / "per_class.tsv", splits["val"], asked.confidence)
    evaluation.write_confusions(folder / "confusions.tsv", splits["val"])
    evaluation.write_reliability(folder, splits["val"], calibrated, asked.confidence)
    evaluation.write_examples(folder / "examples.tsv", splits["val"])
    if len(splits["val"].views) > 1:
        accuracies = crops.accuracies(splits["val"], asked.seed)
        crops.write(folder / "crops.tsv", accuracies)
        crops.draw(folder / "crops.svg", splits["val"], accuracies)
    if "test" in splits and "test" not in found:
        evaluation.write_challenge(folder / "test_predictions.txt", splits["test"])

    look = evaluation.headline(found["val"])
    top1, (low, high) = found["val"][look]["top1"], found["val"][look]["top1_interval"]
    return (
        f"{args.predictions.name}: top-1 {top1:.1%} [{low:.1%}, {high:.1%}] "
        f"({look}, {found['val']['n']} val images)"
    )


if __name__ == "__main__":
    run(evaluate, parser(__doc__, "predictions", "metrics"))
