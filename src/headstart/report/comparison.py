"""Comparison of all active runs: a table, a figure, and the run that tune chooses."""

from pathlib import Path
from typing import Any

from headstart.core.atomic_files import tsv_writer
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.plotting import save_figure
from headstart.store.run_metrics import RunMetrics, primary_protocol, summarize_metrics

Results = dict[str, RunMetrics]
"""The metrics of each run, by its name."""

COLUMNS = (
    *("run", "top-1, one view", "top-1, ten crops", "top-5", "NLL", "ECE", "n", "passes"),
    "trained parameters",
)


def best_run(results: Results) -> str:
    """The run with the highest top-1 on tune; among equals the one with the lowest NLL there."""

    def on_tune(run: str) -> tuple[float, float]:
        tune = results[run]["tune"]
        return tune[primary_protocol(tune)]["top1"], -tune[primary_protocol(tune)]["nll"]

    return max(results, key=on_tune)


def ranked_runs(results: Results) -> list[str]:
    """The runs in the order of their top-1 on val, the highest first."""

    def on_val(run: str) -> float:
        val = results[run]["val"]
        return val[primary_protocol(val)]["top1"]

    return sorted(results, key=on_val, reverse=True)


def comparison_table(results: Results) -> str:
    """A Markdown table of val with one row per run; its columns are aligned for terminals, too."""
    chosen = best_run(results)
    rows: list[tuple[str, ...]] = [COLUMNS]
    for run in ranked_runs(results):
        val = results[run]["val"]
        stated = val[primary_protocol(val)]
        rows.append(
            (
                f"**{run}**" if run == chosen else run,
                _percent(val, "whole"),
                _percent(val, "ten_crop"),
                f"{100 * stated['top5']:.1f} %",
                f"{stated['nll']:.3f}",
                f"{stated['ece']:.3f}",
                str(val["n"]),
                thousands(results[run]["passes"]),
                thousands(results[run]["parameters"]),
            )
        )
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


def _percent(val: dict[str, Any], protocol: str) -> str:
    if protocol not in val:
        return "–"
    low, high = val[protocol]["top1_interval"]
    return f"{100 * val[protocol]['top1']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def comparison_report(
    results: Results,
    differences: list[AccuracyDifference],
    confidence: float,
    conclusions: list[str],
    audit: list[str],
) -> str:
    """The report in Markdown: the table, what its numbers mean, and the differences between runs.

    differences: of all pairs of runs. confidence: of the intervals. conclusions, audit: sentences
    for a section each, which is left out if there are none.
    """
    chosen = best_run(results)
    tune, val = results[chosen]["tune"], results[chosen]["val"]
    return (
        "# Comparison of the active runs\n\n"
        f"{comparison_table(results)}\n\n"
        f"On val, with {confidence:.0%} bootstrap intervals; top-5, NLL and ECE are those of ten "
        "crops where there are ten, else of one view. Passes: what training cost, in images "
        "through the run's network; an epoch counts a training image three times (backward is "
        "twice forward's work) and an image of tune once, a head's training each cached feature "
        "once. Trained parameters are those of the whole network where it was trained from scratch "
        "or fine-tuned, else of the head alone.\n"
        f"In bold the run that tune chooses: **{chosen}**, top-1 "
        f"{tune[primary_protocol(tune)]['top1']:.1%} on {tune['n']} tune images and "
        f"{val[primary_protocol(val)]['top1']:.1%} on {val['n']} val images. "
        "Nothing is chosen on val; the order of the rows is no choice.\n"
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
        "Paired on the same val images: bootstrap interval of the difference and McNemar's exact "
        "test, not corrected for the number of comparisons. All pairs stand in pairs.tsv.\n"
    )


def write_pairs(path: Path, differences: list[AccuracyDifference]) -> None:
    """One row per pair of runs: the better, the worse, the difference in top-1, its interval, p."""
    with tsv_writer(path) as table:
        table.writerow(AccuracyDifference._fields)
        for pair in differences:
            table.writerow([*pair[:2], *(f"{x:.5f}" for x in pair[2:5]), f"{pair.p_value:.3g}"])


def results_summary(results: Results) -> dict[str, Any]:
    """The run that tune chooses and its top-1, NLL and ECE on val, for `dvc exp show`."""
    chosen = best_run(results)
    return {"best": chosen, **summarize_metrics(results[chosen])}


def draw_comparison(results: Results, path: Path) -> None:
    """Top-1 on val with its interval, one row per run, the best on top; tune's choice is bold."""
    order = ranked_runs(results)[::-1]
    chosen = best_run(results)
    with save_figure(path, 7.5, 1.3 + 0.32 * len(order)) as figure:
        axes = figure.subplots()
        for protocol, label, offset, face in (
            ("whole", "one view", -0.12, "white"),
            ("ten_crop", "ten crops", 0.12, "#1f5fa8"),
        ):
            shown = [i for i, run in enumerate(order) if protocol in results[run]["val"]]
            values = [results[order[i]]["val"][protocol] for i in shown]
            top1 = [100 * value["top1"] for value in values]
            below = [100 * (value["top1"] - value["top1_interval"][0]) for value in values]
            above = [100 * (value["top1_interval"][1] - value["top1"]) for value in values]
            if shown:
                axes.errorbar(
                    top1,
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
        axes.set_xlabel("top-1 accuracy on val in %, with interval; bold: chosen on tune")
        figure.legend(loc="outside upper right", ncols=2)
