"""The scatter plot of a t-SNE embedding."""

from pathlib import Path

import numpy as np
from matplotlib import color_sequences, colormaps

from headstart.plotting import save_figure
from headstart.store.embeddings import Embedding

LEGEND_CLASSES = 20
"""More classes than these can't be told apart by color; their names are written at their points."""


def draw_tsne(path: Path, embedding: Embedding) -> None:
    """A scatter plot, colored by class, with a legend or with the names at the points."""
    shown = list(dict.fromkeys(embedding.labels))
    position = {label: i for i, label in enumerate(shown)}
    positions = np.array([position[label] for label in embedding.labels])
    by_legend = len(shown) <= LEGEND_CLASSES
    spectrum = colormaps["turbo"](np.linspace(0, 1, len(shown)))
    colors = color_sequences["tab10"] if by_legend else spectrum
    with save_figure(path, 9.5 if by_legend else 11, 6.5 if by_legend else 9) as figure:
        axes = figure.subplots()
        axes.axis("off")
        axes.set_aspect("equal", adjustable="datalim")
        for i, label in enumerate(shown):
            x, y = embedding.points[positions == i].T
            # Ten colors times two shapes distinguish twenty classes.
            marker = "o^"[i // 10 % 2] if by_legend else "o"
            color = [colors[i % len(colors)]]
            name = label.name.split(",")[0]
            axes.scatter(x, y, s=16, c=color, marker=marker, linewidths=0, alpha=0.8, label=name)
            if not by_legend:
                box = {"facecolor": "white", "alpha": 0.6, "linewidth": 0, "pad": 0.5}
                axes.annotate(name, (np.median(x), np.median(y)), size=6, ha="center", bbox=box)
        if by_legend:
            figure.legend(loc="outside right center", markerscale=1.8)
