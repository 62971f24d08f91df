"""The metrics of one run, as JSON: all of them, and the few that experiments are compared by."""

import json
from pathlib import Path
from typing import Any

from headstart.core.atomic_files import write_text
from headstart.core.errors import UserError

RunMetrics = dict[str, Any]
"""{split: {"n": ..., "whole": {...}, "ten_crop": {...}}, "passes": ..., "parameters": ...}.

These are of one run. Of each split and protocol the metrics of headstart.metrics by name, with
 `<name>_interval`."""


def primary_protocol(split: dict[str, Any]) -> str:
    """The protocol that stands for a split: ten crops where there are ten, else the whole image."""
    return "ten_crop" if "ten_crop" in split else "whole"


def summarize_metrics(metrics: RunMetrics, chosen_by: str) -> dict[str, float]:
    """Top-1, the metric that tune chooses by, NLL and ECE of val under the primary protocol."""
    val = metrics["val"]
    names = dict.fromkeys(("top1", chosen_by, "nll", "ece"))
    return {name: val[primary_protocol(val)][name] for name in names}


def write_metrics(path: Path, metrics: dict[str, Any]) -> None:
    """`metrics` as indented JSON."""
    write_text(path, json.dumps(metrics, indent=2) + "\n")


def read_metrics(path: Path) -> dict[str, Any]:
    """What `write_metrics` wrote to `path`.

    Raises:
        UserError: the file is missing.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None


def load_metrics(folder: Path, runs: list[str]) -> dict[str, RunMetrics]:
    """The metrics of `runs` from `<run>/metrics.json` each; other runs' files are not read.

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
    return {run: read_metrics(folder / run / "metrics.json") for run in runs}
