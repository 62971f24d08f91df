"""Writes report/index.html: one page with images that shows every active run, and opens offline."""

import argparse

from headstart.config import Params
from stages import parser, run


def report(args: argparse.Namespace, params: Params) -> str:
    from headstart.metrics.paired_tests import paired_differences
    from headstart.page.content import (
        ActiveRuns,
        collect,
        correct_predictions,
        load_predictions,
    )
    from headstart.page.html_page import write_page
    from headstart.report.conclusions import finetuning_conclusions, transfer_conclusions
    from headstart.store.images import open_images
    from headstart.store.run_metrics import load_metrics

    settings = params.evaluate
    metrics = load_metrics(args.results / "evaluation", params.runs)
    predictions = load_predictions(args.results, params.runs)
    differences = paired_differences(
        correct_predictions(predictions), settings.confidence, settings.resamples, settings.seed
    )
    with open_images(args.images) as images:
        content = collect(
            images,
            args.results,
            args.attribution,
            ActiveRuns(
                params.runs, params.single_runs, params.extract.backbones, params.learning_curves
            ),
            metrics,
            predictions,
            differences,
            [
                *finetuning_conclusions(metrics, differences, params.finetuned),
                *transfer_conclusions(
                    metrics,
                    settings.choose_by,
                    differences,
                    params.transfer_runs,
                    params.scratch_runs,
                ),
            ],
            settings.confidence,
            settings.choose_by,
            params.report.max_images,
            params.dataset.name,
        )
        size = write_page(args.page, content)
    return f"{args.page}: {len(params.runs)} runs, {content.data['images']['val']} val images, " + (
        f"{size / 1e6:.1f} MB; open it in a browser"
    )


if __name__ == "__main__":
    run(report, parser(__doc__, "results", "images", "attribution", "page"))
