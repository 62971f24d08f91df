"""The figure of the output distributions of modules during a training."""

from pathlib import Path

from headstart.plotting import save_figure
from headstart.store.output_statistics import OutputStatistics

COLOR = "#1f5fa8"


def draw_outputs(path: Path, statistics: list[OutputStatistics]) -> None:
    """Bands between minimum, µ - 3σ, µ - 2σ, ..., µ + 3σ and maximum against the step.

    There is one panel per module, as in figures 9 and 10 of the tailored-networks paper. The bands
    are darker toward the mean, which is a line. Outputs needn't follow a normal distribution, so
    µ ± kσ may lie beyond minimum and maximum; the extremes are lines of their own.
    """
    modules = list(dict.fromkeys(row.module for row in statistics))
    with save_figure(path, 5 * len(modules), 3.8) as figure:
        panels = figure.subplots(1, len(modules), squeeze=False)[0]
        for axes, module in zip(panels, modules, strict=True):
            rows = [row for row in statistics if row.module == module]
            steps = [row.step for row in rows]
            maxima, minima = [row.max for row in rows], [row.min for row in rows]
            axes.fill_between(steps, minima, maxima, color=COLOR, alpha=0.12, linewidth=0)
            for k in (3, 2, 1):
                below, above = ([row.mean + sign * k * row.std for row in rows] for sign in (-1, 1))
                axes.fill_between(steps, below, above, color=COLOR, alpha=0.2, linewidth=0)
            for extreme in (minima, maxima):
                axes.plot(steps, extreme, color=COLOR, linewidth=0.8)
            axes.plot(steps, [row.mean for row in rows], color="black", linewidth=1)
            axes.set_title(module, fontsize=10)
            axes.set_xlabel(
                "step (lines: minimum, mean µ, maximum;\nbands, from dark to light: µ ± σ, 2σ, 3σ)"
            )
        figure.supylabel("output values in training", fontsize=10)
