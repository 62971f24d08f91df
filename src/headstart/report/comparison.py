"""Comparison of all active runs: a table, a figure, and the run that tune chooses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headstart.core.atomic_files import tsv_writer
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.metrics.selection import CRITERIA, preference
from headstart.plotting import save_figure
from headstart.store.run_metrics import RunMetrics, primary_protocol, summarize_metrics

Results = dict[str, RunMetrics]
"""The metrics of each run, by its name."""


def best_run(results: Results, choose_by: str) -> str:
    """The run that tune prefers, by `choose_by` and then by NLL (see `metrics.selection`)."""
    metric = CRITERIA[choose_by].metric

    def on_tune(run: str) -> tuple[float, float]:
        tune = results[run]["tune"]
        stated = tune[primary_protocol(tune)]
        return preference(stated[metric], stated["nll"])

    return max(results, key=on_tune)


def ranked_runs(results: Results, choose_by: str) -> list[str]:
    """The runs in the order of what tune chooses by, but on val, the highest first."""
    metric = CRITERIA[choose_by].metric

    def on_val(run: str) -> float:
        val = results[run]["val"]
        return val[primary_protocol(val)][metric]

    return sorted(results, key=on_val, reverse=True)


def comparison_table(results: Results, choose_by: str) -> str:
    """A Markdown table of val with one row per run; its columns are aligned for terminals, too.

    Columns that would say nothing are left out: of ten crops where no run has them, and of what
    tune chooses by where that is top-1.
    """
    chosen, criterion = best_run(results, choose_by), CRITERIA[choose_by]
    protocols = {"whole": "top-1, one view", "ten_crop": "top-1, ten crops"}
    if not any("ten_crop" in metrics["val"] for metrics in results.values()):
        protocols = {"whole": "top-1"}
    other = [] if criterion.metric == "top1" else [criterion]
    titles = (*protocols.values(), *(added.title for added in other))
    rows: list[tuple[str, ...]] = [
        ("run", *titles, "top-5", "NLL", "ECE", "n", "passes", "trained parameters")
    ]
    for run in ranked_runs(results, choose_by):
        val = results[run]["val"]
        stated = val[primary_protocol(val)]
        rows.append(
            (
                f"**{run}**" if run == chosen else run,
                *(_percent(val[p], "top1") if p in val else "–" for p in protocols),
                *(_percent(stated, added.metric) for added in other),
                f"{100 * stated['top5']:.1f} %",
                f"{stated['nll']:.3f}",
                f"{stated['ece']:.3f}",
                str(val["n"]),
                thousands(results[run]["passes"]),
                thousands(results[run]["parameters"]),
            )
        )
    return _aligned(rows)


def class_average_table(results: Results, choose_by: str) -> str:
    """A Markdown table of val with one row per run: the metrics in which every class counts the
    same, with intervals."""
    chosen = best_run(results, choose_by)
    averages = [added for added in CRITERIA.values() if added.metric != "top1"]
    rows: list[tuple[str, ...]] = [("run", *(added.title for added in averages))]
    for run in ranked_runs(results, choose_by):
        val = results[run]["val"]
        stated = val[primary_protocol(val)]
        name = f"**{run}**" if run == chosen else run
        rows.append((name, *(_percent(stated, added.metric) for added in averages)))
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """A Markdown table whose first row is its head; all columns but the first are numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = " | ".join(
        "-" * (width - 1) + ":" if i else "-" * width for i, width in enumerate(widths)
    )
    return "\n".join(f"| {line} |" for line in [lines[0], rule, *lines[1:]])


def thousands(count: int) -> str:
    """A count as people read it: 12,800 or 0.6 M."""
    return f"{count:,}" if count < 100_000 else f"{count / 1e6:,.1f} M"


def _percent(stated: dict[str, Any], metric: str) -> str:
    low, high = stated[f"{metric}_interval"]
    return f"{100 * stated[metric]:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def comparison_report(
    results: Results,
    choose_by: str,
    differences: list[AccuracyDifference],
    confidence: float,
    conclusions: list[str],
    audit: list[str],
) -> str:
    """The report in Markdown: the table, what its numbers mean, and the differences between runs.

    choose_by: what tune chooses by. differences: of all pairs of runs. confidence: of the
    intervals. conclusions, audit: sentences for a section each, which is left out if there are
    none.
    """
    chosen, criterion = best_run(results, choose_by), CRITERIA[choose_by]
    tune, val = results[chosen]["tune"], results[chosen]["val"]
    return (
        "# Comparison of the active runs\n\n"
        f"{comparison_table(results, choose_by)}\n\n"
        f"On val, with {confidence:.0%} bootstrap intervals; top-5, NLL and ECE are those of ten "
        "crops where there are ten, else of one view. Passes: what training cost, in images "
        "through the run's network; an epoch counts a training image three times (backward is "
        "twice forward's work) and an image of tune once, a head's training each cached feature "
        "once. Trained parameters are those of the whole network where it was trained from scratch "
        "or fine-tuned, else of the head alone.\n"
        f"In bold the run that tune chooses: **{chosen}**, {criterion.title} "
        f"{tune[primary_protocol(tune)][criterion.metric]:.1%} on {tune['n']} tune images and "
        f"{val[primary_protocol(val)][criterion.metric]:.1%} on {val['n']} val images. "
        "Nothing is chosen on val; the order of the rows is no choice.\n\n"
        f"{class_average_table(results, choose_by)}\n\n"
        "The same images, but every class with the same weight: the mean over classes of the share "
        "of a class's images that are right (balanced accuracy), of F1, and of the area under the "
        "ROC curve of one class against the rest (AUROC; 50 % is chance). They differ from top-1 "
        "where classes have different numbers of images.\n"
        f"{_section('What the runs say', conclusions)}"
        f"{_section('What the audit says of the data', audit)}"
        f"{_pairs(chosen, differences)}"
    )


def _section(title: str, sentences: list[str]) -> str:
    lines = "".join(f"- {sentence}\n" for sentence in sentences)
    return f"\n## {title}\n\n{lines}" if sentences else ""


def _sentence(pair: AccuracyDifference) -> str:
    figures = (
        f"by {100 * pair.value:.1f} points [{100 * pair.low:.1f}, {100 * pair.high:.1f}], "
        f"p = {pair.p_value:.2g}"
    )
    if pair.low > 0:
        return f"**{pair.better}** is better than **{pair.worse}** {figures}"
    return f"**{pair.better}** is not shown to differ from **{pair.worse}**: ahead {figures}"


def _pairs(chosen: str, differences: list[AccuracyDifference]) -> str:
    sentences = [_sentence(pair) for pair in differences if chosen in (pair.better, pair.worse)]
    if not sentences:
        return ""
    return (
        f"{_section(f'{chosen} against each other run', sentences)}\n"
        "Top-1, paired on the same val images: bootstrap interval of the difference and McNemar's "
        "exact test, not corrected for the number of comparisons. All pairs stand in pairs.tsv.\n"
    )


def write_pairs(path: Path, differences: list[AccuracyDifference]) -> None:
    """One row per pair of runs: the better, the worse, the difference in top-1, its interval, p."""
    with tsv_writer(path) as table:
        table.writerow(AccuracyDifference._fields)
        for pair in differences:
            table.writerow([*pair[:2], *(f"{x:.5f}" for x in pair[2:5]), f"{pair.p_value:.3g}"])


def results_summary(results: Results, choose_by: str) -> dict[str, Any]:
    """The run that tune chooses and a few of its metrics on val, for `dvc exp show`."""
    chosen = best_run(results, choose_by)
    return {"best": chosen, **summarize_metrics(results[chosen], CRITERIA[choose_by].metric)}


def draw_comparison(results: Results, choose_by: str, path: Path) -> None:
    """What tune chooses by, on val with its interval, one row per run, the best on top; tune's
    choice is bold."""
    order = ranked_runs(results, choose_by)[::-1]
    chosen, (metric, title) = best_run(results, choose_by), CRITERIA[choose_by]
    with save_figure(path, 7.5, 1.3 + 0.32 * len(order)) as figure:
        axes = figure.subplots()
        for protocol, label, offset, face in (
            ("whole", "one view", -0.12, "white"),
            ("ten_crop", "ten crops", 0.12, "#1f5fa8"),
        ):
            shown = [i for i, run in enumerate(order) if protocol in results[run]["val"]]
            values = [results[order[i]]["val"][protocol] for i in shown]
            percent = [100 * value[metric] for value in values]
            bounds = [value[f"{metric}_interval"] for value in values]
            below = [p - 100 * low for p, (low, _) in zip(percent, bounds, strict=True)]
            above = [100 * high - p for p, (_, high) in zip(percent, bounds, strict=True)]
            if shown:
                axes.errorbar(
                    percent,
                    [i + offset for i in shown],
                    xerr=[below, above],
                    fmt="o",
                    color="#1f5fa8",
                    markerfacecolor=face,
                    label=label,
                )
        axes.set_yticks(range(len(order)), order)
        axes.get_yticklabels()[order.index(chosen)].set_fontweight("bold")
        axes.set_ylim(-0.6, len(order) - 0.4)
        axes.set_xlabel(f"{title} on val in %, with interval; bold: chosen on tune")
        figure.legend(loc="outside upper right", ncols=2)
