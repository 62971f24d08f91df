"""The figure of a network's first-layer filters."""

from math import ceil
from pathlib import Path

import numpy as np

from headstart.plotting import save_figure

SHOWN = 128
COLUMNS = 16


def draw_filters(path: Path, filters: np.ndarray) -> None:
    """A grid of the first 128 filters, as in figure 14 of the tailored-networks paper.

    Zero is gray; each filter is scaled by its largest weight, so colors compare within one alone.

    filters: [F, 3, h, w] float32, F at least 1.
    """
    shown = filters[:SHOWN]
    height, width = shown.shape[2:]
    columns = min(COLUMNS, len(shown))
    rows = ceil(len(shown) / columns)
    grid = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, 3))
    for number, weights in enumerate(shown):
        top, left = number // columns * (height + 1), number % columns * (width + 1)
        largest = max(float(np.abs(weights).max()), 1e-12)
        image = 0.5 + weights.transpose(1, 2, 0) / (2 * largest)
        grid[top : top + height, left : left + width] = image
    with save_figure(path, 0.45 * columns + 0.3, 0.45 * rows + 0.6) as figure:
        axes = figure.subplots()
        axes.imshow(grid, interpolation="nearest")
        axes.axis("off")
        more = f"the first {len(shown)} of " if len(shown) < len(filters) else ""
        axes.set_title(f"{more}{len(filters)} filters of {width} x {height} px", fontsize=8)
