"""The results of all active runs as one table and one figure."""

import argparse
import json

from headstart.params import Params
from stages import parser, run


def compare(args: argparse.Namespace, params: Params) -> str:
    from headstart import advice, comparison, files, learning_curve, paired

    asked = params.evaluate
    results = comparison.load(args.results, params.runs)
    right = comparison.load_right(args.results, params.runs)
    differences = paired.differences(right, asked.confidence, asked.resamples, asked.seed)

    comparison.write_pairs(args.report / "pairs.tsv", differences)
    said = [
        *advice.on_finetuning(results, differences, params.finetuned),
        *advice.on_transfer(results, differences, params.transfer_runs, params.scratch_runs),
    ]
    report = comparison.report(results, differences, asked.confidence, said)
    files.write(args.report / "comparison.md", report)
    summary = comparison.summary(results)
    files.write(args.report / "metrics.json", json.dumps(summary, indent=2) + "\n")
    comparison.draw(results, args.report / "comparison.svg")

    curves = learning_curve.load(args.results / "learning_curve", params.learning_curves)
    learning_curve.write_all(args.report / "learning_curve" / "curves.tsv", curves)
    if curves:
        path = args.report / "learning_curve" / "curves.svg"
        learning_curve.draw(path, curves, asked.confidence)

    return (
        f"{comparison.table(results)}\ncompared {len(results)} runs; tune chooses {summary['best']}"
    )


if __name__ == "__main__":
    run(compare, parser(__doc__, "results", "report"))
