"""Tuning results: how every candidate did on tune, as a table."""

from ast import literal_eval
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from headstart.core.atomic_files import read_tsv, tsv_writer


class Score(NamedTuple):
    """A candidate on the whole images of tune: what tune chooses by, and the negative
    log-likelihood."""

    value: float
    nll: float


@dataclass(frozen=True)
class TuningResults:
    """All candidates that tune chose from.

    settings, scores: one per candidate; the scores of a candidate that diverged are NaN. chosen:
    position of the candidate that tune chose. metric: the name of the scores' value.
    """

    settings: Sequence[dict[str, Any]]
    scores: Sequence[Score]
    chosen: int
    metric: str = "top1"


def write_tuning_results(path: Path, results: TuningResults) -> None:
    """Writes one row per candidate; one row without settings where there was no choice."""
    with tsv_writer(path) as table:
        scored = f"tune_{results.metric}"
        table.writerow([*results.settings[0], scored, "tune_nll", "chosen"])
        for index, (settings, score) in enumerate(
            zip(results.settings, results.scores, strict=True)
        ):
            scores = (f"{value:.6g}" for value in score)
            values = (str(value) for value in settings.values())
            table.writerow([*values, *scores, int(index == results.chosen)])


def load_tuning_results(path: Path) -> TuningResults:
    """Reads what `write_tuning_results` wrote; scores have six digits.

    Raises:
        UserError: the file is missing.
    """
    rows = read_tsv(path)
    chosen = [row.pop("chosen") for row in rows].index("1")
    scored = list(rows[0])[-2]
    scores = [Score(float(row.pop(scored)), float(row.pop("tune_nll"))) for row in rows]
    settings = [{key: _parse(cell) for key, cell in row.items()} for row in rows]
    return TuningResults(settings, scores, chosen, scored.removeprefix("tune_"))


def _parse(cell: str) -> Any:
    """Returns the Python value whose `str` is `cell`."""
    try:
        return literal_eval(cell)
    except (ValueError, SyntaxError):
        return cell
