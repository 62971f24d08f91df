"""Predictions to metrics with intervals, calibration, tables, and the challenge's test file."""

import argparse
import json

from headstart.config import Params
from stages import parser, run


def evaluate(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.atomic_files import write_text
    from headstart.evaluation.crop_accuracy import crop_accuracies, write_crop_accuracies
    from headstart.evaluation.run_results import (
        calibrate_run,
        evaluate_run,
        load_splits,
        primary_protocol,
        write_challenge,
        write_confusions,
        write_examples,
        write_per_class,
        write_reliability,
    )
    from headstart.report.crop_accuracy_figure import draw_crop_accuracies

    asked = params.evaluate
    sampling = (asked.resamples, asked.seed)
    splits = load_splits(args.predictions)
    found = evaluate_run(splits, asked.confidence, *sampling)
    calibrated = calibrate_run(splits, asked.confidence, asked.coverage, *sampling)

    folder = args.metrics.parent
    write_text(args.metrics, json.dumps(found, indent=2) + "\n")
    write_text(folder / "calibration.json", json.dumps(calibrated, indent=2) + "\n")
    write_per_class(folder / "per_class.tsv", splits["val"], asked.confidence)
    write_confusions(folder / "confusions.tsv", splits["val"])
    write_reliability(folder, splits["val"], calibrated, asked.confidence)
    write_examples(folder / "examples.tsv", splits["val"])
    if len(splits["val"].views) > 1:
        accuracies = crop_accuracies(splits["val"], asked.seed)
        write_crop_accuracies(folder / "crops.tsv", accuracies)
        draw_crop_accuracies(folder / "crops.svg", splits["val"], accuracies)
    if "test" in splits and "test" not in found:
        write_challenge(folder / "test_predictions.txt", splits["test"])

    protocol = primary_protocol(found["val"])
    top1, (low, high) = found["val"][protocol]["top1"], found["val"][protocol]["top1_interval"]
    return (
        f"{args.predictions.name}: top-1 {top1:.1%} [{low:.1%}, {high:.1%}] "
        f"({protocol}, {found['val']['n']} val images)"
    )


if __name__ == "__main__":
    run(evaluate, parser(__doc__, "predictions", "metrics"))
