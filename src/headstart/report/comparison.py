"""All active runs side by side: one table, one figure, and the one that tune chooses."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from headstart.core.atomic_files import read_tsv, tsv_writer
from headstart.core.errors import UserError
from headstart.evaluation.run_results import primary_protocol
from headstart.metrics.paired_tests import AccuracyDifference
from headstart.plotting import save_figure

Results = dict[str, dict[str, Any]]
"""Each run's metrics.json (headstart.evaluation.evaluate), by name."""

COLUMNS = ("run", "top-1, one view", "top-1, ten crops", "NLL", "ECE", "n", "passes")


def load_results(folder: Path, runs: list[str]) -> Results:
    """The results of `runs`, and of no other run that once was active.

    Raises:
        UserError: there is no run, or one of them has no results yet.
    """
    if not runs:
        raise UserError(
            "no run is active; name at least one of zoo in extract.backbones and one of heads in "
            "train_head.heads"
        )
    for run in runs:
        if not (folder / run / "metrics.json").exists():
            raise UserError(f"run {run} has no results in {folder / run}; `dvc repro` makes them")
    return {run: json.loads((folder / run / "metrics.json").read_text("utf-8")) for run in runs}


def load_correct(folder: Path, runs: list[str]) -> dict[str, np.ndarray]:
    """Which val images each of `runs` gets right: [N] bool, all in one order.

    Raises:
        UserError: the runs were evaluated on different images.
    """
    right: dict[str, np.ndarray] = {}
    ids: list[str] = []
    for run in runs:
        rows = read_tsv(folder / run / "examples.tsv")
        if ids and ids != [row["id"] for row in rows]:
            raise UserError(f"runs {runs[0]} and {run} saw different val images; run `dvc repro`")
        ids = [row["id"] for row in rows]
        protocol = primary_protocol(rows[0])
        right[run] = np.array([row[protocol] == row["class"] for row in rows])
    return right


def best_run(results: Results) -> str:
    """The run with the highest top-1 on tune; of equals the one with the lowest loss there."""

    def on_tune(run: str) -> tuple[float, float]:
        tune = results[run]["tune"]
        return tune[primary_protocol(tune)]["top1"], -tune[primary_protocol(tune)]["nll"]

    return max(results, key=on_tune)


def ranked_runs(results: Results) -> list[str]:
    """The runs in the order of their top-1 on val, highest first."""

    def on_val(run: str) -> float:
        val = results[run]["val"]
        return val[primary_protocol(val)]["top1"]

    return sorted(results, key=on_val, reverse=True)


def comparison_table(results: Results) -> str:
    """A Markdown table of val, a row a run, its columns aligned so that a terminal shows it too."""
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
                f"{stated['nll']:.3f}",
                f"{stated['ece']:.3f}",
                str(val["n"]),
                thousands(results[run]["passes"]),
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
    """A number for people: 12,800 or 0.6 M."""
    return f"{count:,}" if count < 100_000 else f"{count / 1e6:,.1f} M"


def _percent(val: dict[str, Any], protocol: str) -> str:
    if protocol not in val:
        return "–"
    low, high = val[protocol]["top1_interval"]
    return f"{100 * val[protocol]['top1']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def comparison_report(
    results: Results, differences: list[AccuracyDifference], confidence: float, advice: list[str]
) -> str:
    """The table in Markdown, with what its numbers mean, advice, and how the chosen run differs."""
    chosen = best_run(results)
    tune, val = results[chosen]["tune"], results[chosen]["val"]
    return (
        "# Comparison of the active runs\n\n"
        f"{comparison_table(results)}\n\n"
        f"On val, with {confidence:.0%} bootstrap intervals; NLL and ECE are those of ten crops "
        "where there are ten, else of one view. Passes: what training cost, in images through the "
        "run's network; an epoch counts a training image three times (backward is twice forward's "
        "work) and an image of tune once, a head's training each cached feature once.\n"
        f"In bold the run that tune chooses: **{chosen}**, top-1 "
        f"{tune[primary_protocol(tune)]['top1']:.1%} on {tune['n']} tune images and "
        f"{val[primary_protocol(val)]['top1']:.1%} on {val['n']} val images. "
        "Nothing is chosen on val; the order of the rows is no choice.\n"
        f"{_section('What the runs say', advice)}"
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
    told = [_sentence(pair) for pair in differences if chosen in (pair.better, pair.worse)]
    if not told:
        return ""
    return (
        f"{_section(f'{chosen} against each other run', told)}\n"
        "Paired on the same val images: bootstrap interval of the difference and McNemar's exact "
        "test, not corrected for the number of comparisons. All pairs stand in pairs.tsv.\n"
    )


def write_pairs(path: Path, differences: list[AccuracyDifference]) -> None:
    """A row a pair of runs: the better, the worse, the difference in top-1, its interval, and p."""
    with tsv_writer(path) as table:
        table.writerow(AccuracyDifference._fields)
        for pair in differences:
            table.writerow([*pair[:2], *(f"{x:.5f}" for x in pair[2:5]), f"{pair.p_value:.3g}"])


def results_summary(results: Results) -> dict[str, Any]:
    """A few numbers for `dvc exp show`: top-1 on val of each run, and of the one tune chooses."""
    chosen = best_run(results)
    made: dict[str, Any] = {"best": chosen, "best_top1": _top1(results[chosen])}
    for run in results:
        val = results[run]["val"]
        made[run] = {
            protocol: val[protocol]["top1"] for protocol in ("whole", "ten_crop") if protocol in val
        }
        made[run]["interval"] = val[primary_protocol(val)]["top1_interval"]
    return made


def _top1(metrics: dict[str, Any]) -> float:
    return metrics["val"][primary_protocol(metrics["val"])]["top1"]


def draw_comparison(results: Results, path: Path) -> None:
    """Top-1 on val with its interval, a row a run, best on top; tune's choice in bold."""
    order = ranked_runs(results)[::-1]
    chosen = best_run(results)
    with save_figure(path, 7.5, 1.3 + 0.32 * len(order)) as figure:
        axes = figure.subplots()
        for protocol, label, offset, face in (
            ("whole", "one view", -0.12, "white"),
            ("ten_crop", "ten crops", 0.12, "#1f5fa8"),
        ):
            shown = [i for i, run in enumerate(order) if protocol in results[run]["val"]]
            found = [results[order[i]]["val"][protocol] for i in shown]
            tops = [100 * one["top1"] for one in found]
            below = [100 * (one["top1"] - one["top1_interval"][0]) for one in found]
            above = [100 * (one["top1_interval"][1] - one["top1"]) for one in found]
            if shown:
                axes.errorbar(
                    tops,
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
