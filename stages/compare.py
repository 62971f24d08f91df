"""Compares the results of all active runs, in a report of tables, sentences and figures."""

import argparse

from headstart.config import Params
from stages import parser, run


def compare(args: argparse.Namespace, params: Params) -> str:
    from headstart.core.atomic_files import write_text
    from headstart.metrics.paired_tests import paired_differences
    from headstart.report.audit_summary import audit_sentences
    from headstart.report.comparison import (
        comparison_report,
        comparison_table,
        draw_comparison,
        results_summary,
        write_pairs,
    )
    from headstart.report.conclusions import finetuning_conclusions, transfer_conclusions
    from headstart.report.figures import (
        draw_ensemble_figures,
        draw_evaluation_figures,
        draw_network_figures,
        draw_sheets,
        draw_study_figures,
        draw_training_figures,
        draw_tsne_figures,
    )
    from headstart.report.learning_curve_figure import draw_learning_curves
    from headstart.report.localization import draw_localization_figures, localization_section
    from headstart.store.audit_findings import load_findings
    from headstart.store.learning_curves import load_learning_curves, write_learning_curves
    from headstart.store.predicted_classes import load_correct, load_ids
    from headstart.store.run_metrics import load_metrics, write_metrics

    settings, figures = params.evaluate, args.report / "figures"
    choose_by = settings.choose_by
    results = load_metrics(args.results / "evaluation", params.runs)
    correct = load_correct(args.results / "predictions", params.runs)
    sampling = (settings.confidence, settings.resamples, settings.seed)
    differences = paired_differences(correct, *sampling)
    curves = load_learning_curves(args.results / "learning_curves", params.learning_curves)

    write_pairs(args.report / "pairs.tsv", differences)
    conclusions = [
        *finetuning_conclusions(results, differences, params.finetuned),
        *transfer_conclusions(
            results, choose_by, differences, params.transfer_runs, params.scratch_runs
        ),
    ]
    ids = load_ids(args.results / "predictions", params.runs[0])
    findings = {
        backbone: load_findings(args.results / "audit" / f"{backbone}-findings.tsv")
        for backbone in params.extract.backbones
    }
    audit = audit_sentences(findings, ids, correct, settings.confidence)
    report = comparison_report(
        results, choose_by, differences, settings.confidence, conclusions, audit
    )
    localizers = params.localize.backbones
    report += localization_section(args.results, localizers, settings.confidence)
    write_text(args.report / "comparison.md", report)
    summary = results_summary(results, choose_by)
    write_metrics(args.report / "metrics.json", summary)
    write_learning_curves(args.report / "learning_curves.tsv", curves)

    draw_comparison(results, choose_by, figures / "comparison.svg")
    if curves:
        draw_learning_curves(figures / "learning_curves.svg", curves, settings.confidence)
    draw_training_figures(args.results, figures, params.single_runs, params.head_runs)
    draw_study_figures(args.results, figures, params.active_studies)
    networks = params.train_scratch.networks
    trained = [*networks, *(run for run, _ in params.finetuned.values())]
    draw_network_figures(args.results, figures, params.extract.backbones, networks, trained)
    draw_sheets(args.results, figures)
    draw_evaluation_figures(args.results, figures, results, settings.confidence)
    draw_ensemble_figures(args.results, figures, params.ensemble.ensembles, choose_by)
    draw_tsne_figures(args.results, figures, params.extract.backbones)
    draw_localization_figures(args.results, figures, localizers)

    return (
        f"{comparison_table(results, choose_by)}\n"
        f"compared {len(results)} runs; tune chooses {summary['best']}"
    )


if __name__ == "__main__":
    run(compare, parser(__doc__, "results", "report"))
