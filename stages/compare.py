"""The results of all active runs as one table and one figure."""

import argparse
import json

from headstart.config import Params
from stages import parser, run


def compare(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.atomic_files import write_text
    from headstart.metrics.paired_tests import paired_differences
    from headstart.report.comparison import (
        comparison_report,
        comparison_table,
        draw_comparison,
        load_correct,
        load_results,
        results_summary,
        write_pairs,
    )
    from headstart.report.conclusions import finetuning_conclusions, transfer_conclusions
    from headstart.report.learning_curve_figure import draw_learning_curves
    from headstart.store.learning_curves import load_learning_curves, write_learning_curves

    asked = params.evaluate
    results = load_results(args.results, params.runs)
    right = load_correct(args.results, params.runs)
    differences = paired_differences(right, asked.confidence, asked.resamples, asked.seed)

    write_pairs(args.report / "pairs.tsv", differences)
    said = [
        *finetuning_conclusions(results, differences, params.finetuned),
        *transfer_conclusions(results, differences, params.transfer_runs, params.scratch_runs),
    ]
    report = comparison_report(results, differences, asked.confidence, said)
    write_text(args.report / "comparison.md", report)
    summary = results_summary(results)
    write_text(args.report / "metrics.json", json.dumps(summary, indent=2) + "\n")
    draw_comparison(results, args.report / "comparison.svg")

    curves = load_learning_curves(args.results / "learning_curve", params.learning_curves)
    write_learning_curves(args.report / "learning_curve" / "curves.tsv", curves)
    if curves:
        path = args.report / "learning_curve" / "curves.svg"
        draw_learning_curves(path, curves, asked.confidence)

    return (
        f"{comparison_table(results)}\ncompared {len(results)} runs; tune chooses {summary['best']}"
    )


if __name__ == "__main__":
    run(compare, parser(__doc__, "results", "report"))
