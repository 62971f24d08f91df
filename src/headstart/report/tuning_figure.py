"""The figure of the candidates that tune chose from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.metrics.selection import CRITERIA
from headstart.plotting import save_figure
from headstart.store.tuning_results import TuningResults


def draw_tuning(path: Path, results: TuningResults) -> None:
    """One panel per setting: all candidates, the best of each value, and the chosen one."""
    percent = 100 * np.array([score.value for score in results.scores])
    [title] = [known.title for known in CRITERIA.values() if known.metric == results.metric]
    keys = [
        key
        for key in results.settings[0]
        if len({str(settings[key]) for settings in results.settings}) > 1
    ]
    with save_figure(path, max(4.0, 2.8 * len(keys)), 3.2) as figure:
        panels = figure.subplots(1, len(keys), sharey=True, squeeze=False)[0]
        for axes, key in zip(panels, keys, strict=True):
            values = [settings[key] for settings in results.settings]
            x, ticks = _positions(values)
            axes.plot(x, percent, ".", color="#b0b0b0", label="candidate")
            at = np.unique(x)
            axes.plot(at, [np.fmax.reduce(percent[x == one]) for one in at], label="best of each")
            axes.plot(
                x[results.chosen], percent[results.chosen], "o", color="#c0392b", label="chosen"
            )
            axes.set_xlabel(key)
            crowded = len(ticks) > 5
            labels = [str(value) for value in ticks.values()]
            axes.set_xticks(list(ticks), labels, rotation=60 if crowded else 0)
        panels[0].set_ylabel(f"{title} on tune (%)")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=3)


def _positions(values: Sequence[Any]) -> tuple[np.ndarray, dict[float, Any]]:
    """Evenly spaced positions of values along an axis: [N] of them, and the value at each.

    Numbers are sorted; other values keep their order.
    """
    distinct = {str(value): value for value in values}
    numeric = all(isinstance(value, int | float) for value in distinct.values())
    ordered = sorted(distinct.values()) if numeric else list(distinct.values())
    place = {str(value): float(index) for index, value in enumerate(ordered)}
    return np.array([place[str(value)] for value in values]), dict(enumerate(ordered))
