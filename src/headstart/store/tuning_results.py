"""What tune said of every candidate: a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from headstart.core.atomic_files import tsv_writer


class Score(NamedTuple):
    """Top-1 accuracy and negative log-likelihood on the whole images of tune."""

    top1: float
    nll: float


@dataclass(frozen=True)
class TuningResults:
    """The scores of all candidates.

    settings, scores: one per candidate. chosen: position of the candidate that tune chose.
    """

    settings: Sequence[dict[str, Any]]
    scores: Sequence[Score]
    chosen: int


def write_tuning_table(path: Path, results: TuningResults) -> None:
    """Writes one row per candidate, tab-separated, with a header; nan if it diverged."""
    with tsv_writer(path) as table:
        table.writerow([*results.settings[0], "tune_top1", "tune_nll", "chosen"])
        for index, (settings, score) in enumerate(
            zip(results.settings, results.scores, strict=True)
        ):
            scores = (f"{value:.6g}" for value in score)
            table.writerow([*settings.values(), *scores, int(index == results.chosen)])
