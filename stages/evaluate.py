"""Evaluates a run's predictions: metrics with intervals, calibration, tables, the test file."""

import argparse

from headstart.config import Params
from stages import parser, run


def evaluate(args: argparse.Namespace, params: Params) -> str:
    from headstart.evaluation.crop_accuracy import crop_accuracies
    from headstart.evaluation.run_results import (
        calibrate_run,
        calibration_stages,
        evaluate_run,
        load_splits,
        predict_classes,
        top_classes,
        write_challenge,
        write_confusions,
        write_per_class,
    )
    from headstart.metrics.selection import CRITERIA
    from headstart.store.crop_accuracies import write_crop_accuracies
    from headstart.store.predicted_classes import write_predicted_classes
    from headstart.store.reliability_bins import write_reliability_bins
    from headstart.store.run_metrics import primary_protocol, summarize_metrics, write_metrics
    from headstart.store.top_classes import write_top_classes

    settings, name = params.evaluate, args.predictions.name
    sampling = (settings.resamples, settings.seed)
    splits = load_splits(args.predictions)
    val = splits["val"]
    metrics = evaluate_run(splits, settings.confidence, *sampling)
    calibrated = calibrate_run(splits, settings.confidence, settings.coverage, *sampling)

    folder = args.results / "evaluation" / name
    write_metrics(folder / "metrics.json", metrics)
    write_metrics(folder / "calibration.json", calibrated)
    write_per_class(folder / "per_class.tsv", val, settings.confidence)
    write_confusions(folder / "confusions.tsv", val)
    if len(val.views) > 1:
        write_crop_accuracies(folder / "crops.tsv", crop_accuracies(val, settings.seed))
    if "test" in splits and "test" not in metrics:
        write_challenge(folder / "test_predictions.txt", splits["test"])
    summary = summarize_metrics(metrics, CRITERIA[settings.choose_by].metric)
    write_metrics(args.results / "metrics" / f"{name}.json", summary)
    reliability = calibration_stages(val, calibrated)
    write_reliability_bins(args.results / "reliability" / f"{name}.tsv", reliability)
    predicted = args.results / "predictions" / f"{name}.tsv"
    write_predicted_classes(predicted, val.examples, predict_classes(val))
    likeliest = args.results / "top_classes" / f"{name}.tsv"
    write_top_classes(likeliest, top_classes(val, calibrated))

    protocol = primary_protocol(metrics["val"])
    top1, (low, high) = (metrics["val"][protocol][key] for key in ("top1", "top1_interval"))
    return (
        f"{name}: top-1 {top1:.1%} [{low:.1%}, {high:.1%}] "
        f"({protocol}, {metrics['val']['n']} val images)"
    )


if __name__ == "__main__":
    run(evaluate, parser(__doc__, "predictions", "results"))
