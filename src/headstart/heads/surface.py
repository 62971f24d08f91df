"""What tune said of every candidate: a table and a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart import figures, files
from headstart.heads.candidates import Score


@dataclass(frozen=True)
class Surface:
    """settings, scores: of every candidate. chosen: position of the one that tune chose."""

    settings: Sequence[dict[str, Any]]
    scores: Sequence[Score]
    chosen: int


def write(path: Path, surface: Surface) -> None:
    """A line a candidate, tab-separated, with a header; a diverged one's scores are nan."""
    with files.table(path) as table:
        table.writerow([*surface.settings[0], "tune_top1", "tune_nll", "chosen"])
        for index, (settings, score) in enumerate(
            zip(surface.settings, surface.scores, strict=True)
        ):
            scores = (f"{value:.6g}" for value in score)
            table.writerow([*settings.values(), *scores, int(index == surface.chosen)])


def draw(path: Path, surface: Surface) -> None:
    """One panel a setting: every candidate, the best of each value, and the chosen one."""
    top1 = 100 * np.array([score.top1 for score in surface.scores])
    keys = [
        key
        for key in surface.settings[0]
        if len({str(settings[key]) for settings in surface.settings}) > 1
    ]
    with figures.drawing(path, max(4.0, 2.8 * len(keys)), 3.2) as figure:
        panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
        for axes, key in zip(panels, keys, strict=True):
            values = [settings[key] for settings in surface.settings]
            x, ticks = _positions(values)
            axes.plot(x, top1, ".", color="#b0b0b0", label="candidate")
            at = np.unique(x)
            axes.plot(at, [np.fmax.reduce(top1[x == one]) for one in at], label="best of each")
            axes.plot(x[surface.chosen], top1[surface.chosen], "o", color="#c0392b", label="chosen")
            axes.set_xlabel(key)
            crowded = len(ticks) > 5
            labels = [str(value) for value in ticks.values()]
            axes.set_xticks(list(ticks), labels, rotation=60 if crowded else 0)
        panels[0].set_ylabel("top-1 accuracy on tune (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)


def _positions(values: Sequence[Any]) -> tuple[np.ndarray, dict[float, Any]]:
    """Values as evenly spaced places, in order where they have one: [N], and each place's value."""
    distinct = {str(value): value for value in values}
    numeric = all(isinstance(value, int | float) for value in distinct.values())
    ordered = sorted(distinct.values()) if numeric else list(distinct.values())
    place = {str(value): float(index) for index, value in enumerate(ordered)}
    return np.array([place[str(value)] for value in values]), dict(enumerate(ordered))
